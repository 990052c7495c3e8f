"""Cut time into slices that hold about so many records each."""

import math

import numpy as np

from pinchpoint.clock import NS
from pinchpoint.errors import UsageError
from pinchpoint.store.base import Split
from pinchpoint.store.repeats import Integers


def cut(kind: str, buckets: Integers, counts: Integers, bucket_ns: int, *, start: int | None, end: int | None, align_s: float,
        records: int) -> list[Split]:
    """Slices that cover buckets of time, oldest first.

    Args:
        kind: of the records.
        buckets: numbers of the bucket_ns since 1970 in which records lie, in any order, repeated ones add up; shape (n,).
        counts: records in each bucket; shape (n,).
        bucket_ns: length of a bucket; slices are cut at multiples of it and of align_s.
        start: UTC ns; slices begin there at the earliest, None for no limit.
        end: UTC ns; slices end there at the latest, None for no limit.
        align_s: slices are cut at multiples of this since 1970, save at start and end.
        records: how many records a slice holds at most, unless the shortest slice holds more.
    Raises: UsageError for an align_s not above 0.

    >>> cut("step", np.array([0, 1, 5]), np.array([3, 4, 9]), NS, start=None, end=None, align_s=1, records=8)
    [Split(kind='step', start=0, end=2000000000, records=7), Split(kind='step', start=5000000000, end=6000000000, records=9)]
    """
    align_ns = round(align_s * NS)
    if align_ns <= 0:
        raise UsageError(f"align_s: expected a number above 0, got {align_s!r}")
    unit = math.lcm(align_ns, bucket_ns)
    units, where = np.unique(buckets * bucket_ns // unit, return_inverse=True)
    totals = np.bincount(where, weights=counts, minlength=len(units)).astype(np.int64)
    splits: list[Split] = []
    for number, total in zip(units.tolist(), totals.tolist(), strict=True):
        first = number * unit if start is None else max(number * unit, start)
        last = (number + 1) * unit if end is None else min((number + 1) * unit, end)
        if first >= last:
            continue
        if splits and splits[-1].records + total <= records:
            splits[-1] = Split(kind, splits[-1].start, last, splits[-1].records + total)
        else:
            splits.append(Split(kind, first, last, total))
    return splits
