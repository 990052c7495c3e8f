"""Records as NDJSON: one flat object a line with dotted keys and `kind`, plain or compressed with gzip."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.clock import parse_time
from pinchpoint.errors import RecordError
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import MOST_LINE_BYTES, read_lines

#: No step, span or window lasts longer (seconds): what does is a broken clock.
LONGEST_S = 1e9
_NAMES = {kind: frozenset(names) - {"labels"} for kind, names in fields.KINDS.items()}


def recognises(head: bytes) -> bool:
    """Whether one of the first lines is an object with a `kind` of ours."""
    for line in head.split(b"\n")[:20]:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("kind") in fields.KINDS:
            return True
    return False


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Batches of each kind; lines that are no record are counted and set aside."""
    waiting: dict[str, list[dict[str, Any]]] = {}
    for line, whole in read_lines(path):
        record = _record(line, whole, reading)
        if record is None:
            continue
        rows = waiting.setdefault(record["kind"], [])
        rows.append(record)
        if len(rows) >= MOST_ROWS:
            yield from _batch(record["kind"], rows, reading)
            rows.clear()
    for kind, rows in waiting.items():
        if rows:
            yield from _batch(kind, rows, reading)


def _record(line: bytes, whole: bool, reading: Reading) -> dict[str, Any] | None:
    """A line as a record that has a kind, a time and an identity; None for one that was counted as rejected, or was empty."""
    if not line.strip():
        return None
    reason = f"longer than {MOST_LINE_BYTES} bytes"
    if len(line) <= MOST_LINE_BYTES:
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            if not whole:
                reading.notes.append("the last line is incomplete: it was being written when the file was taken")
                return None
            reason = f"not JSON: {error}"
        else:
            reason = _what_is_wrong(record)
            if not reason:
                if not isinstance(record.get("event.id"), str):
                    record["event.id"] = records.content_id(line)
                return dict(record)
    reading.reject(line, reason)
    return None


def _what_is_wrong(record: Any) -> str:
    """Why this is no record; empty when it is one, as far as can be seen without looking at every value."""
    if not isinstance(record, dict):
        return "not an object"
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in fields.KINDS:
        return f"unknown kind {str(kind)[:40]!r}"
    time = record.get("@timestamp")
    if not isinstance(time, int) or isinstance(time, bool) or not -(1 << 62) < time < 1 << 62:
        try:
            record["@timestamp"] = parse_time(time)  # type: ignore[arg-type]
        except (ValueError, TypeError, AttributeError, OverflowError):
            return f"@timestamp: no time: {str(time)[:40]!r}"
    duration = record.get("duration_s")
    if duration is not None and not (isinstance(duration, int | float) and 0 <= duration <= LONGEST_S):
        return f"duration_s: {str(duration)[:40]!r} is no duration"
    return ""


def _batch(kind: str, rows: list[dict[str, Any]], reading: Reading) -> Iterator[Batch]:
    """The rows as one batch; when a value has the wrong type, the rows that have one are set aside."""
    try:
        batch = _columns(kind, rows)
    except (RecordError, pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        good = []
        for row in rows:
            reason = _wrong_value(kind, row)
            if reason:
                reading.reject(msgspec.json.encode(row), reason)
            else:
                good.append(row)
        if not good:
            return
        batch = _columns(kind, good)
    yield kind, batch


def _columns(kind: str, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    known = _NAMES[kind]
    seen: set[str] = set()
    for row in rows:
        seen.update(row)
    columns: dict[str, Any] = {}
    for name in known & seen:
        values = [row.get(name) for row in rows]
        if fields.FIELDS[name].type in ("numbers", "texts"):
            values = [None if value is None else list(value.items()) for value in values]
        columns[name] = values
    if seen - known - {"kind"}:
        columns["labels"] = [_labels(row, known) for row in rows]
    return records.batch(kind, columns)


def _labels(row: dict[str, Any], known: frozenset[str]) -> list[tuple[str, str]] | None:
    found: list[tuple[str, str]] = []
    for name, value in row.items():
        if name in known or name == "kind":
            continue
        if name == "labels" and isinstance(value, dict):
            found += [(str(key), _text(below)) for key, below in value.items()]
        else:
            found.append((name, _text(value)))
    return found or None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_FITS: dict[str, Callable[[Any], bool]] = {
    "time": lambda value: isinstance(value, int),
    "text": lambda value: isinstance(value, str),
    "document": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "numbers": lambda value: isinstance(value, dict) and all(
        isinstance(below, int | float) and not isinstance(below, bool) and math.isfinite(below) for below in value.values()),
    "texts": lambda value: isinstance(value, dict) and all(isinstance(below, str) for below in value.values()),
    "slow_steps": lambda value: isinstance(value, list),
}


def _wrong_value(kind: str, row: dict[str, Any]) -> str:
    for name in _NAMES[kind] & row.keys():
        value, wanted = row[name], fields.FIELDS[name].type
        if value is not None and not _FITS[wanted](value):
            return f"{name}: expected {wanted}, got {str(value)[:40]!r}"
    try:
        _columns(kind, [row])
    except (RecordError, pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return str(error)[:200]
    return ""


FORMAT = Format("records", recognises, read)
