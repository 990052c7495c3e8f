"""The bytes of a log, wherever they are now: a plain file or a rotated one that was compressed."""

import os
import zlib
from typing import Protocol

GZIP_SUFFIX = ".gz"
_PACKED_CHUNK = 1 << 16
_GZIP_WINDOW = 31
#: Logs unpack to 5 to 60 times their size, zeros to 1,000 times: what unpacks to more than this is a bomb.
_MOST_RATIO = 400
_UNPACKED_AT_LEAST = 1 << 26


class Carrier(Protocol):
    """An open file that holds the bytes of a log; methods raise OSError."""

    place: tuple[int, int]
    """Device and inode."""

    def size(self) -> int:
        """Bytes there are now."""

    def read(self, size: int, offset: int) -> bytes:
        """The bytes from an offset on; fewer at the end."""

    def linked(self) -> bool:
        """Whether the file still has a name."""

    def close(self) -> None:
        """Let go of the file."""


class PlainFile:
    """A file as it is."""

    def __init__(self, path: str) -> None:
        # a FIFO with the name of a log must not stop the agent
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        about = os.fstat(self._fd)
        self.place = (about.st_dev, about.st_ino)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def linked(self) -> bool:
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        os.close(self._fd)


class PackedFile:
    """A gzip file, read forward; going back begins again. A damaged one ends where it is damaged."""

    def __init__(self, path: str) -> None:
        self._file = PlainFile(path)
        self.place = self._file.place
        self.damaged = False
        self._packed_at = self._at = 0
        self._rest = self._input = b""
        self._ended = self._begun = False
        self._begin()

    def size(self) -> int:
        """The unpacked size: known only by unpacking, so what is known of it until then is not the end."""
        return self._at + len(self._rest) + (0 if self._ended else 1)

    def read(self, size: int, offset: int) -> bytes:
        if offset < self._at:
            self._begin()
        while not self._ended and self._at + len(self._rest) < offset + size:
            more = self._unpack()
            self._rest += more
            skipped = min(max(0, offset - self._at), len(self._rest))
            self._rest, self._at = self._rest[skipped:], self._at + skipped
        skipped = offset - self._at
        if skipped > 0:
            self._rest, self._at = self._rest[skipped:], self._at + min(skipped, len(self._rest))
        # what was read stays until the next call asks for something further on: the guard is read again each time
        return self._rest[:size] if self._at == offset else b""

    def linked(self) -> bool:
        return self._file.linked()

    def close(self) -> None:
        self._file.close()

    def _begin(self) -> None:
        self._packed_at = self._at = 0
        self._rest = self._input = b""
        self._ended = self._begun = False
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)

    def _unpack(self) -> bytes:
        """Some more bytes; none at the end."""
        if self._inflate.eof:  # logrotate appends members to one file
            self._input = self._inflate.unused_data or self._input
            self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        if not self._input:
            self._input = self._file.read(_PACKED_CHUNK, self._packed_at)
            self._packed_at += len(self._input)
            if not self._input:
                self._ended = True
                self.damaged = self._begun
                return b""
        try:
            data = self._inflate.decompress(self._input, 4 * _PACKED_CHUNK)
        except zlib.error:
            self.damaged = self._ended = True
            return b""
        self._begun = not self._inflate.eof
        self._input = self._inflate.unconsumed_tail if self._begun else self._inflate.unused_data
        if self._at + len(self._rest) + len(data) > max(_UNPACKED_AT_LEAST, _MOST_RATIO * self._packed_at):
            self.damaged = self._ended = True
            return b""
        return data


def open_carrier(path: str) -> Carrier:
    """Open a log. Raises: OSError."""
    return PackedFile(path) if path.endswith(GZIP_SUFFIX) else PlainFile(path)


def crc_of(carrier: Carrier, size: int) -> int | None:
    """CRC-32 of the first bytes; None when there are not so many. Raises: OSError."""
    crc = at = 0
    while at < size:
        data = carrier.read(min(1 << 20, size - at), at)
        if not data:
            return None
        crc, at = zlib.crc32(data, crc), at + len(data)
    return crc
