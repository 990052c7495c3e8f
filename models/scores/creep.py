"""Whether a short series of means climbs from its beginning to its end, where there are too few points for a change point."""

import numpy as np
from numpy.typing import ArrayLike

from models.scores.trend import theil_sen

FEWEST_POINTS = 16
#: Share of all pairs of points of which the later one is larger: half in noise, at most three quarters of a single step, all in a
#: steady climb. This many are more than a step (Kendall's tau of 0.6) …
STEADY = 0.8
#: … and this many more than noise, where no step was found (tau of 0.4).
NO_NOISE = 0.7

#: Longer series are reduced to block medians: the pairs of 10,000 points take a gigabyte.
_MOST_POINTS = 1000


def creep(series: ArrayLike, min_ratio: float = 1.2, rising: float = STEADY) -> bool:
    """Whether the points climb steadily by at least `min_ratio` over the whole series.

    Args:
        series: positive values in the order of time, without NaN; each the mean of many measurements.
        min_ratio: last over first point of the line through them (Theil-Sen).
        rising: least share of pairs that rise.

    >>> creep(np.linspace(1.0, 2.0, 20)), creep([1.0] * 10 + [1.5] * 10), creep([1.0, 1.1] * 10)
    (True, False, False)
    """
    values = np.asarray(series, dtype=np.float64)
    if len(values) < FEWEST_POINTS:
        return False
    size = -(-len(values) // _MOST_POINTS)
    values = np.median(values[: len(values) // size * size].reshape(-1, size), axis=1)
    later, earlier = np.tril_indices(len(values), -1)
    if float((values[later] > values[earlier]).mean()) < rising:
        return False
    slope, first = theil_sen(values)
    return first <= 0 or (first + slope * (len(values) - 1)) / first >= min_ratio
