"""How much of a window is covered by intervals of time."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Intervals = tuple[Floats, Floats]
"""Starts and ends, of equal length; an end is never before its start."""


def union(start: Floats, end: Floats) -> Intervals:
    """Overlapping intervals joined, in order of time.

    >>> union(np.array([0.0, 4.0, 1.0]), np.array([2.0, 5.0, 3.0]))
    (array([0., 4.]), array([3., 5.]))
    """
    if not len(start):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate(([True], start[1:] > reach[:-1]))
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
    merged, so_far = (np.zeros(0), np.zeros(0)), np.zeros(len(windows[0]))
    for start, end in ranked:
        merged = union(np.concatenate((merged[0], start)), np.concatenate((merged[1], end)))
        now = _within(merged, windows)
        yield (now - so_far).clip(0)
        so_far = now


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
