"""Kernel logs as dmesg, syslog and journalctl -k write them: each line a log record, each error an event."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pinchpoint import records
from pinchpoint.clock import parse_time
from pinchpoint.gpu_errors.reader import KernelReader
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.kernel_lines import KernelLine, parse_line
from shippers.formats.lines import MOST_LINE_BYTES, read_lines

#: The lines of a kernel log come from here, also those that were copied into a file.
SOURCE = "/dev/kmsg"
_LOOK_AT = 400
_ENOUGH = 0.5
_ANY_TIME = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


def recognises(head: bytes) -> bool:
    """Whether most of the first lines have a shape of kernel logs, and one at least is from the kernel."""
    lines = [line for line in head.split(b"\n")[:_LOOK_AT] if line.strip()]
    if head[-1:] != b"\n" and len(lines) > 1:
        lines.pop()
    found = [one for one in (parse_line(line.decode("utf-8", "replace").rstrip("\r"), _ANY_TIME) for line in lines) if one is not None]
    return bool(found) and len(found) >= _ENOUGH * len(lines) and any(one.from_kernel for one in found)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Batches of log records and of events.

    Raises: InputError when nothing can be read.
    """
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    yield from read_kernel_lines(_texts(path, reading), written, reading)


def _texts(path: Path, reading: Reading) -> Iterator[str]:
    for line, _ in read_lines(path, reading.notes):
        if len(line) > MOST_LINE_BYTES:
            reading.reject(line, f"longer than {MOST_LINE_BYTES} bytes")
        elif line.strip():
            yield line.decode("utf-8", "replace").rstrip("\r")


def read_kernel_lines(lines: Iterable[str], written: datetime.datetime, reading: Reading) -> Iterator[Batch]:
    """Batches of what lines of a kernel log hold; a line in no known shape belongs to the one before it."""
    reader, rows, events = KernelReader(), [], []
    since_boot, local = False, False
    last: KernelLine | None = None
    for number, text in enumerate(lines, 1):
        line = parse_line(text, written)
        if line is None:
            if last is None:
                reading.reject(text.encode(), "no line of a kernel log")
                continue
            line = last._replace(message=text, from_kernel=False)
        last = line
        since_boot |= line.boot_ns is not None
        local |= line.local
        time_ns = line.time_ns if line.time_ns is not None else line.boot_ns or 0
        rows.append((time_ns, number, line))
        if line.from_kernel:
            event = reader.event(line.message, time_ns, number, line.host)
            if event is not None:
                events.append(event | {"event.id": records.content_id("kernel", line.host, time_ns, line.message)})
        if len(rows) >= MOST_ROWS:
            yield _logs(rows)
            rows = []
            if events:
                yield _events(events)
                events = []
    if since_boot:
        reading.notes.append("times are seconds since boot: dmesg -T or journalctl -k tells the time of day")
    if local:
        reading.notes.append("times are taken as UTC, since the lines name no zone")
    if rows:
        yield _logs(rows)
    if events:
        yield _events(events)


def _logs(rows: list[tuple[int, int, KernelLine]]) -> Batch:
    return "log", records.batch("log", {
        "@timestamp": [time_ns for time_ns, _, _ in rows],
        "event.id": [records.content_id("kernel line", number, time_ns, line.message) for time_ns, number, line in rows],
        "message": [line.message for _, _, line in rows], "log.level": [line.level for _, _, line in rows],
        "log.file.path": [SOURCE if line.from_kernel else None for _, _, line in rows],
        "host.name": [line.host for _, _, line in rows],
    })


def _events(events: list[dict[str, Any]]) -> Batch:
    return "event", records.batch("event", {
        "@timestamp": [parse_time(one["@timestamp"]) for one in events],
        "event.id": [one["event.id"] for one in events], "event.action": [one["event.action"] for one in events],
        "event.reason": [one["event.reason"] for one in events], "host.name": [one.get("host.name") for one in events],
        "labels": [list(one["labels"].items()) for one in events],
    })


FORMAT = Format("kernel_log", recognises, read)
