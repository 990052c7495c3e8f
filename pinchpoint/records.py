"""Records as Arrow schemas, with constructors that refuse what does not fit."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pinchpoint import fields
from pinchpoint.errors import RecordError

SLOW_STEP = pa.struct([("step", pa.int64()), ("duration_s", pa.float64()), ("phase", pa.string())])

_ARROW: dict[str, pa.DataType] = {
    "time": pa.timestamp("ns", tz="UTC"),
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "numbers": pa.map_(pa.string(), pa.float64()),
    "texts": pa.map_(pa.string(), pa.string()),
    "slow_steps": pa.list_(SLOW_STEP),
    "document": pa.string(),
}

SCHEMAS: dict[str, pa.Schema] = {
    kind: pa.schema([pa.field(name, _ARROW[fields.FIELDS[name].type], nullable=name != "@timestamp") for name in names])
    for kind, names in fields.KINDS.items()
}
"""The Arrow schema of each kind; every column but `@timestamp` may be null."""


def schema(kind: str, columns: Sequence[str] | None = None) -> pa.Schema:
    """The schema of a kind, or of some of its columns in the order asked for.

    Raises: RecordError for a kind or a column that does not exist.

    >>> schema("step", ["rank", "step"]).names
    ['rank', 'step']
    """
    if kind not in SCHEMAS:
        raise RecordError(f"unknown kind of record {kind!r}; there are {', '.join(SCHEMAS)}")
    whole = SCHEMAS[kind]
    if columns is None:
        return whole
    for name in columns:
        if name not in whole.names:
            raise RecordError(f"a {kind} record has no field {name!r}")
    return pa.schema([whole.field(name) for name in columns])


def batch(kind: str, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of one kind from columns of equal length; columns that are left out are null.

    Args:
        kind: a key of `fields.KINDS`.
        columns: name to values: a list, a NumPy array or an Arrow array. Times are integers of UTC nanoseconds or Arrow timestamps.
    Raises: RecordError for an unknown field, a missing or null `@timestamp`, unequal lengths or a value of the wrong type.

    >>> batch("step", {"@timestamp": [0], "rank": [3], "duration_s": [0.5]}).num_rows
    1
    """
    wanted = schema(kind)
    for name in columns:
        if name not in wanted.names:
            raise RecordError(f"a {kind} record has no field {name!r}")
    if "@timestamp" not in columns:
        raise RecordError(f"a {kind} record needs '@timestamp'")
    length = len(columns["@timestamp"])
    arrays = []
    for field in wanted:
        if field.name not in columns:
            arrays.append(pa.nulls(length, field.type))
            continue
        arrays.append(_array(kind, field, columns[field.name]))
        if len(arrays[-1]) != length:
            raise RecordError(f"{kind}.{field.name}: {len(arrays[-1])} values for {length} records")
    if arrays[wanted.get_field_index("@timestamp")].null_count:
        raise RecordError(f"{kind}.@timestamp: a time is missing")
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _array(kind: str, field: pa.Field, values: Any) -> pa.Array:
    try:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if isinstance(values, pa.Array):
            return values if values.type.equals(field.type) else values.cast(field.type)
        if pa.types.is_integer(field.type):
            # told the type, Arrow would cut 0.5 to 0 in silence
            found = pa.array(values, from_pandas=False)
            if not (pa.types.is_integer(found.type) or pa.types.is_floating(found.type) or pa.types.is_null(found.type)):
                raise TypeError(f"got {found.type}")
            return found.cast(field.type)
        return pa.array(values, type=field.type, from_pandas=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{kind}.{field.name}: expected {fields.FIELDS[field.name].type}: {error}") from error


def conform(kind: str, given: pa.RecordBatch) -> pa.RecordBatch:
    """The same records in exactly the schema of their kind, as stores keep them.

    Raises: RecordError when a column is unknown or cannot be cast.
    """
    if given.schema.equals(schema(kind)):
        return given
    return batch(kind, {name: given.column(name) for name in given.schema.names})


def concat(kind: str, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """All batches of a kind as one table; an empty table when there are none."""
    return pa.Table.from_batches(list(batches), schema=schema(kind))


def content_id(*parts: object) -> str:
    """A short identity made of content: the same parts give the same id on every machine.

    >>> content_id("run", 3) == content_id("run", 3)
    True
    """
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=10).hexdigest()
