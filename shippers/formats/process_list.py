"""Snapshots of `ps aux`, `ps -ef` and `ps -eo …` with a header."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pinchpoint import records
from pinchpoint.clock import NS
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import read_lines

_TIME = re.compile(r"(?:(\d{1,5})-)?(?:(\d{1,5}):)?(\d{1,5}):(\d\d)(?:\.\d{1,3})?")
_METRICS = {"RSS": ("process.memory.rss_bytes", 1024.0), "RSZ": ("process.memory.rss_bytes", 1024.0), "NLWP": ("process.threads", 1.0),
            "THCNT": ("process.threads", 1.0), "MAJFLT": ("process.major_faults", 1.0), "MAJFL": ("process.major_faults", 1.0)}
_LABELS = {"STAT": "process.state", "S": "process.state", "PPID": "process.parent.pid", "USER": "user.name", "UID": "user.name",
           "WCHAN": "process.wait_channel", "%CPU": "process.cpu_percent"}
#: The last column may hold spaces.
_COMMANDS = ("COMMAND", "CMD", "ARGS", "COMM")
_MOST_COMMAND = 64


def header_of(line: str) -> list[str] | None:
    """The columns of a header; None when it is none of ps.

    >>> header_of("USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND")[1]
    'PID'
    """
    names = line.split()
    good = "PID" in names and len(names) >= 3 and names[-1] in _COMMANDS and all(name == name.upper() for name in names)
    return names if good else None


def recognises(head: bytes) -> bool:
    """Whether its first line is a header of ps."""
    return header_of(head.lstrip(b"\n").partition(b"\n")[0].decode("utf-8", "replace")) is not None


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """A metric record of each process, as of when the file was written."""
    reading.notes.append("as of when the file was written: ps prints no time")
    lines = (line.decode("utf-8", "replace") for line, _ in read_lines(path, reading.notes))
    yield from read_processes(lines, int(path.stat().st_mtime) * NS, reading)


def read_processes(lines: Iterable[str], time_ns: int, reading: Reading) -> Iterator[Batch]:
    """Batches of what lines of ps hold, header first."""
    columns: list[str] = []
    kept: list[tuple[str, dict[str, float], list[tuple[str, str]]]] = []
    for line in lines:
        header = header_of(line)
        if header is not None:
            columns = header
            continue
        if not line.strip():
            continue
        row = dict(zip(columns, line.split(None, len(columns) - 1), strict=False)) if columns else {}
        pid = row.get("PID", "")
        if not pid.isdecimal() or len(pid) > 10 or len(row) < len(columns):
            reading.reject(line.encode(), "no row of ps")
            continue
        metrics = _metrics(row)
        if metrics:
            # the program alone: arguments may hold secrets
            command = row[columns[-1]].split()[0].rsplit("/", 1)[-1][:_MOST_COMMAND]
            labels = [("process.pid", pid), ("process.name", command),
                      *((label, row[name][:_MOST_COMMAND]) for name, label in _LABELS.items() if name in row)]
            kept.append((pid, metrics, labels))
        if len(kept) >= MOST_ROWS:
            yield _batch(kept, time_ns)
            kept = []
    if kept:
        yield _batch(kept, time_ns)


def _batch(kept: list[tuple[str, dict[str, float], list[tuple[str, str]]]], time_ns: int) -> Batch:
    return "metric", records.batch("metric", {
        "@timestamp": [time_ns] * len(kept), "event.id": [records.content_id("ps", time_ns, pid) for pid, _, _ in kept],
        "entity.kind": ["process"] * len(kept), "entity.id": [pid for pid, _, _ in kept], "process.pid": [int(pid) for pid, _, _ in kept],
        "metrics": [list(metrics.items()) for _, metrics, _ in kept], "labels": [labels for _, _, labels in kept],
    })


def _metrics(row: dict[str, str]) -> dict[str, float]:
    found = {}
    for name, (metric, scale) in _METRICS.items():
        if row.get(name, "").isdecimal() and len(row[name]) < 16:
            found[metric] = float(row[name]) * scale
    match = _TIME.fullmatch(row.get("TIME", ""))
    if match is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        found["process.cpu_s"] = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return found


FORMAT = Format("process_list", recognises, read)
