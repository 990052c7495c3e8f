"""The noise of a series: single spikes taken out, its size over stretches, and the chance of a shift in it."""

import math

import numpy as np

from models.scores.arrays import MAD_TO_SIGMA, Floats

#: Points further than this many deviations from the running median are spikes.
SPIKE_DEVIATIONS = 3.5
#: From this many points on spikes may last four points, below it two.
LONG_SERIES = 50
#: Fewer blocks than this say too little about how far their means scatter.
FEWEST_BLOCKS = 8


def shortest_stretch(points: int) -> int:
    """How many points a stretch needs so that it is no spike: the majority of the running median's window.

    >>> shortest_stretch(20), shortest_stretch(1000)
    (3, 5)
    """
    return 3 if points < LONG_SERIES else 5


def despike(series: Floats) -> Floats:
    """The series with spikes cut down to what is usual around them; a step of `shortest_stretch` points or more stays where it is.

    >>> despike(np.array([1.0, 1, 1, 9, 1, 1, 2, 2, 2, 2])).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    """
    half = shortest_stretch(len(series)) - 1
    if len(series) < 2 * half + 1:
        return series.copy()
    # a spike differs from what is usual before it and from what is usual after it; the edge of a step only from one of them
    padded = np.pad(series, 2 * half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)
    before, after = _medians(windows[: len(series)]), _medians(windows[2 * half + 1:])
    before, after = np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)
    away = np.minimum(np.abs(series - before), np.abs(series - after))
    width = SPIKE_DEVIATIONS * MAD_TO_SIGMA * float(np.median(np.abs(series - before)))
    return np.where(away > width, before, series)


def _medians(windows: Floats) -> Floats:
    """Median of each row without NaN; NaN where there is nothing else."""
    ordered = np.sort(windows, axis=1)
    count = (~np.isnan(windows)).sum(axis=1)
    rows = np.arange(len(windows))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, np.maximum(count - 1, 0))]) / 2
    return np.asarray(np.where(count > 0, middle, np.nan))


def scatter(series: Floats) -> float:
    """Long-run deviation of the noise of a despiked series, found from neighbours, so that a few steps in it do not count.

    Blocks of 1, 2, 4 … points: `sqrt(b / 2)` times the deviation of the differences of neighbouring block means. Independent
    noise gives the same at each size, correlated noise grows up to its long-run deviation; the largest is taken.
    """
    found, size = 0.0, 1
    while len(series) // size >= 2 * FEWEST_BLOCKS or size == 1:
        differences = np.diff(_block_means(series, size))
        found = max(found, math.sqrt(size / 2) * MAD_TO_SIGMA * float(np.median(np.abs(differences))))
        size *= 2
    return found


def chance(shift_over_error: float, freedom: float, places: int) -> float:
    """Probability, corrected for a search over `places`, that noise alone makes such a shift (two-sided Student's t).

    The tail is Wallace's normal approximation (1959), which errs by less than a tenth from 3 degrees of freedom on.
    """
    squared = freedom * math.log1p(shift_over_error**2 / freedom)
    normal = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(squared)
    return min(places * math.erfc(normal / math.sqrt(2)), 1.0)


def long_run(residuals: Floats) -> tuple[float, int]:
    """Long-run deviation of residuals around 0, and from how many blocks it was found; other slow stretches do not count."""
    found, blocks, size = 0.0, len(residuals), 1
    while len(residuals) // size >= FEWEST_BLOCKS or size == 1:
        means = _block_means(residuals, size)
        deviation = math.sqrt(size) * MAD_TO_SIGMA * float(np.median(np.abs(means)))
        if deviation > found:
            found, blocks = deviation, len(means)
        size *= 2
    return found, blocks


def _block_means(series: Floats, size: int) -> Floats:
    whole = len(series) // size * size
    return np.asarray(series[:whole].reshape(-1, size).mean(axis=1))
