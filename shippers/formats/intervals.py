"""How much of a window is covered by intervals of time."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def union(start: Floats, end: Floats) -> tuple[Floats, Floats]:
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


def covered(start: Floats, end: Floats, windows: tuple[Floats, Floats]) -> Floats:
    """How much of each window the union of the intervals covers.

    Args:
        start: of the intervals, in any order.
        end: of the intervals.
        windows: start and end of each window.
    Returns: shape (windows,), in the unit of the times.

    >>> covered(np.array([0.0, 1.0]), np.array([2.0, 3.0]), (np.array([1.0, 2.5]), np.array([2.0, 9.0])))
    array([1. , 0.5])
    """
    begin, finish = union(start, end)
    if not len(begin):
        return np.zeros(len(windows[0]))
    times = np.column_stack((begin, finish)).reshape(-1)
    lengths = finish - begin
    before = np.concatenate(([0.0], np.cumsum(lengths)))
    total = np.column_stack((before[:-1], before[1:])).reshape(-1)
    return np.asarray(np.interp(windows[1], times, total) - np.interp(windows[0], times, total))
