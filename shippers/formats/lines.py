"""Lines of a file, plain or compressed, without ever holding more than one chunk and one line."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pinchpoint.errors import InputError

#: A longer line is cut here, which makes it no record.
MOST_LINE_BYTES = 1 << 20
_CHUNK = 1 << 20
#: Bytes that may come out of a compressed input before it counts as a bomb: no recording of a run is larger.
MOST_UNPACKED_BYTES = 1 << 38
GZIP_MAGIC = b"\x1f\x8b"


def open_plain(path: Path) -> BinaryIO:
    """The bytes of an input, unpacked when it begins like a gzip file.

    Raises: InputError when it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
        return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes of an input in chunks; ends early, with InputError, where a compressed input is damaged."""
    total = 0
    with open_plain(path) as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
                raise InputError(f"{path}: damaged after {total} bytes: {error}") from error
            if not chunk:
                return
            total += len(chunk)
            if total > MOST_UNPACKED_BYTES:
                raise InputError(f"{path}: unpacks to more than {MOST_UNPACKED_BYTES} bytes; unpack it yourself if that is right")
            yield chunk


def read_lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines without their newline, and whether each had one; a line over the limit comes cut."""
    rest = b""
    skipping = False
    for chunk in read_chunks(path):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if not skipping:
                yield line[: MOST_LINE_BYTES + 1], True
            skipping = False
        if len(rest) > MOST_LINE_BYTES:
            if not skipping:
                yield rest[: MOST_LINE_BYTES + 1], True
            rest, skipping = b"", True
    if rest and not skipping:
        yield rest, False
