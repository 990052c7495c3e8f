"""An append-only file of checksummed records that survives kills, torn writes, full disks and damaged bytes."""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

_LEAST_COMPACTION_BYTES = 1 << 20
_DECODER = msgspec.json.Decoder()


class Journal:
    """Records are JSON objects, one a line behind the CRC-32 of its bytes.

    A line that was torn off at the end is cut away when the file is opened. A damaged line before the end is left out, and the
    file is kept beside the new one as `<name>.damaged`, so that nothing that can still be read is thrown away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0
        self._compacted_bytes = 0
        self.damaged = 0
        """Records that could not be read when the file was opened."""

    def load(self) -> list[dict[str, Any]]:
        """All records that can be read, in order; the file is then open for appending.

        Raises: OSError when the file can be neither read nor made.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if new:
            _sync_folder(self._path.parent)
        with open(self._fd, "rb", closefd=False) as file:
            *lines, torn = file.read().split(b"\n")
        found = [_record(line) for line in lines]
        while found and found[-1] is None:  # written together with the torn end
            torn = lines.pop() + b"\n" + torn
            found.pop()
        self._size = self._compacted_bytes = sum(map(len, lines)) + len(lines)
        records = [record for record in found if record is not None]
        self.damaged = len(found) - len(records)
        if self.damaged or len(torn) > _LEAST_COMPACTION_BYTES:
            self._keep_damaged()
            self.rewrite(records)
        elif torn:
            os.ftruncate(self._fd, self._size)
        return records

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Write records and wait until they are on the disk.

        Raises: OSError; then none of them counts as written, and the next call begins where the last good one ended.
        """
        data = b"".join(map(_line, records))
        try:
            # what a failed call left behind is overwritten or cut
            os.ftruncate(self._fd, self._size)
            _write_all(self._fd, data, self._size)
            os.fdatasync(self._fd)
        except OSError:
            self._cut()
            raise
        self._size += len(data)

    def rewrite(self, records: Iterable[dict[str, Any]]) -> None:
        """Replace all records, whole or not at all. Raises: OSError."""
        data = b"".join(map(_line, records))
        temporary = self._path.with_name(self._path.name + ".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, data, 0)
            os.fsync(fd)
            temporary.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._size, self._compacted_bytes = fd, len(data), len(data)
        _sync_folder(self._path.parent)

    @property
    def grown(self) -> bool:
        """Whether most of the file is history, so that rewriting it pays."""
        return self._size > max(_LEAST_COMPACTION_BYTES, 4 * self._compacted_bytes)

    def close(self) -> None:
        """Let go of the file; nothing is written."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _keep_damaged(self) -> None:
        aside = self._path.with_name(self._path.name + ".damaged")
        aside.unlink(missing_ok=True)
        os.link(self._path, aside)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            return  # the next append tries again, and a torn end is cut when the file is opened


def _line(record: dict[str, Any]) -> bytes:
    payload = msgspec.json.encode(record)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None when a byte of it is not what was written."""
    if line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
        return None
    try:
        record = _DECODER.decode(line[9:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return record if isinstance(record, dict) else None


def _write_all(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
