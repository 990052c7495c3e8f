"""The bytes and the lines of an input, unpacked, in pieces of bounded size."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from pinchpoint.errors import InputError

#: A longer line is cut here, which makes it no record.
MOST_LINE_BYTES = 1 << 20
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
#: Recorded traces and records unpack to 5 to 60 times their size, zeros to 1000 times: what unpacks to more than this is a bomb.
_MOST_RATIO = 400
_UNPACKED_AT_LEAST = 1 << 26


def read_chunks(path: Path, most: int = _CHUNK) -> Iterator[bytes]:
    """The bytes of an input, unpacked when it begins like a gzip file, up to `most` at a time.

    Raises: InputError when it cannot be opened, and where a compressed input is damaged, after what came before that place.
    """
    total = 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            size = raw.seek(0, 2)
            raw.seek(0)
            # read1: read() would throw away what precedes the damage in its block
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            while chunk := file.read1(most):
                total += len(chunk)
                if packed and total > max(_UNPACKED_AT_LEAST, size * _MOST_RATIO):
                    raise InputError(f"{path}: unpacks to more than {_MOST_RATIO} times its size; unpack it first if that is right")
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged after {total} unpacked bytes: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_until_damaged(path: Path, notes: list[str]) -> Iterator[bytes]:
    """The chunks of an input; one that is damaged further on ends there, with a note.

    Raises: InputError when nothing of it can be read.
    """
    read = False
    try:
        for chunk in read_chunks(path):
            read = True
            yield chunk
    except InputError as error:
        if not read:
            raise
        notes.append(str(error).removeprefix(f"{path}: "))


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of an input, unpacked; fewer where it is shorter or damaged.

    Raises: InputError when nothing of it can be read.
    """
    head = b""
    for chunk in read_until_damaged(path, []):
        head += chunk
        if len(head) >= size:
            break
    return head[:size]


def read_blocks(path: Path, notes: list[str], *, at_returns: bool = False, most_bytes: int = MOST_LINE_BYTES) -> Iterator[bytes]:
    """Whole lines, many at a time, each with its newline; the last one of the input may have none. A line over the limit comes cut.

    Args:
        path: the file.
        notes: where it is said that the file is damaged.
        at_returns: whether a carriage return ends a line too, as of progress that is drawn over itself.
        most_bytes: the limit.
    Raises: InputError when nothing can be read.
    """
    rest = b""
    skipping = False
    for chunk in read_until_damaged(path, notes):
        block, newline, rest = (rest + (chunk.replace(b"\r", b"\n") if at_returns else chunk)).rpartition(b"\n")
        if skipping and newline:
            _, newline, block = block.partition(b"\n")
            skipping = False
        if newline:
            yield block + newline
        if len(rest) > most_bytes:
            if not skipping:
                yield rest[: most_bytes + 1] + b"\n"
            rest, skipping = b"", True
    if rest and not skipping:
        yield rest


def read_lines(path: Path, notes: list[str], *, at_returns: bool = False,
               most_bytes: int = MOST_LINE_BYTES) -> Iterator[tuple[bytes, bool]]:
    """Lines without their newline, and whether each had one; arguments and errors are those of `read_blocks`."""
    for block in read_blocks(path, notes, at_returns=at_returns, most_bytes=most_bytes):
        lines = block.split(b"\n")
        last = lines.pop()
        for line in lines:
            yield line, True
        if last:
            yield last, False
