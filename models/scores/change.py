"""Change points of step times: when a series became slower, by how much, and whether it crept."""

import dataclasses
import itertools
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from models.scores import trend
from models.scores.arrays import Floats
from models.scores.noise import chance, despike, long_run, shortest_stretch
from models.scores.segments import EQUAL_RATIO, boundaries

#: A shift that noise makes more often than this is none.
MOST_CHANCE = 1e-3
#: Below this many points nothing is said.
FEWEST_POINTS = 8
#: Slow points at the beginning are warm-up up to this share of the series.
WARM_UP_MOST = 0.25
#: A slow stretch that ended again is a spike when it is shorter than this share of the series.
STRETCH_LEAST = 0.02
#: A trend must rise this many times over its length.
TREND_RATIO = 1.08


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A stretch of a series that is slower than what came before it."""

    kind: Literal["step", "trend"]
    start: int
    """Index of the first slow point: the onset, not the alert. Of a trend, the first point at which it exceeds the noise."""
    end: int
    """Index after the last slow point; the length of the series when it never recovered."""
    before: float
    """Level before the onset (median), in the unit of the series."""
    after: float
    """Level of the slow stretch (median); of a trend, its height at the end."""
    p_value: float
    """How often noise of this size and correlation makes such a shift somewhere in the series; an approximation, 0..1."""

    @property
    def ratio(self) -> float:
        """How many times slower."""
        return self.after / self.before


def onset(series: ArrayLike, min_ratio: float = 1.2) -> Change | None:
    """The change that made a series slower, searched back to its true onset; the one that cost most when there are several.

    Slower means at least `min_ratio` times the level before and beyond the noise of the series, whose correlation counts. Single
    spikes and slow first points (warm-up) are no change, nor is becoming faster. A series that creeps up by 8 % over at least
    100 points is a trend, whatever `min_ratio` says.

    Args:
        series: positive values in the order of time, shape (points,). NaN and None are left out; indices count them.
        min_ratio: above 1.
    Returns: None when nothing became slower or with fewer than 8 values.
    Raises: ValueError if min_ratio is not above 1 or the series has more than one dimension.

    >>> change = onset([1.0] * 10 + [1.5] * 10)
    >>> change.kind, change.start, change.end, change.before, change.after
    ('step', 10, 20, 1.0, 1.5)
    """
    if not min_ratio > 1:
        raise ValueError(f"min_ratio: expected a number above 1, got {min_ratio}")
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"series: expected one dimension, got shape {values.shape}")
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < FEWEST_POINTS:
        return None
    found = _onset(values[known], min_ratio)
    if found is None:
        return None
    end = len(values) if found.end == len(known) else int(known[found.end])
    return dataclasses.replace(found, start=int(known[found.start]), end=end)


def _onset(values: Floats, min_ratio: float) -> Change | None:
    cuts = boundaries(values)
    warm = _warm_up(values, cuts)
    cuts = [cut - warm for cut in cuts if cut > warm]
    settled = values[warm:]
    if len(settled) < FEWEST_POINTS:
        return None
    clean = despike(settled)
    creep = _trend(clean, cuts)
    found = creep if creep is not None else _step(settled, clean, cuts, min_ratio)
    return None if found is None else dataclasses.replace(found, start=found.start + warm, end=found.end + warm)


def _warm_up(values: Floats, cuts: list[int]) -> int:
    """How many points at the beginning belong to stretches that are each slower than the next one."""
    levels = [float(np.median(part)) for part in np.split(values, cuts)]
    settled = 0
    for place, cut in enumerate(cuts):
        if cut > WARM_UP_MOST * len(values) or levels[place] <= levels[place + 1]:
            break
        settled = cut
    return settled


def _step(values: Floats, clean: Floats, cuts: list[int], min_ratio: float) -> Change | None:
    """The slow stretch between two cuts that cost most."""
    edges = [*cuts, len(values)]
    best: Change | None = None
    for place, start in enumerate(cuts):
        before = values[_reference(cuts[:place], start, len(values)): start]
        level = float(np.median(before))
        end = _recovered(values, edges[place:], level, min_ratio)
        change = _judge(values, clean, start, end, before, min_ratio)
        if change is not None and (best is None or _cost(change) > _cost(best)):
            best = change
    return best


def _reference(earlier: list[int], start: int, points: int) -> int:
    """Where the points before an onset begin that it is held against: whole stretches, a twentieth of the series if there is."""
    least = max(shortest_stretch(points), points // 20)
    return next((cut for cut in reversed(earlier) if start - cut >= least), 0)


def _recovered(values: Floats, edges: list[int], before: float, min_ratio: float) -> int:
    """The first edge after which the series is back below half of what makes it slow."""
    back = before * (1 + (min_ratio - 1) / 2)
    for first, second in itertools.pairwise(edges[1:]):
        if float(np.median(values[first:second])) < back:
            return first
    return edges[-1]


def _judge(values: Floats, clean: Floats, start: int, end: int, before: Floats, min_ratio: float) -> Change | None:
    points, shortest = len(values), shortest_stretch(len(values))
    inside = values[start:end]
    least = shortest if end == points else max(shortest, math.ceil(STRETCH_LEAST * points))
    level, slow = float(np.median(before)), float(np.median(inside))
    if len(inside) < least or level <= 0 or slow < min_ratio * level:
        return None
    # of a series with two modes the median may jump although hardly anything changed; the mean of the middle half does not
    if _middle_mean(inside) < (1 + (min_ratio - 1) / 2) * _middle_mean(before):
        return None
    residuals = clean - level
    residuals[start:end] += level - slow
    noise, blocks = long_run(residuals)
    error = max(noise, EQUAL_RATIO * slow) * math.sqrt(1 / len(before) + 1 / len(inside))
    p_value = chance((slow - level) / error, max(blocks - 2, 3), points)
    return Change("step", start, end, level, slow, p_value) if p_value <= MOST_CHANCE else None


def _trend(clean: Floats, cuts: list[int]) -> Change | None:
    """A rise that a line describes better than a few levels do."""
    line = trend.best_line(clean)
    if line is None or line.level <= 0 or line.last < TREND_RATIO * line.level:
        return None
    if _levels_fit_better(clean, cuts, line.cost):
        return None
    points, rising = len(clean), len(clean) - line.start
    noise, blocks = long_run(clean - line.fitted)
    error = max(noise, EQUAL_RATIO * line.last) * math.sqrt(12 / rising)
    p_value = chance((line.last - line.level) / error, max(blocks - 2, 3), points)
    if p_value > MOST_CHANCE:
        return None
    above = line.fitted - line.level > max(noise, 0.01 * line.level)
    start = max(int(np.argmax(above)), shortest_stretch(points))
    return Change("trend", start, points, line.level, line.last, p_value)


def _levels_fit_better(clean: Floats, cuts: list[int], line_cost: float) -> bool:
    """Whether the two clearest cuts explain the series as well as a line, which has one parameter less."""
    kept = list(cuts)
    while len(kept) > 2:
        kept.remove(min(kept, key=lambda cut: _levels_cost(clean, [one for one in kept if one != cut])))
    return _levels_cost(clean, kept) <= line_cost


def _levels_cost(clean: Floats, cuts: list[int]) -> float:
    return sum(float(np.abs(part - np.median(part)).sum()) for part in np.split(clean, cuts))


def _cost(change: Change) -> float:
    return (change.after - change.before) * (change.end - change.start)


def _middle_mean(values: Floats) -> float:
    quarter = len(values) // 4
    return float(np.sort(values)[quarter: len(values) - quarter].mean())
