"""TFRecord files: records of bytes, each between its length and its checksum."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Length and its checksum before the record, a checksum behind it.
_BEFORE, _AFTER = 12, 4
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ _POLYNOMIAL if byte & 1 else byte >> 1
        found.append(byte)
    return tuple(found)


_TABLE = _table()


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord files hold it.

    >>> hex(masked_crc32c(bytes([24, 0, 0, 0, 0, 0, 0, 0])))
    '0x224b7fa3'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def begins(head: bytes) -> bool:
    """Whether the bytes begin with a length and its checksum."""
    return len(head) >= _BEFORE and struct.unpack_from("<I", head, 8)[0] == masked_crc32c(head[:8])


class Record(NamedTuple):
    """One record; only what is read of it is held."""

    data: bytes
    """Empty where the record is longer than what is read."""
    length: int
    whole: bool
    """Whether its checksum is right, as far as it was looked at."""


def read_records(chunks: Iterable[bytes], notes: list[str], most_bytes: int) -> Iterator[Record]:
    """The records of a file. It ends where it is cut or a length is damaged: nothing tells where the next record would begin.

    Args:
        chunks: the file.
        notes: where it is said that it is damaged.
        most_bytes: a longer record is passed over.
    """
    rest, passed, over = b"", 0, 0
    lengths: dict[bytes, int] = {}
    for chunk in chunks:
        if over >= len(chunk):
            over -= len(chunk)
            passed += len(chunk)
            continue
        rest, place = rest + chunk[over:], 0
        passed, over = passed + over, 0
        while len(rest) - place >= _BEFORE:
            begin = rest[place:place + _BEFORE]
            length = lengths.get(begin)  # records of one kind are of few lengths: their checksums are worked out once
            if length is None:
                if not begins(begin):
                    notes.append(f"damaged after {passed + place} bytes: what follows is no record")
                    return
                length = struct.unpack_from("<Q", begin)[0]
                if len(lengths) < 4096:
                    lengths[begin] = length
            end = place + _BEFORE + length + _AFTER
            if length > most_bytes:
                yield Record(b"", length, True)
                over = max(end - len(rest), 0)
                place = min(end, len(rest))
                continue
            if end > len(rest):
                break
            data = rest[place + _BEFORE:end - _AFTER]
            yield Record(data, length, struct.unpack_from("<I", rest, end - _AFTER)[0] == masked_crc32c(data))
            place = end
        passed += place
        rest = rest[place:]
    if rest or over:
        notes.append("its last record is cut short, as of a job that still runs or was killed")
