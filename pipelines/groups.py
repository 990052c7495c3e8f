"""Sums, medians and codes of groups, over whole columns at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def numbers(table: pa.Table, name: str, missing: float = np.nan) -> Floats:
    """A column as float64, with a number in the place of null."""
    return np.asarray(pc.fill_null(table.column(name).cast(pa.float64()), missing).to_numpy())


def integers(table: pa.Table, name: str, missing: int) -> Integers:
    """A column (times: UTC ns) as int64, with a number in the place of null."""
    return np.asarray(pc.fill_null(table.column(name).cast(pa.int64()), missing).to_numpy())


def codes(table: pa.Table, name: str) -> tuple[Integers, list[str]]:
    """A text column as codes and the text of each code, in order of the text so that the order of records does not matter."""
    return encode(pc.fill_null(table.column(name), ""))


def encode(column: pa.ChunkedArray | pa.Array) -> tuple[Integers, list[str]]:
    """Codes of a text column without nulls, and the text of each code, sorted.

    >>> encode(pa.array(["b", "a", "b"]))
    (array([1, 0, 1]), ['a', 'b'])
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = column.dictionary_encode()
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    found = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    return place[found] if len(names) else found, [names[number] for number in order]


def group(*keys: Integers) -> tuple[Integers, list[Integers]]:
    """Number each distinct combination of keys, in order of the keys.

    Returns: the group of each row, and the value of each key in each group.

    >>> group(np.array([5, 5, 2]), np.array([1, 1, 9]))
    (array([1, 1, 0]), [array([2, 5]), array([9, 1])])
    """
    whole = np.zeros(len(keys[0]), np.int64)
    spans: list[tuple[int, int]] = []
    for key in keys:
        low = int(key.min()) if len(key) else 0
        span = int(key.max()) - low + 1 if len(key) else 1
        spans.append((low, span))
        whole = whole * span + (key - low)
    distinct, rows = np.unique(whole, return_inverse=True)
    values = []
    for low, span in reversed(spans):
        distinct, rest = np.divmod(distinct, span)
        values.append(rest + low)
    return rows.reshape(-1).astype(np.int64), values[::-1]


def total(values: Floats, rows: Integers, count: int) -> Floats:
    """Sum of each group; NaN counts as nothing."""
    return np.bincount(rows, weights=np.nan_to_num(values), minlength=count).astype(np.float64)


def median(values: Floats, rows: Integers, count: int) -> Floats:
    """Median of each group, NaN where a group has no value.

    >>> median(np.array([3.0, 1.0, 2.0, 7.0]), np.array([0, 0, 0, 1]), 3)
    array([ 2.,  7., nan])
    """
    known = ~np.isnan(values)
    values, rows = values[known], rows[known]
    # np.lexsort sorts stably, twice; sorting by value and then only by group is half the time
    order = np.argsort(values)
    order = order[np.argsort(rows[order], kind="stable")]
    sizes = np.bincount(rows, minlength=count)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    result = np.full(count, np.nan)
    some = sizes > 0
    lower = order[starts[some] + (sizes[some] - 1) // 2]
    upper = order[starts[some] + sizes[some] // 2]
    result[some] = (values[lower] + values[upper]) / 2
    return result


def largest(values: Floats, rows: Integers, count: int) -> Integers:
    """The row with the largest value of each group; of equal ones the last. Every group must have a row."""
    order = np.lexsort((values, rows))
    ends = np.cumsum(np.bincount(rows, minlength=count)) - 1
    return order[ends]
