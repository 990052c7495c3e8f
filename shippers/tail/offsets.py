"""How far one output has come in each log, kept in a journal that is synced at each step."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shippers.tail.cursor import Cursor, cursor_from
from shippers.tail.journal import Journal
from shippers.tail.registry import Log, Registry


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """Lines without a time of their own that were handed out, and the time they were given: they get the same when read again."""

    start: int
    end: int
    time: str
    skipping: bool
    """The last of them was cut inside."""

    def as_record(self, log_id: str) -> dict[str, Any]:
        """For a journal."""
        return {"id": log_id, "from": self.start, "to": self.end, "time": self.time, "skipping": self.skipping}


class Offsets:
    """Settled progress by log, and the times that unsettled lines were given.

    A record carries the identity of its log too, so that the registry can be mended from it.
    """

    def __init__(self, path: Path, registry: Registry) -> None:
        """Raises: OSError when the journal can be neither read nor made."""
        self._journal = Journal(path)
        self._registry = registry
        self.cursors: dict[str, Cursor] = {}
        self.observed: dict[str, list[Observed]] = {}
        for record in self._journal.load():
            self._restore(record)

    @property
    def damaged(self) -> int:
        """Records of the journal that could not be read."""
        return self._journal.damaged

    def commit(self, cursors: Mapping[str, Cursor]) -> None:
        """Everything before these cursors is settled. Raises: OSError; the progress in memory stays as it was then."""
        logs = self._registry.logs
        self._journal.append(self._record(logs[log_id], cursor) for log_id, cursor in cursors.items() if log_id in logs)
        for log_id, cursor in cursors.items():
            self.cursors[log_id] = cursor
            left = [one for one in self.observed.get(log_id, ()) if one.end > cursor.offset]
            if left:
                self.observed[log_id] = left
            else:
                self.observed.pop(log_id, None)
        if self._journal.grown:
            self._compact()

    def observe(self, observed: Mapping[str, Observed]) -> None:
        """Remember the time that lines are given before they are handed out. Raises: OSError."""
        self._journal.append(one.as_record(log_id) for log_id, one in observed.items())
        for log_id, one in observed.items():
            self.observed.setdefault(log_id, []).append(one)

    def observed_at(self, log_id: str, offset: int) -> Observed | None:
        """What was noted of the lines from an offset on, when they were handed out before."""
        return next((one for one in self.observed.get(log_id, ()) if one.start <= offset < one.end), None)

    def next_mark(self, log_id: str, offset: int) -> int:
        """Where the next lines begin or end that were handed out before, after an offset; beyond any file when there are none."""
        places = (place for one in self.observed.get(log_id, ()) for place in (one.start, one.end))
        return min((place for place in places if place > offset), default=sys.maxsize)

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _compact(self) -> None:
        for log_id in self.cursors.keys() - self._registry.logs.keys():
            del self.cursors[log_id]
        records: list[dict[str, Any]] = [self._record(self._registry.logs[log_id], cursor) for log_id, cursor in self.cursors.items()]
        records += [one.as_record(log_id) for log_id, each in self.observed.items() for one in each]
        self._journal.rewrite(records)

    def _record(self, log: Log, cursor: Cursor) -> dict[str, Any]:
        return {"id": log.id, "cursor": cursor.as_list(), "log": log.as_record()}

    def _restore(self, record: dict[str, Any]) -> None:
        try:
            log_id = str(record["id"])
            if "cursor" in record:
                self.cursors[log_id] = cursor = cursor_from(record["cursor"])
                self._registry.recover(dict(record["log"]))
                if log_id in self._registry.logs:
                    self._registry.read_up_to(self._registry.logs[log_id], cursor)
                self.observed[log_id] = [one for one in self.observed.get(log_id, ()) if one.end > cursor.offset]
            else:
                self.observed.setdefault(log_id, []).append(Observed(
                    int(record["from"]), int(record["to"]), str(record["time"]), bool(record["skipping"])))
        except (KeyError, TypeError, ValueError):
            return
