"""How many times slower one series of step times is than another, and how sure that is."""

import dataclasses

import numpy as np

from models.scores.arrays import Floats

#: Longer series are reduced to medians of so many blocks.
_MOST_BLOCKS = 400
_RESAMPLED = 1000
_SEED = 20_250_101
#: Of the interval of 99 %: a gate that closes by chance each twentieth time is soon ignored.
_QUANTILES = (0.005, 0.995)


@dataclasses.dataclass(frozen=True, slots=True)
class Ratio:
    """The median of one series over that of another, and the interval of 99 % around it."""

    value: float
    low: float
    high: float


def ratio_of_medians(after: Floats, before: Floats) -> Ratio:
    """Median of `after` over median of `before`, with the interval that a bootstrap over blocks gives.

    Neighbouring steps are alike, so blocks of neighbours are drawn, not single steps. The same series always give the same interval.

    Args:
        after: positive values in the order of time, at least one.
        before: the same.
    Source: Künsch 1989, "The jackknife and the bootstrap for general stationary observations"; blocks are as
    long as the square root, since steps stay alike for long.

    >>> found = ratio_of_medians(np.full(50, 1.5), np.full(80, 1.0))
    >>> (found.value, found.low, found.high)
    (1.5, 1.5, 1.5)
    """
    draw = np.random.default_rng(_SEED)
    resampled = _medians(after, draw) / _medians(before, draw)
    low, high = np.quantile(resampled, _QUANTILES)
    return Ratio(float(np.median(after) / np.median(before)), float(low), float(high))


def spread(values: Floats) -> float:
    """Half the distance of the quartiles over the median: how much steps differ among each other."""
    first, middle, third = np.quantile(values, (0.25, 0.5, 0.75))
    return float((third - first) / 2 / middle)


def _medians(series: Floats, draw: np.random.Generator) -> Floats:
    """Medians of series that are drawn from one with its blocks in another order, shape (_RESAMPLED,)."""
    size = -(-len(series) // _MOST_BLOCKS)
    values = np.median(series[: len(series) // size * size].reshape(-1, size), axis=1)
    length = max(round(len(values) ** 0.5), 1)
    count = -(-len(values) // length)
    begins = draw.integers(0, len(values), (_RESAMPLED, count))
    places = (begins[:, :, None] + np.arange(length)) % len(values)
    return np.asarray(np.median(values[places.reshape(_RESAMPLED, -1)[:, : len(values)]], axis=1))
