"""What is there now and which log each file is: the one place where identity is decided."""

import os
import zlib
from collections.abc import Sequence

from pinchpoint.clock import NS, Clock
from shippers.tail.carrier import GZIP_SUFFIX, Carrier, crc_of, open_carrier
from shippers.tail.cursor import HEAD_BYTES
from shippers.tail.discover import Discovery, Place, Seen
from shippers.tail.registry import Log, Registry
from shippers.tail.settings import FileSet

SCAN_INTERVAL_S = 1.0
#: Where looking around takes long it is done less often, so that it takes this share of the time, but at least each ten seconds.
_MOST_SHARE = 0.002
_LONGEST_INTERVAL_S = 10.0
_CHUNK = 1 << 20
_LOOKED_AT = 4096
#: A compressed file may still be written when it was changed this little ago.
_SETTLED_S = 10.0


class Survey:
    """Shared by the outputs: files by log. All outputs must be made before the first of them reads.

    A file is the log it was, while its inode is the same, it begins alike and holds the same bytes before the furthest offset
    read. The copy that copytruncate makes goes on as the log that was truncated when all bytes up to that offset agree, and so
    does a compressed file when the plain one has gone. What is not certain yet waits; what does not agree is a new log.
    """

    def __init__(self, sets: Sequence[FileSet], registry: Registry, clock: Clock) -> None:
        self._discovery = Discovery(sets)
        self._registry = registry
        self._clock = clock
        self._due_s = 0.0
        self._present: dict[Place, Seen] = {}
        self._verified: set[Place] = set()
        self._waiting: dict[Place, int] = {}
        self.placed: dict[str, Seen] = {}
        """The file of each log that has one, by the log's id."""
        self.version = 0
        """Grows whenever `placed` changes."""
        self.truncations = 0
        self.copies = 0
        """Copies and compressed files that went on as the log they were made of."""
        self.errors = 0

    def look(self) -> int:
        """Look around when it is time to; returns the version."""
        with self._registry.lock:
            begun_s = self._clock.monotonic_s()
            if begun_s >= self._due_s:
                self._look()
                took_s = self._clock.monotonic_s() - begun_s
                self._due_s = begun_s + min(max(SCAN_INTERVAL_S, took_s / _MOST_SHARE), _LONGEST_INTERVAL_S)
            return self.version

    def look_again(self) -> None:
        """Make the next `look` look around at once."""
        self._due_s = 0.0

    def changed(self, log: Log, place: Place) -> None:
        """An output found other bytes in a file than those it had read there: the file was truncated or replaced."""
        with self._registry.lock:
            if log.place == place:
                self.truncations += 1
                self._registry.move(log, None)
                self._verified.discard(place)
            self.look_again()

    def counters(self) -> dict[str, float]:
        """Cumulative."""
        return {"tail.truncations": self.truncations, "tail.copies_recognised": self.copies,
                "tail.survey_errors": self.errors + self._discovery.errors, "tail.registry_records_damaged": self._registry.damaged}

    def _look(self) -> None:
        present = self._present = self._discovery.scan()
        self._verified &= present.keys()
        self._waiting = {place: size for place, size in self._waiting.items() if place in present}
        unknown = []
        for place, seen in present.items():
            log = self._registry.by_place.get(place)
            if log is None or not (self._is_certain(log, seen) or self._fits(log, seen)):
                unknown.append(seen)
        # an exact inode comes before a likeness: only now is it known which logs have lost their file; and the live file of a
        # family comes before those that may be copies of it
        by_path = {seen.path: seen for seen in present.values()} if unknown else {}
        for seen in sorted(unknown, key=lambda one: (one.path != one.family, one.path)):
            if not (seen.path.endswith(GZIP_SUFFIX) and seen.path.removesuffix(GZIP_SUFFIX) in by_path):
                self._identify(seen, by_path)
        self._registry.begun()
        placed = {self._registry.by_place[place].id: present[place] for place in self._verified}
        if placed != self.placed:
            self.placed = placed
            self.version += 1
            self._registry.forget_gone(present)

    def _is_certain(self, log: Log, seen: Seen) -> bool:
        """Whether a file need not be looked into: outputs notice themselves when other bytes are in it than those they read."""
        if log.skipped or seen.place not in self._verified:
            return False
        before = self.placed.get(log.id)
        # of an empty file nothing but the name is known, and its inode may be another file's by now
        return log.head[0] > 0 or before is None or before.path == seen.path

    def _fits(self, log: Log, seen: Seen) -> bool:
        """Whether a file is still the log it was when it was last seen; a log that lost its file is left without."""
        try:
            carrier = open_carrier(seen.path)
        except OSError:
            self.errors += 1
            return False
        try:
            if carrier.place != seen.place:
                return False
            fits = self._holds(log, carrier, seen.path)
        except OSError:
            self.errors += 1
            return False
        finally:
            carrier.close()
        if fits:
            self._verified.add(seen.place)
        else:
            self.truncations += log.furthest.offset > 0
            self._registry.move(log, None)
            self._verified.discard(seen.place)
        return fits

    def _holds(self, log: Log, carrier: Carrier, carrier_path: str) -> bool:
        head_bytes, head_crc = log.head
        head = carrier.read(head_bytes, 0)
        if len(head) != head_bytes or zlib.crc32(head) != head_crc:
            return False
        cursor = log.furthest
        if not head_bytes and log.path != carrier_path:
            return False
        return log.complete is not None or cursor.agrees(carrier.read(cursor.guard_bytes, cursor.offset - cursor.guard_bytes))

    def _identify(self, seen: Seen, by_path: dict[str, Seen]) -> None:
        log = self._registry.by_place.get(seen.place)
        if log is not None:  # could not be looked at just now
            return
        try:
            carrier = open_carrier(seen.path)
        except OSError:
            self.errors += 1
            return
        try:
            if carrier.place == seen.place and not self._being_packed(seen):
                self._find_log(seen, carrier, by_path.get(seen.family))
        except OSError:
            self.errors += 1
        finally:
            carrier.close()

    def _being_packed(self, seen: Seen) -> bool:
        if not seen.path.endswith(GZIP_SUFFIX):
            return False
        return abs(self._clock.now_ns() / NS - os.stat(seen.path).st_mtime) < _SETTLED_S  # noqa: PTH116

    def _find_log(self, seen: Seen, carrier: Carrier, live: Seen | None) -> None:
        rotated = seen.path != seen.family
        head = carrier.read(HEAD_BYTES, 0)
        if rotated and self._registry.new and not seen.asked_for:
            self._add(seen, head, skipped=True)
            return
        if rotated and not head:  # perhaps a copy that is only just being made
            return
        if rotated and live is not None:
            if live.place not in self._verified:
                return
            # a copy is made before the live file is truncated: until then there is nothing in it that is not in there too
            if self._is_copy_of(live, seen, carrier):
                return
            self._check_again(live)
        packed = seen.path.endswith(GZIP_SUFFIX)
        alike = [log for log in self._registry.family(seen.family) if _begins_alike(log, head)]
        for log in sorted(alike, key=lambda one: -one.furthest.offset):
            if log.place is not None and log.place in self._verified:
                self._check_again(self._present[log.place])
            if log.place in self._verified:
                continue
            if (rotated or log.path == seen.path) and self._went_on_as(log, carrier):
                self._registry.move(log, seen.place, _size_if_complete(log, carrier) if packed else None)
                self._verify(log)
                self.copies += 1
                return
        self._add(seen, head, skipped=False)

    def _add(self, seen: Seen, head: bytes, *, skipped: bool) -> None:
        log = self._registry.add(seen.path, seen.place, skipped)
        self._registry.grow_head(log, (len(head), zlib.crc32(head)))
        self._verify(log)

    def _verify(self, log: Log) -> None:
        if log.place is not None:
            self._verified.add(log.place)

    def _check_again(self, seen: Seen) -> None:
        """Look whether a file that was known has been truncated since."""
        log = self._registry.by_place.get(seen.place)
        if log is not None and not self._fits(log, seen):
            self._verified.discard(seen.place)
            self.look_again()

    def _went_on_as(self, log: Log, carrier: Carrier) -> bool:
        """Whether a file holds all that was read of a log."""
        return crc_of(carrier, log.furthest.offset) == log.furthest.crc

    def _is_copy_of(self, owner: Seen, seen: Seen, carrier: Carrier) -> bool:
        """Whether a file holds nothing that its live file does not begin with."""
        size = carrier.size()
        live = open_carrier(owner.path)
        try:
            # what was compared whole once is still the same when its beginning and its end are
            at = max(0, size - _LOOKED_AT) if self._waiting.get(seen.place) == size else 0
            if live.read(HEAD_BYTES, 0)[: min(size, HEAD_BYTES)] != carrier.read(HEAD_BYTES, 0):
                return False
            while data := carrier.read(_CHUNK, at):
                if live.read(len(data), at) != data:
                    return False
                at += len(data)
        finally:
            live.close()
        self._waiting[seen.place] = size
        return True


def _begins_alike(log: Log, head: bytes) -> bool:
    head_bytes, head_crc = log.head
    return 0 < head_bytes <= len(head) and zlib.crc32(head[:head_bytes]) == head_crc


def _size_if_complete(log: Log, carrier: Carrier) -> int | None:
    """The unpacked size when nothing in the file is left to read; else None."""
    return None if carrier.read(1, log.furthest.offset) else log.furthest.offset
