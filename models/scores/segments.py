"""Cut a series into stretches of one level: seeded binary segmentation of the despiked series."""

import math

import numpy as np

from models.scores.arrays import Floats, Integers
from models.scores.noise import despike, scatter, shortest_stretch

#: Neighbouring stretches differ by at least this many times the deviation expected of the largest of so many noise values.
SEPARATION = 1.3
#: Noise is never taken as smaller than this share of the level: below it, numbers are equal.
EQUAL_RATIO = 1e-9


def boundaries(series: Floats) -> list[int]:
    """Where a new level begins, in ascending order; empty for one level. Exact on clean steps, 10,000 points in about 50 ms.

    Each interval of a fixed set (halves overlapping, lengths falling by the square root of 2) proposes its best split; the
    clearest are taken, moved to the best place between their neighbours, and dropped again where the levels do not differ.

    Args:
        series: finite values in the order of time, shape (points,).
    Source: Kovács et al. 2023, "Seeded binary segmentation" (Biometrika 110); the noise estimate and the spike filter are ours.

    >>> boundaries(np.array([1.0] * 6 + [1.3] * 6 + [1.0] * 4))
    [6, 12]
    """
    shortest = shortest_stretch(len(series))
    if len(series) < 2 * shortest:
        return []
    clean = despike(series)
    noise = max(scatter(clean), EQUAL_RATIO * float(np.abs(clean).max()))
    if noise == 0:
        return []
    limit = SEPARATION * math.sqrt(2 * math.log(len(series)))
    sums = np.concatenate([[0.0], np.cumsum(clean - clean.mean())])
    cuts = _proposed(sums, shortest, limit * noise)
    for _ in range(2):  # a cut moves once its neighbours stand where they belong
        cuts = _moved(sums, cuts, shortest)
    return _different(sums, cuts, limit * noise)


def _proposed(sums: Floats, shortest: int, limit: float) -> list[int]:
    starts, ends, places, gains = _best_splits(sums, shortest)
    cuts: list[int] = []
    open_ = gains > limit
    while open_.any():
        best = int(np.argmax(np.where(open_, gains, -np.inf)))
        cut = int(places[best])
        cuts.append(cut)
        open_ &= (ends <= cut) | (starts >= cut)
    return sorted(cuts)


def _best_splits(sums: Floats, shortest: int) -> tuple[Integers, Integers, Integers, Floats]:
    """Start, end, best split and its gain of each interval; all intervals of one length are worked through as one array."""
    points = len(sums) - 1
    rows, length = [], float(points)
    while length >= 2 * shortest:
        size = int(length)
        starts = np.unique(np.linspace(0, points - size, max(math.ceil(2 * points / size) - 1, 1)).astype(np.int64))
        offsets = np.arange(shortest, size - shortest + 1)
        gains = _gain(sums[starts[:, None]], sums[starts[:, None] + offsets], sums[starts[:, None] + size], offsets, size)
        best = gains.argmax(axis=1)
        rows.append((starts, starts + size, starts + offsets[best], np.take_along_axis(gains, best[:, None], 1)[:, 0]))
        length /= math.sqrt(2)
    starts, ends, places, gains = (np.concatenate(column) for column in zip(*rows, strict=True))
    return starts, ends, places, gains


def _gain(first: Floats, split: Floats, last: Floats, offset: Integers, size: int) -> Floats:
    """Difference of the means left and right of a split, times the square root of the harmonic weight of the sides."""
    left, right = (split - first) / offset, (last - split) / (size - offset)
    return np.asarray(np.abs(right - left) * np.sqrt(offset * (size - offset) / size))


def _moved(sums: Floats, cuts: list[int], shortest: int) -> list[int]:
    edges = [0, *cuts, len(sums) - 1]
    for place in range(1, len(edges) - 1):
        start, end = edges[place - 1], edges[place + 1]
        offsets = np.arange(shortest, end - start - shortest + 1)
        if len(offsets):
            gains = _gain(sums[start], sums[start + offsets], sums[end], offsets, end - start)
            edges[place] = start + int(offsets[gains.argmax()])
    return edges[1:-1]


def _different(sums: Floats, cuts: list[int], limit: float) -> list[int]:
    edges = [0, *cuts, len(sums) - 1]
    while len(edges) > 2:
        first, split, last = (np.array(edges[start: start + len(edges) - 2]) for start in range(3))
        left, right = (sums[split] - sums[first]) / (split - first), (sums[last] - sums[split]) / (last - split)
        gains = np.abs(right - left) * np.sqrt((split - first) * (last - split) / (last - first))
        weakest = int(gains.argmin())
        if gains[weakest] > limit:
            break
        del edges[weakest + 1]
    return edges[1:-1]
