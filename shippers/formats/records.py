"""Records as NDJSON: one flat object a line with dotted keys and `kind`, plain or compressed with gzip."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.errors import InputError
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import MOST_LINE_BYTES, read_lines
from shippers.formats.record_rows import Row, parse_row

#: Rows wait as objects until there are enough of them for a batch: this bounds what long log lines hold.
_MOST_BATCH_BYTES = 32 << 20
_BLOCK = 512


def recognises(head: bytes) -> bool:
    """Whether one of these lines is an object with a `kind` of ours."""
    for line in head.split(b"\n"):
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("kind"), str) and record["kind"] in fields.KINDS:
            return True
    return False


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Batches of each kind; lines that are no record are counted and set aside.

    Raises: InputError when nothing can be read, or a compressed file is damaged before its first record.
    """
    waiting: dict[str, list[Row]] = {}
    size = dict.fromkeys(fields.KINDS, 0)
    for line, whole in read_lines(path, reading.notes):
        row = _row(line, whole, reading)
        if row is None:
            continue
        kind = row.__struct_config__.tag
        rows = waiting.setdefault(kind, [])
        rows.append(row)
        size[kind] += len(line)
        if len(rows) >= MOST_ROWS or size[kind] >= _MOST_BATCH_BYTES:
            yield kind, _batch(kind, rows)
            rows.clear()
            size[kind] = 0
    if not waiting and any("damaged" in note for note in reading.notes):
        raise InputError(f"{path}: {reading.notes[-1]}; no record before that")
    for kind, rows in waiting.items():
        if rows:
            yield kind, _batch(kind, rows)


def _row(line: bytes, whole: bool, reading: Reading) -> Row | None:
    """A line as a row; None for one that was counted as rejected, that is empty, or that was still being written."""
    if len(line) > MOST_LINE_BYTES:
        reading.reject(line, f"longer than {MOST_LINE_BYTES} bytes")
        return None
    try:
        return parse_row(line)
    except ValueError as error:
        if not line.strip():
            return None
        if not whole and str(error).startswith("not JSON"):
            reading.notes.append("the last line is incomplete: it was being written when the file was taken")
            return None
        reading.reject(line, str(error))
        return None


def _batch(kind: str, rows: list[Row]) -> pa.RecordBatch:
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


FORMAT = Format("records", recognises, read)
