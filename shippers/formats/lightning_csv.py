"""`metrics.csv` of Lightning's CSVLogger: a row for each time something was logged, with its step."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import MOST_LINE_BYTES, read_lines
from shippers.formats.logged_steps import Logged, lay

_STEP = "step"
#: ThroughputMonitor logs the seconds since it began.
_SINCE = ("train|time", "fit|time")
_MOST_COLUMNS = 10_000
_FEWEST_COLUMNS = 3


def recognises(head: bytes) -> bool:
    """Whether the header has `step` and `epoch`, and a row below it numbers of these."""
    lines = head.split(b"\n", 2)
    if len(lines) < _FEWEST_COLUMNS or b"\0" in head:
        return False
    header, row = (_cells(line) for line in lines[:2])
    return (len(header) >= _FEWEST_COLUMNS and _STEP in header and "epoch" in header and len(row) == len(header)
            and _number(row[header.index(_STEP)]) is not None)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Steps, where a column tells how long they took or when rows were written; and losses that are no number.

    Raises: InputError when nothing can be read, or it is no such table.
    """
    lines = read_lines(path, reading.notes)
    header = _cells(next(lines, (b"", True))[0])
    if _STEP not in header or len(header) > _MOST_COLUMNS:
        raise InputError(f"{path}: no metrics.csv of Lightning: no column `{_STEP}` in its header")
    parent = path.resolve().parent.name
    logged = Logged(path.name.split(".", maxsplit=1)[0] if path.name != "metrics.csv" or parent.isdigit() else parent, path.name)
    lay(logged, _rows(header, lines, reading))
    yield from logged.batches(reading)


def _rows(header: list[str], lines: Iterator[tuple[bytes, bool]], reading: Reading) -> Iterator[tuple[int, float | None, dict[str, float]]]:
    place = header.index(_STEP)
    for line, _ in lines:
        cells = _cells(line) if len(line) <= MOST_LINE_BYTES else []
        if cells in ([], [""]) and len(line) <= MOST_LINE_BYTES:
            continue
        step = _number(cells[place]) if len(cells) == len(header) else None
        if step is None or not 0 <= step < 1 << 53:
            reading.reject(line, "no step, or not as many columns as the header")
            continue
        values = {name: value for name, cell in zip(header, cells, strict=True) if cell and (value := _number(cell)) is not None}
        since = next((values[name] for name in _SINCE if math.isfinite(values.get(name, math.nan))), None)
        yield int(step), since, values


def _cells(line: bytes) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r")]), [])]
    except csv.Error:
        return []


def _number(text: str) -> float | None:
    """A number, NaN among them; None for anything else."""
    try:
        return float(text)
    except ValueError:
        return None


FORMAT = Format("lightning_csv", recognises, read)
