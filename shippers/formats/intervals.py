"""How much of a window is covered by intervals of time."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Intervals = tuple[Floats, Floats]
"""Starts and ends, of equal length; an end is never before its start."""

_PIECE = 1 << 18


def union(start: Floats, end: Floats) -> Intervals:
    """Overlapping intervals joined, in order of time.

    >>> union(np.array([0.0, 4.0, 1.0]), np.array([2.0, 5.0, 3.0]))
    (array([0., 4.]), array([3., 5.]))
    """
    if not len(start):
        return np.zeros(0), np.zeros(0)
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    reach = np.maximum.accumulate(end)
    first = np.concatenate(([True], start[1:] > reach[:-1]))
    if first.all():
        return start, end
    last = np.concatenate((first[1:], [True]))
    return start[first], reach[last]


def covered(start: Floats, end: Floats, windows: Intervals) -> Floats:
    """How much of each window the union of the intervals covers.

    Args:
        start: of the intervals, in any order.
        end: of the intervals.
        windows: start and end of each window.
    Returns: shape (windows,), in the unit of the times.

    >>> covered(np.array([0.0, 1.0]), np.array([2.0, 3.0]), (np.array([1.0, 2.5]), np.array([2.0, 9.0])))
    array([1. , 0.5])
    """
    return _within(union(start, end), windows)


def exclusive(ranked: Iterable[Intervals], windows: Intervals) -> Iterator[Floats]:
    """How much of each window the intervals of each rank cover where none of a rank before them runs.

    Args:
        ranked: intervals of each rank, the first goes first.
        windows: start and end of each window.
    Returns: for each rank an array of shape (windows,), in the unit of the times.

    >>> ranked = [(np.array([0.0]), np.array([2.0])), (np.array([1.0]), np.array([5.0]))]
    >>> list(exclusive(ranked, (np.array([0.0]), np.array([9.0]))))
    [array([2.]), array([3.])]
    """
    joined = [union(start, end) for start, end in ranked]
    spent = np.zeros((len(joined), len(windows[0])))
    for begin, finish in _pieces(joined):
        clipped = windows[0].clip(begin, finish), windows[1].clip(begin, finish)
        merged, so_far = (np.zeros(0), np.zeros(0)), np.zeros(len(windows[0]))
        for rank, (start, end) in enumerate(joined):
            part = slice(np.searchsorted(end, begin), np.searchsorted(start, finish, side="right"))
            merged = union(np.concatenate((merged[0], start[part])), np.concatenate((merged[1], end[part])))
            now = _within(merged, clipped)
            spent[rank] += (now - so_far).clip(0)
            so_far = now
    yield from spent


def _pieces(joined: list[Intervals]) -> Iterator[tuple[float, float]]:
    """Parts of time with a bounded number of intervals each, so that what is made of them on the way takes little memory."""
    starts = max((start for start, _ in joined), key=len, default=np.zeros(0))
    cuts = [-np.inf, *starts[_PIECE::_PIECE], np.inf]
    yield from itertools.pairwise(cuts)



def _within(joined: Intervals, windows: Intervals) -> Floats:
    """What joined intervals cover of each window."""
    begin, finish = joined
    if not len(begin):
        return np.zeros(len(windows[0]))
    before = np.concatenate(([0.0], np.cumsum(finish - begin)[:-1]))

    def until(time: Floats) -> Floats:
        place = np.searchsorted(begin, time, side="right") - 1
        last = place.clip(0)
        return np.where(place < 0, 0.0, before[last] + np.minimum(time, finish[last]) - begin[last])

    return until(windows[1]) - until(windows[0])
