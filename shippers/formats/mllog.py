"""Logs of MLPerf training (`:::MLLOG {json}` lines among others): initialisation, the timed run, its evaluations."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pinchpoint import records
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_lines
from shippers.formats.told import told

_MARK = b":::MLLOG {"
_MS = 1_000_000


class _Line(msgspec.Struct):
    time_ms: float
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """One event of the benchmark."""

    time_ms: int
    key: str


def parse_line(line: bytes) -> Mark | None:
    """The event in a line; None when the line holds none.

    Raises: ValueError for a line that has the mark and cannot be read.
    """
    place = line.find(_MARK)
    if place < 0:
        return None
    try:
        found = msgspec.json.decode(line[place + len(_MARK) - 1:].strip(), type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no MLLOG event: {error}") from error
    if not 0 < found.time_ms < 1e15:  # beyond the year 30000, or not a time
        raise ValueError("its time_ms is no time")
    return Mark(round(found.time_ms), found.key)


def recognises(head: bytes) -> bool:
    """Whether a line of it has the mark."""
    return _MARK in head


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step that is the timed run, and the shares of initialisation and evaluation.

    The epochs between evaluations differ in length by the rules of the benchmark, and evaluations are prescribed: neither is
    held against the run.
    """
    times: dict[str, list[int]] = {}
    for line, _ in read_lines(path, reading.notes):
        try:
            mark = parse_line(line)
        except ValueError as error:
            reading.reject(line, str(error))
            continue
        if mark is not None and mark.key in _WANTED:
            times.setdefault(mark.key, []).append(mark.time_ms)
    if not times.get("run_start") or max(times.get("run_stop", [0])) <= min(times["run_start"]):
        reading.notes.append("no run_start and run_stop in it: how long the run took is not known")
        return
    start, stop = min(times["run_start"]), max(times["run_stop"])
    numbers = {"evaluation": _covered(times.get("eval_start", []), times.get("eval_stop", []), start, stop) / (stop - start)}
    if times.get("init_start"):
        numbers["init_s"] = max(start - min(times["init_start"]), 0) / 1000
    run = path.name.split(".", maxsplit=1)[0] or "mllog"
    yield "step", records.batch("step", {
        "@timestamp": [start * _MS], "event.id": [records.content_id("mllog", run, start, stop)], "run.id": [run], "rank": [0],
        "step": [0], "duration_s": [(stop - start) / 1000]})
    yield told(run, start * _MS, numbers)


_WANTED = ("init_start", "run_start", "run_stop", "eval_start", "eval_stop")


def _covered(starts: list[int], stops: list[int], first: int, last: int) -> int:
    """Milliseconds of the run in which an evaluation ran; ranks that log the same one count once."""
    marks = sorted([(at, 0) for at in starts if first <= at <= last] + [(at, 1) for at in stops if first <= at <= last])
    total, begun = 0, None
    for at, stops_here in marks:
        if stops_here and begun is not None:
            total, begun = total + at - begun, None
        elif not stops_here and begun is None:
            begun = at
    return total


FORMAT = Format("mllog", recognises, read)
