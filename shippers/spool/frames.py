"""Items as checksummed frames: length, CRC-32 and number of items, then the items as MessagePack."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from shippers.items import Item

_HEADER = struct.Struct("<III")
HEADER_BYTES = _HEADER.size
#: Of one frame; more than that is damage.
MOST_FRAME_BYTES = 8 << 20
_WANTED_FRAME_BYTES = 1 << 18

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Item])


class Header(NamedTuple):
    """What stands before the items of a frame."""

    payload_bytes: int
    crc: int
    items: int


def encode(items: Sequence[Item]) -> bytes:
    """One frame."""
    payload = _ENCODER.encode(items)
    return _HEADER.pack(len(payload), zlib.crc32(payload, len(items)), len(items)) + payload


def cut(items: Sequence[Item], most_bytes: int) -> Iterator[Sequence[Item]]:
    """Items in groups that make frames of a size that is taken at once, and of no more than so many bytes where an item is not larger.

    >>> [len(part) for part in cut([Item("log", "a", b"x" * 100_000)] * 5, 1_000_000)]
    [2, 2, 1]
    """
    most_bytes = min(most_bytes, _WANTED_FRAME_BYTES)
    begin = size = 0
    for end, item in enumerate(items):
        more = len(item.document) + len(item.id) + 16
        if end > begin and size + more > most_bytes:
            yield items[begin:end]
            begin, size = end, 0
        size += more
    if items:
        yield items[begin:]


def header(data: bytes) -> Header | None:
    """The header these bytes begin with; None when they are too few, or cannot be one."""
    if len(data) < HEADER_BYTES:
        return None
    found = Header(*_HEADER.unpack_from(data))
    return found if 0 < found.payload_bytes <= MOST_FRAME_BYTES and 0 < found.items <= found.payload_bytes else None


def is_whole(found: Header, payload: bytes) -> bool:
    """Whether the items of a frame are as they were written."""
    return len(payload) == found.payload_bytes and zlib.crc32(payload, found.items) == found.crc


def decode(payload: bytes) -> list[Item]:
    """The items of a whole frame. Raises: ValueError for one that another version wrote in another form."""
    return _DECODER.decode(payload)
