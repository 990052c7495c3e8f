"""Counts of what happened to documents on their way, kept where `pinchpoint doctor` finds them."""

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pinchpoint.clock import Clock, format_time

#: Every count, with what it means and what a person can do about it; those without a remedy are no faults.
MEANINGS: Mapping[str, tuple[str, str | None]] = {
    "bulks": ("bulk requests that were answered", None),
    "stored": ("documents stored", None),
    "repeated": ("documents that an earlier try had stored (409)", None),
    "unanswered": ("bulk requests without an answer, sent again as they were",
                   "the server was stopped or cannot be reached at times: look at its log and at the network between"),
    "busy": ("bulk requests answered 429, sent again", "the cluster takes less than is sent: add nodes or ship less"),
    "unavailable": ("bulk requests answered 5xx, sent again", "a node or a proxy in front of it is failing: look at its log"),
    "busy_items": ("documents answered 429, sent again", "the write queue is full: add nodes or shards, or ship less"),
    "failed_items": ("documents answered 5xx, sent again", "a shard is not available: look at GET _cluster/health"),
    "too_large": ("bulk requests over http.max_content_length, split", "raise http.max_content_length to 10 MB or more"),
    "rejected": ("documents the server will never take, kept in the dead-letter file",
                 "read the dead-letter file: the reason stands beside each document"),
    "failure_store": ("documents that do not fit the mapping, kept in the failure store of their data stream",
                      "read them with GET <data stream>::failures/_search"),
    "refused": ("requests refused until a person acts: key, privilege, missing template, read-only index",
                "see the last detail; a new key: pinchpoint setup elasticsearch"),
    "dead_letter_full": ("times the dead-letter file could not be written; its documents are sent again",
                         "make room on the disk of the dead-letter file"),
}


@dataclasses.dataclass(slots=True)
class Count:
    """How often something happened, when last, and how it looked then."""

    number: int = 0
    last: str | None = None
    detail: str | None = None


class Counters:
    """Counts of one process, by the names of `MEANINGS`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.counts: dict[str, Count] = {}

    def add(self, name: str, number: int = 1, *, detail: str | None = None) -> None:
        """Count something that happened now. Raises: KeyError for a name that has no meaning."""
        if number == 0:
            return
        if MEANINGS[name][1] is None:
            self.counts.setdefault(name, Count()).number += number
            return
        count = self.counts.setdefault(name, Count())
        count.number += number
        count.last = format_time(self._clock.now_ns())
        count.detail = " ".join((detail or "").split())[:500] or count.detail

    def take(self) -> dict[str, Count]:
        """Everything counted since the last call."""
        taken, self.counts = self.counts, {}
        return taken


class Ledger:
    """A file of counts that several processes add to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, counts: Mapping[str, Count]) -> None:
        """Add counts to those in the file. Raises: OSError when it cannot be written; then nothing was added."""
        if not counts:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self.path.with_suffix(".lock")):
            whole = self.read()
            for name, more in counts.items():
                count = whole.setdefault(name, Count())
                count.number += more.number
                count.last, count.detail = more.last or count.last, more.detail or count.detail
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps({name: dataclasses.asdict(count) for name, count in whole.items()}, indent=1), "utf-8")
            temporary.replace(self.path)

    def read(self) -> dict[str, Count]:
        """The counts so far; none where there is no such file, or where it is damaged."""
        try:
            about: Any = json.loads(self.path.read_text("utf-8"))
            return {name: Count(int(one["number"]), one.get("last"), one.get("detail")) for name, one in about.items() if name in MEANINGS}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
