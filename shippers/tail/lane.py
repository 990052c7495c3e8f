"""The files of one output: what is new in them as batches, and how far they are settled."""

import collections
import dataclasses
import heapq
from collections.abc import Mapping
from pathlib import Path

from pinchpoint.clock import Clock, format_time
from shippers.items import Batch, Item, LogItems
from shippers.redact import Redactor, redact
from shippers.tail.cursor import START, Cursor
from shippers.tail.enrichment import Enrichment
from shippers.tail.follow import Followed, Replaced
from shippers.tail.intake import NOTHING, Intake, Taken
from shippers.tail.job_lines import JobLines
from shippers.tail.lines import LineParser
from shippers.tail.offsets import Observed, Offsets
from shippers.tail.registry import Registry
from shippers.tail.settings import TRAINING
from shippers.tail.survey import Survey

LINGER_S = 1.0
#: A last line without a line feed, or the end of a traceback, is taken when its file has not grown for so long.
GRACE_S = 5.0
RETRY_S = 5.0
#: How often a file is looked at that has not grown for so long (both in seconds).
_IDLE = ((10.0, 0.25), (60.0, 1.0), (float("inf"), 5.0))
#: At idle files; with thousands of them each is looked at less often, but at least each so many seconds.
_MOST_LOOKS_A_SECOND, _LONGEST_IDLE_S = 400, 15.0
MOST_OPEN = 256
_COUNTED = ("lines", "records", "bytes", "lines_cut", "lines_empty", "lines_partial", "zeros", "files_replaced",
            "packed_damaged", "read_errors", "journal_errors")


@dataclasses.dataclass(slots=True, eq=False)
class _Handed:
    """What a batch stands for: how far each of its logs is settled with it."""

    cursors: dict[str, Cursor]
    settled: bool = False


class Tail:
    """Implements `shippers.items.Input` for one output. Not for several threads at once; the survey is shared."""

    def __init__(self, folder: Path, survey: Survey, registry: Registry, clock: Clock, constants: Mapping[str, str | int], *,
                 redactor: Redactor = redact, linger_s: float = LINGER_S, grace_s: float = GRACE_S, most_open: int = MOST_OPEN) -> None:
        """Folder: state of this output alone. Constants: fields of every document, such as host.name.

        Raises: OSError when the state can be neither read nor made.
        """
        self._survey, self._registry, self._clock = survey, registry, clock
        self._constants, self._redactor = dict(constants), redactor
        self._linger_s, self._grace_s, self._most_open = linger_s, grace_s, most_open
        self._offsets = Offsets(folder / "offsets", registry)
        self._followed: dict[str, Followed] = {}
        self._open: dict[str, Followed] = {}
        self._due: list[tuple[float, str]] = []
        self._handed: collections.deque[_Handed] = collections.deque()
        self._unwritten: dict[str, Cursor] = {}
        self._version = -1
        self._rests_until_s = 0.0
        self._count: collections.Counter[str] = collections.Counter()
        self._intake = Intake(self._offsets, self._count)
        #: The lines of which what they tell was handed out last.
        self._second: Batch | None = None

    def take(self, most_bytes: int) -> Batch | None:
        """New items; None when there is nothing now, or little that came less than a linger ago."""
        if self._second is not None:
            second, self._second = self._second, None
            return second
        now_s = self._clock.monotonic_s()
        if now_s < self._rests_until_s:
            return None
        self._look_around(now_s)
        before: dict[str, Cursor] = {}
        observed: dict[str, Observed] = {}
        bodies: list[bytes] = []
        told: list[Item] = []
        count = 0
        left, unread = most_bytes, 0
        time = format_time(self._clock.now_ns())
        again: list[tuple[float, str]] = []
        while left > 0 and self._due and self._due[0][0] <= now_s:
            _, log_id = heapq.heappop(self._due)
            one = self._followed.get(log_id)
            if one is None:
                continue
            cursor = one.cursor
            taken = self._read(one, left, now_s, time, observed)
            if one.cursor is not cursor:
                before.setdefault(log_id, cursor)
                if one.cursor.offset > cursor.offset:
                    self._registry_knows(one)
            left -= len(taken.body)
            bodies.append(taken.body)
            told += taken.told
            count += taken.records
            if taken.more:
                unread += most_bytes if one.packed else one.unread  # nobody knows how long the rest of a packed file is
            due_s = self._next_due_s(one, now_s, one.cursor is not cursor)
            if due_s is not None:
                again.append((due_s, log_id))
        others = bool(self._due) and self._due[0][0] <= now_s
        for each in again:
            heapq.heappush(self._due, each)
        if not before:
            self._rests_until_s = now_s + min(self._linger_s, _IDLE[0][1])
            self._close_surplus()
            return None
        if not self._write_down(observed):
            for log_id, cursor in before.items():
                self._followed[log_id].cursor = cursor
            self._rests_until_s = now_s + RETRY_S
            return None
        # what is left of a batch waits for more: each request costs as much as some hundred lines
        self._rests_until_s = now_s if others or unread * self._intake.expansion >= most_bytes else now_s + self._linger_s
        self._close_surplus()
        handed = _Handed({log_id: self._followed[log_id].cursor for log_id in before})
        if told and count:
            # before the lines: once these are settled they are never read again
            first = _Handed({})
            self._handed += (first, handed)
            self._second = Batch(LogItems(b"".join(bodies), count), handed)
            return Batch(told, first)
        self._handed.append(handed)
        if count:
            return Batch(LogItems(b"".join(bodies), count), handed)
        self.settled(handed)  # only lines that make no document
        return None

    def settled(self, token: object) -> None:
        """Make progress durable up to the first batch that is not settled yet."""
        if not isinstance(token, _Handed):
            raise TypeError(f"not a token of this input: {token!r}")
        token.settled = True
        while self._handed and self._handed[0].settled:
            self._unwritten |= self._handed.popleft().cursors
        self._commit()

    def hurry(self) -> None:
        """From now on take all there is at once, last lines without a line feed too: the agent is about to end."""
        self._linger_s = self._grace_s = self._rests_until_s = 0.0
        self._survey.look_again()
        self._due = [(0.0, log_id) for _, log_id in self._due]
        for one in self._followed.values():
            one.waiting_size = -1

    def close(self) -> None:
        """Let go of all files; what is not settled will be handed out again."""
        if self._unwritten:
            self._commit()
        for one in self._followed.values():
            one.close()
        self._offsets.close()

    def counters(self) -> Mapping[str, float]:
        """Cumulative, but for `tail.files` and `tail.open_files`."""
        parsers = [one.parser for one in self._followed.values()]
        unread = sum(max(0, one.size - one.cursor.offset) for one in self._followed.values() if not one.present)
        return {**{f"tail.{name}": self._count[name] for name in _COUNTED},
                "tail.lines_invalid_utf8": self._count["lines_invalid_utf8"] + sum(parser.invalid_utf8 for parser in parsers),
                "tail.lines_not_json": self._count["lines_not_json"] + sum(parser.not_json for parser in parsers),
                "tail.bytes_gone_unread": self._count["bytes_gone_unread"] + unread,
                "tail.offsets_damaged": self._offsets.damaged, "tail.files": sum(one.present for one in self._followed.values()),
                "tail.open_files": len(self._open), **self._survey.counters()}

    def _look_around(self, now_s: float) -> None:
        """Take up the files that came, and those that logs went on in."""
        version = self._survey.look()
        if self._registry.pending:
            self._flush_registry()
        if version == self._version:
            return
        self._version = version
        placed, logs = self._survey.placed, self._registry.logs
        for log_id, seen in placed.items():
            log = logs.get(log_id)
            if log is None or log.skipped:
                continue
            one = self._followed.get(log_id)
            if one is None:
                cursor = self._offsets.cursors.get(log_id, START)
                if log.complete is not None and cursor.offset >= log.complete:
                    continue
                enrichment = Enrichment(log, seen.files, self._constants)
                parser = LineParser(enrichment, seen.files, self._redactor)
                jobs = JobLines(log.id, enrichment.fields, self._redactor) if seen.files.format == TRAINING else None
                self._followed[log_id] = Followed(log, seen, parser, cursor, jobs, grown_s=now_s)
            elif one.seen != seen or not one.present:
                if one.place != seen.place:
                    self._let_go(one)
                    one.size = one.waiting_size = -1
                one.seen, one.present = seen, True
            else:
                continue
            heapq.heappush(self._due, (now_s, log_id))
        for log_id, one in list(self._followed.items()):
            if log_id not in placed:
                one.present = False
                if log_id not in logs:
                    self._forget(one)

    def _read(self, one: Followed, left: int, now_s: float, time: str, observed: dict[str, Observed]) -> Taken:
        """What is new in one log, up to about so many bytes of documents; moves its cursor."""
        try:
            if one.carrier is None and (not one.present or one.unchanged()):
                return NOTHING
            if not one.open():
                self._survey.look_again()
                return NOTHING
            self._open.pop(one.log.id, None)
            if one.log.place != one.place:  # the log went on elsewhere, or this file is another log now
                self._let_go(one)
                return NOTHING
            self._open[one.log.id] = one
            if not one.look(now_s):
                return NOTHING
            quiet = one.packed or now_s - one.grown_s >= self._grace_s
            if one.size == one.waiting_size and not quiet:
                return NOTHING
            return self._intake.take(one, left, quiet, time, observed)
        except Replaced:
            self._count["files_replaced"] += 1
            place = one.place
            self._let_go(one)
            one.present = False
            if place is not None:
                self._survey.changed(one.log, place)
            return NOTHING
        except OSError:
            self._count["read_errors"] += 1
            self._let_go(one)
            return NOTHING

    def _registry_knows(self, one: Followed) -> None:
        """Tell the registry how far the log was read, and how it begins."""
        with self._registry.lock:
            self._registry.read_up_to(one.log, one.cursor)
            self._registry.grow_head(one.log, one.head)

    def _write_down(self, observed: dict[str, Observed]) -> bool:
        """Make durable what must be before anything is sent; False when that is not possible now."""
        if not self._flush_registry():
            return False
        try:
            if observed:
                self._offsets.observe(observed)
        except OSError:
            # goes on: only after a crash within this batch its lines would be given another time
            self._count["journal_errors"] += 1
        return True

    def _flush_registry(self) -> bool:
        try:
            self._registry.flush()
        except OSError:
            self._count["journal_errors"] += 1
            return False
        return True

    def _commit(self) -> None:
        try:
            self._offsets.commit(self._unwritten)
            self._unwritten = {}
        except OSError:  # kept, and tried again with the next batch
            self._count["journal_errors"] += 1

    def _next_due_s(self, one: Followed, now_s: float, progressed: bool) -> float | None:
        """When to look at a log again; None when only another file can bring more of it."""
        if progressed:
            return now_s
        if one.carrier is None:
            return now_s + (_idle_s(now_s - one.grown_s, len(self._followed)) if one.unread == 0 else RETRY_S) if one.present else None
        if one.packed and one.unread == 0:
            self._count["packed_damaged"] += one.damaged
            with self._registry.lock:
                self._registry.move(one.log, one.log.place, one.cursor.offset)
            self._let_go(one)
            return None
        quiet_s = now_s - one.grown_s
        if not one.present and quiet_s >= self._grace_s and one.unread == 0:
            self._let_go(one)
            return None
        due_s = now_s + _idle_s(quiet_s, len(self._followed))
        return max(now_s, min(due_s, one.grown_s + self._grace_s)) if one.unread else due_s

    def _let_go(self, one: Followed) -> None:
        one.close()
        self._open.pop(one.log.id, None)

    def _close_surplus(self) -> None:
        """Close the files that were read longest ago, but those without a name could not be opened again."""
        for one in list(self._open.values())[: max(0, len(self._open) - self._most_open)]:
            if one.present:
                self._let_go(one)

    def _forget(self, one: Followed) -> None:
        self._let_go(one)
        del self._followed[one.log.id]
        self._count["bytes_gone_unread"] += max(0, one.size - one.cursor.offset)
        self._count["lines_invalid_utf8"] += one.parser.invalid_utf8
        self._count["lines_not_json"] += one.parser.not_json


def _idle_s(quiet_s: float, files: int) -> float:
    """How long a file that has not grown for so long may be left alone, among so many."""
    interval_s = next(interval_s for limit_s, interval_s in _IDLE if quiet_s < limit_s)
    return interval_s if interval_s == _IDLE[0][1] else max(interval_s, min(files / _MOST_LOOKS_A_SECOND, _LONGEST_IDLE_S))
