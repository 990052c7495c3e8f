"""What lines of a training job tell beside themselves: errors as events, times of steps as steps."""

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from pinchpoint.clock import NS, format_time, parse_time
from pinchpoint.gpu_errors.events import event_document
from pinchpoint.gpu_errors.job_lines import has_nan, read_job_line
from pinchpoint.gpu_errors.nccl_network import NcclNetwork
from pinchpoint.gpu_errors.once import Once
from shippers.formats.progress_lines import KERAS, Progress, parse_progress
from shippers.formats.step_lines import StepTime, parse_line
from shippers.items import Item
from shippers.redact import Redactor
from shippers.tail.times import leading_time

_ENCODE = msgspec.json.Encoder().encode
_MOST_TIME = 64
#: A line that sums up more steps than this counts as one: the counter jumped.
_MOST_IN_ONE = 1000
_RANK = re.compile(r"steps of rank (\d{1,6})$")
_MOST_BARS = 4096
_OF_STEPS = ("run.id", "rank", "host.name")


class _Step(NamedTuple):
    offset: int
    found: StepTime
    stands_for: int
    """Steps that the line stands for."""
    own_ns: int | None
    """When the line says that it was written."""
    rank: int | None = None
    """Where the line names it."""


class JobLines:
    """Reads the lines of one log; ids are made of the place of the line, so that a line that is read again tells the same."""

    def __init__(self, log_id: str, fields: Mapping[str, Any], redactor: Redactor) -> None:
        """fields: what is known of every line: log.file.path, and host.name, run.id, rank where they are known."""
        self._log_id, self._redactor = log_id, redactor
        name = PurePath(str(fields["log.file.path"])).name.split(".", maxsplit=1)[0] or "log"
        self._fields = {"run.id": name, "rank": 0, **{key: fields[key] for key in _OF_STEPS if key in fields}}
        self._once, self._network = Once(), NcclNetwork()
        self._last: int | None = None
        #: The last line of those that tell a step and a time of day, by what they are called.
        self._stamped: dict[str, Progress] = {}
        #: Where the lines of the last call began, and what was known before them: they come again when they could not be noted down.
        self._mark: tuple[int, int | None, dict[str, Progress]] | None = None

    def read(self, starts: Sequence[int], lines: Sequence[bytes], observed: str) -> list[Item]:
        """The events and steps that lines tell of.

        Args:
            starts: where each begins in the log.
            lines: as they are.
            observed: time of lines that have none of their own, ISO 8601.
        """
        if not starts:
            return []
        if self._mark is not None and starts[0] <= self._mark[0]:
            _, self._last, self._stamped = self._mark
        self._mark = (starts[0], self._last, dict(self._stamped))
        items: list[Item] = []
        steps: list[_Step] = []
        for start, line in zip(starts, lines, strict=False):
            found = parse_line(line)
            if isinstance(found, StepTime):
                count = found.step - self._last if self._last is not None else 1
                self._last = found.step
                steps.append(_Step(start, found, count if 0 < count <= _MOST_IN_ONE else 1, _own_time(line)))
            elif found is None and (one := self._progress(start, line)) is not None:
                steps.append(one)
            # a line of a step tells of no other error than a loss that is no number
            if found is None or has_nan(line):
                items += self._event(start, line, observed)
        return items + self._steps(steps, parse_time(observed))

    def _progress(self, start: int, line: bytes) -> _Step | None:
        """What went by since the line before that told a step and a time of day. Bars are left out: they are drawn over themselves."""
        found = parse_progress(line)
        if not isinstance(found, Progress) or found.total or found.bar == KERAS:
            return None
        before = self._stamped.get(found.bar)
        if before is not None or len(self._stamped) < _MOST_BARS:
            self._stamped[found.bar] = found
        if before is None or not 0 < found.done - before.done <= _MOST_IN_ONE or found.seconds <= before.seconds:
            return None
        count, rank = found.done - before.done, _RANK.match(found.bar)
        return _Step(start, StepTime(found.done, (found.seconds - before.seconds) / count), count, _local_ns(found.seconds),
                     int(rank[1]) if rank is not None else None)

    def _event(self, start: int, line: bytes, observed: str) -> list[Item]:
        finding = read_job_line(line)
        judged = None if finding is None else self._network.judge(finding)
        if judged is None:
            return []
        time_ns = _own_time(line) or parse_time(observed)
        if not self._once.is_first(judged, time_ns, start):
            return []
        message = self._redactor(line.strip()).decode("utf-8", "replace")
        identity = f"{self._log_id}-{start:012x}-error"
        document = event_document(judged, time_ns, host=None, message=message)
        return [Item("event", identity, _ENCODE({**document, "event.id": identity, **self._fields}))]

    def _steps(self, steps: list[_Step], observed_ns: int) -> list[Item]:
        """Each ends when its line was written. Lines without a time came together: they end where the next one begins."""
        items: list[Item] = []
        before_ns = observed_ns
        for one in reversed(steps):
            length_ns = round(one.found.seconds * NS)
            end_ns = one.own_ns if one.own_ns is not None else before_ns
            fields = self._fields if one.rank is None else {**self._fields, "rank": one.rank}
            for back in range(one.stands_for):
                identity = f"{self._log_id}-{one.offset:012x}-{back}"
                items.append(Item("step", identity, _ENCODE({
                    "@timestamp": format_time(end_ns - (back + 1) * length_ns), "event.id": identity, **fields,
                    "step": one.found.step - back, "duration_s": one.found.seconds})))
            before_ns = end_ns - one.stands_for * length_ns
        return items[::-1]


def _own_time(line: bytes) -> int | None:
    text = leading_time(line[:_MOST_TIME].decode("utf-8", "replace").lstrip())
    return None if text is None else parse_time(text)


def _local_ns(seconds: float) -> int:
    """UTC of a time of day that was read as UTC: without a zone it is local time, as loggers write it."""
    naive = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)
    return round(naive.astimezone(datetime.UTC).timestamp() * 1e6) * 1000
