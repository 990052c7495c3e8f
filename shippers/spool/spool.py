"""A bounded queue on disk that several outputs read, each at its own pace."""

import contextlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pinchpoint.clock import Clock
from shippers.items import Batch, Item
from shippers.spool import frames
from shippers.spool.ages import Ages
from shippers.spool.position import Position, PositionFile
from shippers.spool.segment import SUFFIX, FileSegment, MemorySegment, Segment, walk

Fsync = Literal["always", "interval", "never"]

_SYNC_EVERY_S = 1.0
_DISK_AGAIN_S = 10.0
_MEMORY_BYTES = 8 << 20
_MEMORY_SEGMENT_BYTES = 1 << 20
_LEAST_SEGMENT_BYTES = 1 << 17
_MOST_SEGMENT_BYTES = 8 << 20


class Spool:
    """Items in segment files, up to so many bytes.

    When it is full the oldest segment goes, and what an output had not read of it is counted. While the disk takes nothing (full,
    read-only, sick) new items wait in memory, up to 8 MiB. Safe for any number of threads.
    """

    def __init__(self, folder: Path, most_bytes: int, clock: Clock, *, fsync: Fsync = "interval") -> None:
        """Open what is there.

        Args:
            folder: where the segments are; this process alone works with it.
            most_bytes: of all segments together.
            clock: tells when to sync, and to try the disk again.
            fsync: whether what is pushed survives a power cut at once, within a second, or when the kernel likes. A kill of the
                agent loses nothing under any of them.
        """
        self._folder, self._most_bytes, self._clock, self._fsync = folder, most_bytes, clock, fsync
        self._segment_bytes = min(max(most_bytes // 16, _LEAST_SEGMENT_BYTES), _MOST_SEGMENT_BYTES)
        self._lock = threading.RLock()
        self._segments: deque[Segment] = deque()
        self._inputs: list[SpoolInput] = []
        self._counts = dict.fromkeys(("items", "bytes", "damaged_segments", "disk_failures"), 0.0)
        self._unsynced = self._sealed = False
        self._sync_due_s = self._disk_due_s = clock.monotonic_s()
        self._next = 0
        self._ages = Ages()
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = sorted(path.name for path in self._folder.glob(f"*{SUFFIX}")) if self._folder.is_dir() else []
        now_s = self._clock.monotonic_s()
        for name in names:
            if not name.removesuffix(SUFFIX).isdecimal():
                continue
            number = int(name.removesuffix(SUFFIX))
            self._next = max(self._next, number + 1)
            try:
                segment = FileSegment(self._folder, number)
                self._segments.append(segment)
                whole = segment.check()
                self._ages.note(Position(number, segment.size), now_s - segment.age_s(self._clock.now_ns()))
            except OSError:
                whole = False
            if not whole:
                self._counts["damaged_segments"] += 1
            # what precedes the damage is read; what follows it cannot be told apart from it, and nothing may be written over it
            self._sealed = not whole

    def input(self, state: Path, linger_s: float = 0.0) -> "SpoolInput":
        """What one output reads.

        Args:
            state: the file of its position.
            linger_s: so long is waited for more once everything was taken.
        Raises: OSError when the position cannot be opened.
        """
        position = PositionFile(state)
        with self._lock:
            one = SpoolInput(self, position, self._existing(position.load()), self._clock, linger_s)
            self._inputs.append(one)
            return one

    def _existing(self, found: Position | None) -> Position:
        """A place where reading can go on, whatever became of the segments since the position was written."""
        if found is None or (self._segments and found.segment >= self._next):
            return Position(self._segments[0].number if self._segments else self._next, 0)
        self._next = max(self._next, found.segment + 1)
        sizes = {segment.number: segment.size for segment in self._segments}
        return Position(found.segment, min(found.offset, sizes.get(found.segment, found.offset)))

    def push(self, items: Sequence[Item]) -> bool:
        """Take items, making room by dropping the oldest; False when one of them is too large for a segment."""
        encoded = [(frames.encode(part), len(part)) for part in frames.cut(items, self._segment_bytes // 2)]
        if any(len(frame) > self._segment_bytes for frame, _ in encoded):
            return False
        with self._lock:
            for frame, number in encoded:
                self._append(frame, number)
            self._ages.note(Position(self._segments[-1].number, self._segments[-1].size), self._clock.monotonic_s())
            if self._fsync == "always":
                self._sync()
            else:
                self.tick()
            return True

    def offer(self, items: Sequence[Item]) -> bool:
        """Take items unless room could only be made by dropping what no output has read yet."""
        with self._lock:
            return not self.is_full() and self.push(items)

    def is_full(self) -> bool:
        """Whether room could only be made by dropping what no output has read yet."""
        with self._lock:
            if self.waiting_bytes() + self._segment_bytes <= self._most_bytes or not self._segments:
                return False
            oldest = self._segments[0].number
            return all(one.position.segment <= oldest for one in self._inputs)

    def waiting_bytes(self) -> int:
        """What it holds now."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    def tick(self) -> None:
        """Sync when that is due; called now and then, also while nothing is pushed."""
        with self._lock:
            if self._fsync == "interval" and self._unsynced and self._clock.monotonic_s() >= self._sync_due_s:
                self._sync()

    def counters(self) -> Mapping[str, float]:
        """What happened so far, and how many bytes wait."""
        with self._lock:
            return {**self._counts, "waiting_bytes": float(self.waiting_bytes()),
                    "in_memory_bytes": float(sum(one.size for one in self._segments if isinstance(one, MemorySegment)))}

    def close(self) -> None:
        """Sync and let go; items in memory are lost and were counted as waiting there."""
        with self._lock:
            if self._fsync != "never":
                self._sync()
            for one in list(self._inputs):
                one.close()
            for segment in self._segments:
                segment.close()
            self._segments.clear()

    def _append(self, frame: bytes, items: int) -> None:
        last = self._segments[-1] if self._segments else None
        in_memory = isinstance(last, MemorySegment)
        limit = _MEMORY_SEGMENT_BYTES if in_memory else self._segment_bytes
        if last is None or self._sealed or last.size + len(frame) > limit or (in_memory and self._clock.monotonic_s() >= self._disk_due_s):
            last = self._begin()
        self._make_room(len(frame), last)
        try:
            last.append(frame, items)
        except OSError:
            self._counts["disk_failures"] += 1
            self._disk_due_s = self._clock.monotonic_s() + _DISK_AGAIN_S
            last = self._begin()
            last.append(frame, items)
        self._counts["items"] += items
        self._counts["bytes"] += len(frame)
        self._unsynced = True

    def _begin(self) -> Segment:
        """A new segment behind the others: a file, or memory while the disk takes nothing."""
        if self._segments and isinstance(self._segments[-1], FileSegment) and self._unsynced and self._fsync != "never":
            self._sync()
        segment: Segment
        try:
            if self._clock.monotonic_s() < self._disk_due_s:
                raise OSError
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            segment = FileSegment(self._folder, self._next)
        except OSError:
            self._disk_due_s = max(self._disk_due_s, self._clock.monotonic_s() + _DISK_AGAIN_S)
            segment = MemorySegment(self._next)
        self._next += 1
        self._sealed = False
        self._segments.append(segment)
        self._forget()
        return segment

    def _make_room(self, more: int, keep: Segment) -> None:
        """Drop the oldest segments, those in memory apart from those on disk, until there is room."""
        for kind, most in ((MemorySegment, min(_MEMORY_BYTES, self._most_bytes)), (FileSegment, self._most_bytes)):
            while sum(one.size for one in self._segments if isinstance(one, kind)) + more > most:
                oldest = next((one for one in self._segments if isinstance(one, kind) and one is not keep), None)
                if oldest is None:
                    break
                self._drop(oldest)

    def _drop(self, segment: Segment) -> None:
        for one in self._inputs:
            one.lose(segment)
        self._segments.remove(segment)
        segment.drop()

    def _sync(self) -> None:
        self._sync_due_s = self._clock.monotonic_s() + _SYNC_EVERY_S
        self._unsynced = False
        try:
            if self._segments:
                self._segments[-1].sync()
            for one in self._inputs:
                one.position_file.sync()
        except OSError:
            self._counts["disk_failures"] += 1

    def _forget(self) -> None:
        """Delete the segments that every output has read."""
        if not self._inputs:
            return
        self._ages.forget(min(one.position for one in self._inputs))
        first = min(one.position.segment for one in self._inputs)
        while len(self._segments) > 1 and self._segments[0].number < first:
            self._segments.popleft().drop()

    def take(self, reader: "SpoolInput", most_bytes: int) -> tuple[Batch | None, bool]:
        """For `SpoolInput`: the next items, and whether nothing is left behind them."""
        with self._lock:
            items: list[Item] = []
            size = 0
            at = reader.taken
            for segment in list(self._segments):
                if segment.number < at.segment:
                    continue
                if segment.number > at.segment:
                    at = Position(segment.number, 0)
                try:
                    for frame in walk(segment, at.offset, segment.size):
                        if items and size + len(frame.payload) > most_bytes:
                            return self._taken(reader, items, at), False
                        items += frames.decode(frame.payload)
                        size += len(frame.payload)
                        at = Position(segment.number, frame.end)
                except (OSError, ValueError):
                    reader.lost_damaged += 1
                    at = Position(segment.number, segment.size)
                if at.offset < segment.size:  # damaged since it was opened: nothing after that place can be trusted
                    reader.lost_damaged += 1
                    at = Position(segment.number, segment.size)
            return (self._taken(reader, items, at) if items else None), True

    @staticmethod
    def _taken(reader: "SpoolInput", items: list[Item], at: Position) -> Batch:
        reader.taken = at
        return Batch(items, at)

    def settled(self, reader: "SpoolInput", position: Position) -> None:
        """For `SpoolInput`."""
        with self._lock:
            reader.position = max(reader.position, position)
            reader.position_file.save(reader.position)
            self._unsynced = True
            self._forget()

    def waited_s(self, reader: "SpoolInput") -> float:
        """For `SpoolInput`: seconds that the oldest item has waited which is not settled."""
        with self._lock:
            return self._ages.waited_s(reader.position, self._clock.monotonic_s())

    def forget_input(self, reader: "SpoolInput") -> None:
        """For `SpoolInput`."""
        with self._lock:
            if reader in self._inputs:
                self._inputs.remove(reader)


class SpoolInput:
    """What one output reads of a spool; an `Input`."""

    def __init__(self, spool: Spool, position_file: PositionFile, position: Position, clock: Clock, linger_s: float) -> None:
        self._spool, self._clock, self._linger_s = spool, clock, linger_s
        self._rests_until_s = clock.monotonic_s()
        self.position_file = position_file
        self.position = position
        """Up to where everything is settled."""
        self.taken = position
        self.lost_items = self.lost_bytes = self.lost_damaged = 0

    def take(self, most_bytes: int) -> Batch | None:
        now_s = self._clock.monotonic_s()
        if now_s < self._rests_until_s:
            return None
        batch, is_all = self._spool.take(self, most_bytes)
        if is_all:
            self._rests_until_s = now_s + self._linger_s
        return batch

    def hurry(self) -> None:
        """Wait for nothing any more: the agent is about to end."""
        self._linger_s = self._rests_until_s = 0.0

    def settled(self, token: object) -> None:
        if not isinstance(token, Position):
            raise TypeError(f"not a token of a spool: {token!r}")
        self._spool.settled(self, token)

    def lose(self, segment: Segment) -> None:
        """Count what was not yet taken of a segment that is dropped; the spool calls this under its lock."""
        if segment.number < self.taken.segment:
            return
        offset = self.taken.offset if segment.number == self.taken.segment else 0
        with contextlib.suppress(OSError):
            self.lost_items += sum(frame.items for frame in walk(segment, offset, segment.size))
        self.lost_bytes += segment.size - offset

    def close(self) -> None:
        self._spool.forget_input(self)
        self.position_file.close()

    def counters(self) -> Mapping[str, float]:
        return {"lag_s": self._spool.waited_s(self), "dropped_items": float(self.lost_items), "dropped_bytes": float(self.lost_bytes),
                "damaged_segments": float(self.lost_damaged), "unwritten_positions": float(self.position_file.failed)}
