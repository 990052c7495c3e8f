"""Where reading stands in a file, with the checks that tell whether it is still the same file."""

import dataclasses
import zlib
from typing import Any

#: So many bytes before an offset are read again together with new data.
GUARD_BYTES = 64
#: The beginning of a file by which it is known again.
HEAD_BYTES = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Cursor:
    """An offset, and what was read before it."""

    offset: int = 0
    crc: int = 0
    """CRC-32 of all bytes before the offset."""
    guard_bytes: int = 0
    guard_crc: int = 0
    """CRC-32 of the last `guard_bytes` before the offset."""
    skipping: bool = False
    """The offset is inside a line that was cut; the rest of that line is not wanted."""

    def agrees(self, before: bytes) -> bool:
        """Whether these bytes before the offset are those that were read there."""
        return len(before) == self.guard_bytes and zlib.crc32(before) == self.guard_crc

    def advanced(self, seen: bytes, consumed: int, skipping: bool = False) -> "Cursor":
        """The cursor after so many more bytes.

        Args:
            seen: the guard followed by what was read after it.
            consumed: bytes after the guard.
            skipping: see the attribute.
        """
        end = self.guard_bytes + consumed
        guard = seen[max(0, end - GUARD_BYTES):end]
        crc = zlib.crc32(memoryview(seen)[self.guard_bytes:end], self.crc)
        return Cursor(self.offset + consumed, crc, len(guard), zlib.crc32(guard), skipping)

    def head(self, seen: bytes, consumed: int) -> tuple[int, int]:
        """Size and CRC-32 of the beginning of the file after so many more bytes; arguments as for `advanced`."""
        more = min(consumed, HEAD_BYTES - self.offset)
        return self.offset + more, zlib.crc32(seen[self.guard_bytes:self.guard_bytes + more], self.crc)

    def as_list(self) -> list[int]:
        """For a journal."""
        return [self.offset, self.crc, self.guard_bytes, self.guard_crc, int(self.skipping)]


START = Cursor()


def cursor_from(values: Any) -> Cursor:
    """The cursor of `as_list`. Raises: ValueError for anything else."""
    if not isinstance(values, list) or len(values) != 5 or not all(isinstance(one, int) and one >= 0 for one in values):
        raise ValueError(f"no cursor: {values!r}")
    offset, crc, guard_bytes, guard_crc, skipping = values
    return Cursor(offset, crc, guard_bytes, guard_crc, bool(skipping))
