"""Tables of metrics as CSV: wide, a metric in each column, or long, a value in each row."""

import csv
import datetime
import math
import re
from collections.abc import Iterator
from pathlib import Path

from pinchpoint import records
from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import MOST_LINE_BYTES, read_lines

_TIME = re.compile(
    r"@?(?:time|date|ts|timestamp|datetime|unix_?time|epoch_?time|time_?(?:ms|us|ns)|gmt_create)(?:_\w{1,20})?", re.IGNORECASE)
_NAME = ("metric", "metric_name", "name", "__name__")
_KINDS = (("host", ("host", "node", "instance", "server")), ("service", ("service", "pod", "container", "app")),
          ("gpu", ("gpu", "device")))
_MOST_COLUMNS = 10_000
_BATCH_ROWS = 8192
#: Epochs are told apart by their size: seconds until the year 5138, then milli-, micro-, nanoseconds.
_UNITS = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (math.inf, 1))


def recognises(head: bytes) -> bool:
    """Whether there is a header with a column of times, and a second row with a time and a number where the header says so."""
    lines = head.split(b"\n", 2)
    if len(lines) < 2 or b"\0" in head or b"," not in lines[0]:
        return False
    header, row = (_cells(line) for line in lines[:2])
    place = _time_column(header)
    if place is None or len(row) != len(header) or time_ns(row[place]) is None:
        return False
    return len(set(header)) == len(header) and any(_number(cell) is not None for at, cell in enumerate(row) if at != place)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """A metric record for each row; rows without a time or a number are rejected.

    What the text columns of a row hold names the entity. In a long table the metric is named by its column `metric`, or else by the file.

    Raises: InputError when nothing can be read, or the header has no column of times.
    """
    lines = read_lines(path, reading.notes)
    header = _cells(next(lines, (b"", True))[0])
    place = _time_column(header)
    if place is None or len(header) > _MOST_COLUMNS:
        raise InputError(f"{path}: no table of metrics: no column of times in its header")
    stem = path.name.split(".", maxsplit=1)[0] or "value"
    name_at = next((at for at, name in enumerate(header) if name.lower() in _NAME), None)
    rows: list[tuple[int, str, list[tuple[str, float]]]] = []
    kind, count = _kind(header, place), 0
    for line, _ in lines:
        if len(line) > MOST_LINE_BYTES:
            reading.reject(line, f"longer than {MOST_LINE_BYTES} bytes")
            continue
        cells = _cells(line)
        if cells in ([], [""]):
            continue
        at_ns = time_ns(cells[place]) if len(cells) == len(header) else None
        if at_ns is None:
            reading.reject(line, "no time, or not as many columns as the header")
            continue
        values, names, metric = [], [], cells[name_at] if name_at is not None else stem
        for at, cell in enumerate(cells):
            if at in (place, name_at) or not cell:
                continue
            number = _number(cell)
            if number is None:
                names.append(cell)
            else:
                values.append((metric if header[at].lower() == "value" else header[at], number))
        if not values:
            reading.reject(line, "no number in it")
            continue
        rows.append((at_ns, "/".join(names)[:256] or stem, values))
        if len(rows) >= _BATCH_ROWS:
            yield _batch(stem, kind, rows, count)
            count += len(rows)
            rows = []
    if rows:
        yield _batch(stem, kind, rows, count)


def _batch(stem: str, kind: str, rows: list[tuple[int, str, list[tuple[str, float]]]], count: int) -> Batch:
    times, entities, metrics = (list(column) for column in zip(*rows, strict=True))
    return "metric", records.batch("metric", {
        "@timestamp": times, "event.id": [records.content_id(stem, count + place, row[0]) for place, row in enumerate(rows)],
        "entity.kind": [kind] * len(rows), "entity.id": entities, "metrics": metrics})


def _cells(line: bytes) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r")]), [])]
    except csv.Error:
        return []


def _time_column(header: list[str]) -> int | None:
    return next((at for at, name in enumerate(header) if _TIME.fullmatch(name)), None)


def _kind(header: list[str], place: int) -> str:
    names = [name.lower() for at, name in enumerate(header) if at != place]
    return next((kind for kind, words in _KINDS for name in names if any(name.startswith(word) for word in words)), "series")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def time_ns(text: str) -> int | None:
    """UTC ns of an epoch in any usual unit, or of an ISO 8601 time (UTC where it names no zone); None for anything else.

    >>> time_ns("1662859290.0"), time_ns("2024-11-15 16:57:50") == 1731689870 * 10**9, time_ns("TXT_2_IMG")
    (1662859290000000000, True, None)
    """
    number = _number(text)
    if number is not None:
        return round(number * next(unit for limit, unit in _UNITS if number < limit)) if 0 <= number < 9e18 else None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    return round(found.timestamp() * 1e6) * 1000 if 1970 < found.year < 2200 else None


FORMAT = Format("metric_csv", recognises, read)
