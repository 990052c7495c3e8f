"""Up to where one output has taken the spool, kept in two places that are written in turn."""

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

_SLOT = struct.Struct("<QQQI")
_SLOT_BYTES = 64  # apart, so that no write touches both


class Position(NamedTuple):
    """A place between two frames."""

    segment: int
    offset: int


class PositionFile:
    """A position that survives a kill in the middle of a write: the other place still holds the one before."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises: OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = 0
        self.failed = 0
        """Writes that the disk did not take; what was settled since is taken again after a restart."""

    def load(self) -> Position | None:
        """The last position; None when none was ever written, or when both places are damaged."""
        best: Position | None = None
        for place in range(2):
            data = os.pread(self._descriptor, _SLOT.size, place * _SLOT_BYTES)
            if len(data) < _SLOT.size:
                continue
            turn, segment, offset, crc = _SLOT.unpack(data)
            if zlib.crc32(data[:-4]) == crc and turn >= self._turn:
                self._turn, best = turn, Position(segment, offset)
        return best

    def save(self, position: Position) -> None:
        """Write a position; it survives a kill, and a power cut after `sync`."""
        data = struct.pack("<QQQ", self._turn + 1, position.segment, position.offset)
        try:
            os.pwrite(self._descriptor, data + struct.pack("<I", zlib.crc32(data)), (self._turn + 1) % 2 * _SLOT_BYTES)
        except OSError:
            self.failed += 1
            return
        self._turn += 1

    def sync(self) -> None:
        """Return when the position survives a power cut. Raises: OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
