"""Slow growth of a series: flat, then a straight line upwards."""

import dataclasses

import numpy as np

from models.scores.arrays import Floats

#: Lines are fitted to at most this many block medians, so that the pairs stay few.
MOST_BLOCKS = 150
#: A trend needs this many points (TraceML gates its step-time trend alike).
FEWEST_POINTS = 100
#: Where the line may begin, as shares of the series.
BEGINNINGS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A level up to `start`, from there a line that ends at `last`."""

    start: int
    level: float
    last: float
    cost: float
    """Sum of absolute residuals."""
    fitted: Floats


def theil_sen(series: Floats) -> tuple[float, float]:
    """Slope per point and value at point 0 of a line through a series: medians of the slopes of all pairs, then of what is left.

    Source: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau". Long series are first reduced to block
    medians, which also keeps periodic spikes out.

    >>> theil_sen(np.array([1.0, 2.0, 30.0, 4.0, 5.0]))
    (1.0, 1.0)
    """
    size = -(-len(series) // MOST_BLOCKS)
    whole = len(series) // size * size
    values = np.median(series[:whole].reshape(-1, size), axis=1)
    centres = np.arange(len(values)) * size + (size - 1) / 2
    later, earlier = np.tril_indices(len(values), -1)
    slope = float(np.median((values[later] - values[earlier]) / (centres[later] - centres[earlier])))
    return slope, float(np.median(values - slope * centres))


def best_line(series: Floats) -> Line | None:
    """The flat-then-rising line closest to a series of positive values; None when none rises or the series is too short."""
    best: Line | None = None
    for share in BEGINNINGS:
        start = int(share * len(series))
        if len(series) - start < FEWEST_POINTS:
            break
        slope, value = theil_sen(series[start:])
        if slope <= 0:
            continue
        level = float(np.median(series[:start])) if start else value
        fitted = np.concatenate([np.full(start, level), value + slope * np.arange(len(series) - start)])
        cost = float(np.abs(series - fitted).sum())
        if best is None or cost < best.cost:
            best = Line(start, level, float(fitted[-1]), cost, fitted)
    return best
