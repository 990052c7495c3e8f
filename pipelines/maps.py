"""Features of many rows as one Arrow map."""

import numpy as np
import pyarrow as pa

from pipelines.groups import Floats


def feature_map(columns: dict[str, Floats], rows: int) -> pa.MapArray:
    """Columns of features as one map a row; NaN (nothing measured) is left out.

    >>> feature_map({"a": np.array([1.0, np.nan]), "b": np.array([2.0, 3.0])}, 2).to_pylist()
    [[('a', 1.0), ('b', 2.0)], [('b', 3.0)]]
    """
    names = list(columns)
    if not names:
        return pa.array([[]] * rows, pa.map_(pa.string(), pa.float64()))
    values = np.column_stack([columns[name] for name in names])
    known = ~np.isnan(values)
    offsets = np.concatenate(([0], np.cumsum(known.sum(axis=1)))).astype(np.int32)
    which = np.broadcast_to(np.arange(len(names), dtype=np.int32), values.shape)[known]
    keys = pa.DictionaryArray.from_arrays(pa.array(which), pa.array(names)).cast(pa.string())
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(values[known]))
