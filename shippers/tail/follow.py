"""Read on in one log: the open file, where reading stands, and what was seen of it last."""

import dataclasses
import os
import zlib

from shippers.tail.carrier import Carrier, PackedFile, open_carrier
from shippers.tail.cursor import Cursor
from shippers.tail.discover import Place, Seen
from shippers.tail.job_lines import JobLines
from shippers.tail.lines import LineParser
from shippers.tail.registry import Log


class Replaced(Exception):
    """The file does not hold what was read of it: it was truncated, or another one took its place."""


@dataclasses.dataclass(slots=True, eq=False)
class Followed:
    """One log on its way through one output."""

    log: Log
    seen: Seen
    parser: LineParser
    cursor: Cursor
    jobs: JobLines | None = None
    """What its lines tell beside themselves, where they are those of a training job."""
    carrier: Carrier | None = None
    present: bool = True
    """Whether the file had a name when it was looked for last."""
    size: int = -1
    """Bytes there were when it was looked at last."""
    grown_s: float = 0.0
    """When it grew last, monotonic."""
    head: tuple[int, int] = (0, 0)
    """Size and CRC-32 of the beginning, as far as it was read and as the registry wants it."""
    waiting_size: int = -1
    """The size at which what is there could not be taken yet: half a line, half a traceback."""

    def open(self) -> bool:
        """Open the file unless it is; False when another one is there now. Raises: OSError."""
        if self.carrier is None:
            carrier = open_carrier(self.seen.path)
            if carrier.place != self.seen.place:
                carrier.close()
                return False
            self.carrier = carrier
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None

    @property
    def packed(self) -> bool:
        """Whether the file is compressed, and so will not grow."""
        return isinstance(self.carrier, PackedFile)

    @property
    def damaged(self) -> bool:
        """Whether unpacking ended before the end."""
        return isinstance(self.carrier, PackedFile) and self.carrier.damaged

    @property
    def place(self) -> Place | None:
        """Where the open file is."""
        return None if self.carrier is None else self.carrier.place

    @property
    def unread(self) -> int:
        """Bytes after the cursor, as far as known."""
        return max(0, self.size - self.cursor.offset)

    def unchanged(self) -> bool:
        """Whether a closed file of which all was read is as it was, without opening it. Raises: OSError."""
        if self.size != self.cursor.offset:
            return False
        about = os.stat(self.seen.path)  # noqa: PTH116
        return (about.st_dev, about.st_ino, about.st_size) == (*self.seen.place, self.size)

    def size_now(self) -> int:
        """Bytes there are. Raises: OSError."""
        return self.size if self.carrier is None else self.carrier.size() if self.packed else self.size

    def look(self, now_s: float) -> bool:
        """Whether there is something to read. Raises: OSError, Replaced."""
        assert self.carrier is not None  # noqa: S101 - callers open first
        if self.packed:  # how much there is shows only when it is unpacked
            self.carrier.read(1, self.cursor.offset - self.cursor.guard_bytes)
            self.carrier.read(1, self.cursor.offset)
        size = self.carrier.size()
        if size < self.cursor.offset:
            raise Replaced
        if size != self.size:
            self.size, self.grown_s = size, now_s
        return size > self.cursor.offset

    def read(self, size: int) -> tuple[bytes, bytes]:
        """The bytes from the cursor on, and the same with the guard before them; read at once, so that they belong together.

        Raises: OSError; Replaced when the bytes before the cursor are not those that were read there.
        """
        assert self.carrier is not None  # noqa: S101
        guard = self.cursor.guard_bytes
        whole = self.carrier.read(guard + size, self.cursor.offset - guard)
        if not self.cursor.agrees(whole[:guard]):
            raise Replaced
        block = whole[guard:]
        head_bytes, head_crc = self.log.head
        left = head_bytes - self.cursor.offset
        # near the beginning the guard is short or empty, but another output may have read on
        if left > 0 and (len(block) < min(left, size) or (left <= size and zlib.crc32(block[:left], self.cursor.crc) != head_crc)):
            raise Replaced
        return block, whole
