"""Errors among the lines of a job as events, and logs that hold nothing else that is known."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.gpu_errors.job_lines import read_job_line
from pinchpoint.gpu_errors.nccl_network import NcclNetwork
from pinchpoint.gpu_errors.once import Once
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_lines

_WHEN = re.compile(rb"\b(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")
_MOST_EVENTS = 10_000
_QUOTED = 500


class JobErrors:
    """The errors of one log, each once a minute of its time.

    Args:
        log: its name.
        run: the run whose steps are in it; None where none are: its errors concern every run among the inputs then.
    """

    def __init__(self, log: str, run: str | None) -> None:
        self._log, self._run, self._once, self._network, self._count = log, run, Once(), NcclNetwork(), 0
        self._events: list[tuple[int, Finding, bytes]] = []

    def add(self, finding: Finding, line: bytes, time_ns: int) -> None:
        """Take in what a line tells of, unless the same was told this minute."""
        self._count += 1
        judged = self._network.judge(finding)
        if judged is None:
            return
        finding = judged
        if len(self._events) < _MOST_EVENTS and self._once.is_first(finding, time_ns, self._count):
            self._events.append((time_ns, finding, line.strip()[:_QUOTED]))

    def batches(self) -> Iterator[Batch]:
        """The events, if there are any."""
        if not self._events:
            return
        times, findings, lines = zip(*self._events, strict=True)
        size = len(times)
        yield "event", records.batch("event", {
            "@timestamp": list(times), "event.id": [records.content_id("job error", self._log, place, one[0], one[2])
                                                    for place, one in enumerate(self._events)],
            "run.id": [self._run] * size, "event.action": [one.action for one in findings],
            "event.reason": [one.reason for one in findings],
            "labels": [list((one.event_labels() | {"log.message": line.decode("utf-8", "replace")}).items())
                       for one, line in zip(findings, lines, strict=True)]})


def recognises(head: bytes) -> bool:
    """Whether a line of the beginning tells of an error of a job."""
    return b"\0" not in head and any(read_job_line(line) is not None for line in head.split(b"\n"))


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """The errors at the time of their line, or of the last line before it that tells one; else when the file was written.

    Raises: InputError when nothing can be read.
    """
    errors, when = JobErrors(path.name, None), b""
    written_ns = path.stat().st_mtime_ns
    for line, _ in read_lines(path, reading.notes, at_returns=True):
        found = _WHEN.search(line[:100])
        when = found[0] if found is not None else when
        finding = read_job_line(line)
        if finding is not None:
            errors.add(finding, line, _time_ns(when, written_ns))
    yield from errors.batches()
    reading.notes.append("it tells of errors alone: nothing in it says how long steps took")


def _time_ns(text: bytes, otherwise_ns: int) -> int:
    """UTC, since lines seldom name their zone."""
    try:
        moment = datetime.datetime.fromisoformat(text.decode() + "+00:00")
    except ValueError:
        return otherwise_ns
    seconds = int(moment.timestamp())
    return seconds * NS if 0 <= seconds < 1 << 33 else otherwise_ns


FORMAT = Format("job_errors", recognises, read)
