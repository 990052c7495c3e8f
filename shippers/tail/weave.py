"""Weave the values of many records into the body of a bulk: one join for all of them."""

from binascii import hexlify
from collections.abc import Sequence
from itertools import pairwise
from struct import pack

import msgspec

from shippers.items import CREATE, CREATED

_ENCODE = msgspec.json.Encoder().encode
_LEAST_HEXADECIMAL = 1 << 48

#: The gaps of `opening`.
_ID, _ID_AGAIN, _OFFSET, TIME = 1, 3, 5, 7

Gap = tuple[int, Sequence[bytes]]
"""A gap between pieces, and what comes into it in each record."""


def opening(log_id: bytes) -> list[bytes]:
    """The pieces with which every record of a log begins, up to its time; what differs from line to line is a gap."""
    return [CREATE + log_id + b"-", b"", CREATED + b'\n{"event.id":"%b-' % log_id, b"", b'","log.offset":', b"", b',"@timestamp":"', b"",
            b'"']


def weave(pieces: list[bytes], starts: Sequence[int], gaps: Sequence[Gap]) -> bytes:
    """The records of lines.

    Args:
        pieces: of a record, from `opening` on; the gaps are empty.
        starts: where each line begins in its log.
        gaps: what comes into the other gaps, in their order.
    """
    ids = hexadecimal(starts)
    pieces = pieces.copy()
    varying: list[Gap] = [(_ID, ids), (_ID_AGAIN, ids), (_OFFSET, decimal(starts))]
    for gap, values in gaps:
        if are_same(values):
            pieces[gap] = values[0]
        else:
            varying.append((gap, values))
    places = [-1, *(gap for gap, _ in varying), len(pieces)]
    # what is the same in all records is put together first
    row = [b""] * (2 * len(varying) + 1)
    row[::2] = [b"".join(pieces[before + 1:gap]) for before, gap in pairwise(places)]
    flat = row * len(starts)
    for number, (_, values) in enumerate(varying):
        flat[2 * number + 1::len(row)] = values
    return b"".join(flat)


def are_same(values: Sequence[bytes]) -> bool:
    """Whether all values are one."""
    return values[0] == values[-1] and values.count(values[0]) == len(values)


def hexadecimal(starts: Sequence[int]) -> list[bytes]:
    """Offsets as ids have them.

    >>> hexadecimal([10, 1 << 40])
    [b'00000000000a', b'010000000000']
    """
    if not starts or starts[-1] >= _LEAST_HEXADECIMAL:
        return [b"%012x" % start for start in starts]
    return hexlify(pack(f">{len(starts)}Q", *starts), b"\n", 8)[4:].split(b"\n0000")


def decimal(starts: Sequence[int]) -> list[bytes]:
    """Offsets as numbers of JSON."""
    return _ENCODE(starts)[1:-1].split(b",")
