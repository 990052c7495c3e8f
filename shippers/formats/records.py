"""Records as NDJSON: one flat object a line with dotted keys and `kind`, plain or compressed with gzip."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pinchpoint import fields
from pinchpoint.errors import InputError
from pinchpoint.rows import Row, parse_row, to_batch
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import MOST_LINE_BYTES, read_lines

#: Rows wait as objects until there are enough of them for a batch: this bounds what long log lines hold.
_MOST_BATCH_BYTES = 32 << 20


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
            yield kind, to_batch(kind, rows)
            rows.clear()
            size[kind] = 0
    if not waiting and any("damaged" in note for note in reading.notes):
        raise InputError(f"{path}: {reading.notes[-1]}; no record before that")
    for kind, rows in waiting.items():
        if rows:
            yield kind, to_batch(kind, rows)


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


FORMAT = Format("records", recognises, read)
