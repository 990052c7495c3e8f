"""One segment of the spool: frames in a file, or in memory while the disk takes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from pinchpoint.clock import NS
from shippers.spool import frames

SUFFIX = ".frames"


class Frame(NamedTuple):
    """One frame as it was read."""

    payload: bytes
    items: int
    end: int
    """Offset of what follows it."""


class Segment(Protocol):
    """Frames in the order in which they came."""

    number: int
    size: int
    """Bytes of whole frames."""
    items: int

    def append(self, frame: bytes, items: int) -> None:
        """Add a frame. Raises: OSError; then the segment is as before."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on. Raises: OSError."""

    def sync(self) -> None:
        """Return when what was added survives a power cut. Raises: OSError."""

    def drop(self) -> None:
        """Delete it."""

    def close(self) -> None:
        """Let go of it."""


class FileSegment:
    """A segment in a file."""

    def __init__(self, folder: Path, number: int) -> None:
        """Open or make it. Raises: OSError."""
        self.number, self.size, self.items = number, 0, 0
        self._path = folder / f"{number:012d}{SUFFIX}"
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)  # a disk that became read-only can be read

    def check(self) -> bool:
        """Find the whole frames and cut what a kill or a power cut tore at the end; False when the rest is damaged otherwise."""
        total = os.fstat(self._descriptor).st_size
        for frame in walk(self, 0, total):
            self.size, self.items = frame.end, self.items + frame.items
        if self.size == total:
            return True
        torn = _is_torn(self.read(self.size, total - self.size))
        if torn:
            self._cut()
        return torn

    def age_s(self, now_ns: int) -> float:
        """Seconds since it was last written to. Raises: OSError."""
        return max(now_ns - os.fstat(self._descriptor).st_mtime_ns, 0) / NS

    def append(self, frame: bytes, items: int) -> None:
        view, at = memoryview(frame), self.size
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
        except OSError:
            self._cut()
            raise
        self.size, self.items = at, self.items + items

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def drop(self) -> None:
        self.close()
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return  # a read-only disk; it is looked at again when the agent starts anew

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _cut(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            return  # what stands there is overwritten by the next frame, or cut when the agent starts anew


class MemorySegment:
    """A segment that ends with the agent."""

    def __init__(self, number: int) -> None:
        self.number, self.size, self.items = number, 0, 0
        self._data = bytearray()

    def append(self, frame: bytes, items: int) -> None:
        self._data += frame
        self.size, self.items = len(self._data), self.items + items

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset:offset + size])

    def sync(self) -> None:
        """Nothing: it does not survive a power cut."""

    def drop(self) -> None:
        self._data = bytearray()

    def close(self) -> None:
        self.drop()


def walk(segment: Segment, offset: int, end: int) -> Iterator[Frame]:
    """The frames from an offset on, up to the first that is not whole. Raises: OSError."""
    while offset + frames.HEADER_BYTES <= end:
        head = frames.header(segment.read(offset, frames.HEADER_BYTES))
        if head is None:
            return
        begin = offset + frames.HEADER_BYTES
        payload = segment.read(begin, head.payload_bytes)
        offset = begin + head.payload_bytes
        if offset > end or not frames.is_whole(head, payload):
            return
        yield Frame(payload, head.items, offset)


def _is_torn(rest: bytes) -> bool:
    """Whether this is what is left of one frame: too short, or not all on the disk when the power went."""
    if len(rest) < frames.HEADER_BYTES or not any(rest):
        return True
    head = frames.header(rest)
    return head is not None and len(rest) <= frames.HEADER_BYTES + head.payload_bytes
