"""Which log is which: ids of logs, where their bytes are now and how they begin, kept in a journal."""

import collections
import dataclasses
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pinchpoint.clock import NS, Clock
from shippers.tail.cursor import START, Cursor
from shippers.tail.discover import Place, family_of
from shippers.tail.journal import Journal

#: Logs whose file is gone are remembered up to this number: their compressed copies are known by it.
MOST_GONE = 2000


@dataclasses.dataclass(slots=True, eq=False)
class Log:
    """One log from its first byte on, whatever its file is called today."""

    id: str
    path: str
    """The name it was first found under."""
    place: Place | None
    """Where its bytes are; None once its file was truncated and no copy is known."""
    head: tuple[int, int] = (0, 0)
    """Size and CRC-32 of the beginning, as far as it was handed out; in one value, since outputs read it without the lock."""
    skipped: bool = False
    """History that was there before the agent and that nobody asked for."""
    complete: int | None = None
    """The size of a log that can grow no more, in unpacked bytes."""
    furthest: Cursor = START
    """Up to where any output has read it."""

    @property
    def family(self) -> str:
        """The path of the live file it belongs to."""
        folder, name = os.path.split(self.path)
        return os.path.join(folder, family_of(name))  # noqa: PTH118

    def as_record(self) -> dict[str, Any]:
        """For a journal."""
        return {"id": self.id, "path": self.path, "place": self.place, "head": self.head, "skipped": self.skipped,
                "complete": self.complete}


class Registry:
    """All logs ever met, shared by the outputs so that a line has one id everywhere. Hold `lock` around changes.

    Nothing that was changed here may be used for sending before `flush` has returned.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises: OSError when the journal can be neither read nor made."""
        self._clock = clock
        self._journal = Journal(path)
        self._changed: dict[str, Log | None] = {}
        self.lock = threading.RLock()
        self.logs: dict[str, Log] = {}
        self.by_place: dict[Place, Log] = {}
        self._by_family: collections.defaultdict[str, dict[str, Log]] = collections.defaultdict(dict)
        records = self._journal.load()
        self.new = not records and not self._journal.damaged
        for record in records:
            self._restore(record)

    @property
    def damaged(self) -> int:
        """Records of the journal that could not be read."""
        return self._journal.damaged

    def begun(self) -> None:
        """What is there from now on is no history."""
        if self.new:
            self.new = False
            self._changed.setdefault("", None)

    def add(self, path: str, place: Place, skipped: bool = False) -> Log:
        """A log that was not known before."""
        # ids that begin alike and grow slowly are the cheapest for an index
        log = Log(f"{self._clock.now_ns() // NS & 0xFFFFFFFF:08x}{os.urandom(8).hex()}", path, place, skipped=skipped)
        self.logs[log.id] = self._by_family[log.family][log.id] = self.by_place[place] = log
        self._changed[log.id] = log
        return log

    def family(self, path: str) -> list[Log]:
        """All logs that belong to this live file."""
        return list(self._by_family[path].values()) if path in self._by_family else []

    def move(self, log: Log, place: Place | None, complete: int | None = None) -> None:
        """The bytes of a log are elsewhere now, or nowhere."""
        if log.place is not None and self.by_place.get(log.place) is log:
            del self.by_place[log.place]
        log.place, log.complete = place, complete
        if place is not None:
            self.by_place[place] = log
        self._changed[log.id] = log

    def grow_head(self, log: Log, head: tuple[int, int]) -> None:
        """More of the beginning of a log is known."""
        if head[0] > log.head[0]:
            log.head = head
            self._changed[log.id] = log

    def read_up_to(self, log: Log, cursor: Cursor) -> None:
        """An output has read so far; kept in memory, the outputs remember it themselves."""
        if cursor.offset > log.furthest.offset:
            log.furthest = cursor

    def recover(self, record: dict[str, Any]) -> None:
        """Take in what an output remembers of a log that the journal has lost."""
        if record.get("id") not in self.logs:
            taken = self.by_place.copy()
            log = self._restore(record)
            if log is None:
                return
            self.new = False
            self._changed[log.id] = log
            place = log.place
            if place is not None and place in taken:  # what the journal says is newer
                log.place, self.by_place[place] = None, taken[place]

    def forget_gone(self, present: Iterable[Place]) -> None:
        """Drop the logs that went first, when more than `MOST_GONE` have no file any more."""
        gone = self.logs.keys() - {log.id for place in present if (log := self.by_place.get(place)) is not None}
        if len(gone) <= MOST_GONE + MOST_GONE // 10:
            return
        # in the order in which they were met
        for log_id in [log_id for log_id in self.logs if log_id in gone][: len(gone) - MOST_GONE]:
            self._drop(log_id)
            self._changed[log_id] = None

    @property
    def pending(self) -> bool:
        """Whether there are changes that are not on the disk."""
        return bool(self._changed)

    def flush(self) -> None:
        """Wait until all changes are on the disk. Raises: OSError; nothing is forgotten then."""
        with self.lock:
            if self._changed:
                self._journal.append(({"id": log_id, "gone": True} if log is None else log.as_record())
                                     for log_id, log in self._changed.items())
                self._changed.clear()
            if self._journal.grown:
                self._journal.rewrite(log.as_record() for log in self.logs.values())

    def close(self) -> None:
        """Let go of the journal; what was not flushed is lost."""
        self._journal.close()

    def _restore(self, record: dict[str, Any]) -> Log | None:
        log_id = record.get("id")
        if not isinstance(log_id, str):
            return None
        if log_id in self.logs:
            self._drop(log_id)
            self._changed.clear()
        if record.get("gone"):
            return None
        try:
            place = None if record["place"] is None else (int(record["place"][0]), int(record["place"][1]))
            log = Log(log_id, str(record["path"]), place, (int(record["head"][0]), int(record["head"][1])), bool(record["skipped"]),
                      record["complete"])
        except (KeyError, TypeError, ValueError, IndexError):
            return None
        self.logs[log_id] = self._by_family[log.family][log_id] = log
        if place is not None:
            self.by_place[place] = log
        return log

    def _drop(self, log_id: str) -> None:
        log = self.logs.pop(log_id)
        self.move(log, None)
        family = self._by_family[log.family]
        del family[log_id]
        if not family:
            del self._by_family[log.family]
