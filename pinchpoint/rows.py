"""Lines of NDJSON as checked rows of their kind, and rows as batches."""

import functools
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Union

import msgspec
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.clock import parse_time

#: No step, span or window lasts longer (seconds): what does is a broken clock.
LONGEST_S = 1e9

_BLOCK = 512

Row = Any
"""A struct of one kind with an attribute per column, in the order of `fields.KINDS`; the tag is the kind."""


class _SlowStep(msgspec.Struct):
    step: int | None = None
    duration_s: float | None = None
    phase: str | None = None


_Duration = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]
_TYPES: dict[fields.Type, Any] = {
    "time": Annotated[int, msgspec.Meta(gt=-(1 << 62), lt=1 << 62)] | str,
    "text": str | None,
    "integer": Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None,
    "number": float | None,
    "numbers": dict[str, float] | None,
    "texts": dict[str, str] | None,
    "slow_steps": list[_SlowStep] | None,
    "document": str | None,
}


def _type(name: str) -> Any:
    return _Duration | None if name.endswith("_s") else _TYPES[fields.FIELDS[name].type]


def _row_type(kind: str) -> type[msgspec.Struct]:
    # every kind begins with time and identity, which are therefore c0 and c1
    attributes = {f"c{number}": name for number, name in enumerate(fields.KINDS[kind])}
    time, *rest = ((attribute, _type(name)) for attribute, name in attributes.items())
    return msgspec.defstruct(kind, [time, *((*each, None) for each in rest)], rename=attributes, tag_field="kind", tag=kind,
                             forbid_unknown_fields=True, gc=False)


_ROWS = {kind: _row_type(kind) for kind in fields.KINDS}
_ROW: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Union[tuple(_ROWS.values())])  # noqa: UP007
_NAMES = {kind: frozenset(names) - {"labels"} for kind, names in fields.KINDS.items()}
_ANY = msgspec.json.Decoder()


def parse_row(line: bytes) -> Row:
    """A line as a row whose every value has the type of its column and whose time is in UTC nanoseconds.

    Raises: ValueError that says why the line is no record.
    """
    try:
        row = _ROW.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        row = _parse_loosely(line)
    if type(row.c0) is str:
        row.c0 = _time_ns(row.c0)
    if not row.c1:
        row.c1 = records.content_id(line.strip())
    return row


def _parse_loosely(line: bytes) -> Row:
    """A line with keys of its own, or with whole numbers written as 3.0; the keys become labels."""
    try:
        record = _ANY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError("not an object")
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in fields.KINDS:
        raise ValueError(f"unknown kind {str(kind)[:40]!r}")
    row: dict[str, Any] = {"kind": kind}
    labels: dict[str, str] = {}
    for name, value in record.items():
        if name == "labels" and (isinstance(value, dict) or value is None):
            labels |= {key: _text(below) for key, below in (value or {}).items()}
        elif name in _NAMES[kind]:
            whole = type(value) is float and fields.FIELDS[name].type == "integer" and value.is_integer()
            row[name] = int(value) if whole else value
        elif name != "kind":
            labels[name] = _text(value)
    if labels:
        row["labels"] = labels
    try:
        return msgspec.convert(row, _ROWS[kind])
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@functools.lru_cache(1024)
def _second_ns(text: str) -> int:
    return parse_time(text)


def _time_ns(text: str) -> int:
    """What `parse_time` gives; neighbouring records share their second, which makes that the cheap part."""
    fraction = text[20:-1]
    if text[-1:] == "Z" and text[19:20] == "." and fraction.isdecimal() and len(fraction) <= 9:
        time_ns = _second_ns(text[:19]) + int(fraction.ljust(9, "0"))
    else:
        time_ns = _second_ns(text)
    if not -(1 << 62) < time_ns < 1 << 62:
        raise ValueError(f"@timestamp: a time out of range: {text!r}")
    return time_ns


def to_batch(kind: str, rows: list[Row]) -> pa.RecordBatch:
    """Rows of one kind as a batch of exactly its schema."""
    found: list[list[Any]] = [[] for _ in fields.KINDS[kind]]
    # in blocks that stay in the processor's cache
    for begin in range(0, len(rows), _BLOCK):
        for column, part in zip(found, zip(*map(msgspec.structs.astuple, rows[begin : begin + _BLOCK]), strict=True), strict=True):
            column.extend(part)
    columns: dict[str, Any] = {}
    for name, values in zip(fields.KINDS[kind], found, strict=True):
        if values.count(None) == len(rows):
            continue
        match fields.FIELDS[name].type:
            case "numbers" | "texts":
                columns[name] = _maps(name, kind, values)
            case "slow_steps":
                columns[name] = [value and [msgspec.structs.asdict(step) for step in value] for value in values]
            case _:
                columns[name] = values
    return records.batch(kind, columns)


def _maps(name: str, kind: str, values: Sequence[dict[str, Any] | None]) -> pa.Array:
    """Maps as one array of all keys and one of all values: a third of the time that a list of pairs takes."""
    wanted = records.schema(kind).field(name).type
    ends = list(itertools.accumulate((len(value or ()) for value in values), initial=0))
    offsets = [None if value is None else begin for value, begin in zip(values, ends, strict=False)]
    keys = [key for value in values if value for key in value]
    items = [item for value in values if value for item in value.values()]
    return pa.MapArray.from_arrays(pa.array([*offsets, ends[-1]], pa.int32()), pa.array(keys, wanted.key_type),
                                   pa.array(items, wanted.item_type))
