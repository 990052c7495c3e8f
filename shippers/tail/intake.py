"""Make items of what is new in a log: a block is read, cut into lines, and moves the cursor by what became of it."""

import bisect
import collections
import dataclasses
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from shippers.items import Item
from shippers.tail.cursor import HEAD_BYTES
from shippers.tail.follow import Followed
from shippers.tail.framing import MOST_LINE_BYTES, Framed, frame, lines_of
from shippers.tail.lines import Documents
from shippers.tail.offsets import Observed, Offsets

_LEAST_BLOCK, _MOST_BLOCK = 1 << 12, 1 << 20


class Taken(NamedTuple):
    """What one look at a log brought."""

    body: bytes
    """The records as the body of a bulk."""
    records: int
    more: bool
    """Whether there is more to be read at once."""
    told: Sequence[Item] = ()
    """What the lines tell beside themselves."""


NOTHING = Taken(b"", 0, False)


class Intake:
    """Reads blocks that are as large as a batch needs, and counts what is in them."""

    def __init__(self, offsets: Offsets, count: collections.Counter[str]) -> None:
        self._offsets, self._count = offsets, count
        self.expansion = 20.0
        """Bytes of documents per byte read; so much for short lines."""

    def take(self, one: Followed, left: int, quiet: bool, time: str, observed: dict[str, Observed]) -> Taken:
        """What is new in one log, up to about so many bytes of a bulk; moves its cursor.

        Args:
            one: open, and with something to read.
            left: bytes.
            quiet: it has not grown for a while, so that half a line at its end may be taken.
            time: of lines that have none of their own, ISO 8601.
            observed: where this is noted down when there were such lines.
        Raises: OSError, Replaced.
        """
        cursor = one.cursor
        mark = self._offsets.observed_at(one.log.id, cursor.offset)
        block, whole = self._next_block(one, int(left / self.expansion), 0 if mark is None else mark.end - cursor.offset)
        if not block:
            return NOTHING
        limit = self._offsets.next_mark(one.log.id, cursor.offset) - cursor.offset
        again = limit <= len(block)  # these lines were handed out before, and ended here
        if again:
            block = block[:limit]
        at_end = cursor.offset + len(block) >= one.size_now()
        final = again or (quiet and at_end)
        framed, (starts, body), consumed = self._documents(one, block, mark.time if mark else time, final=final, at_end=at_end)
        if not consumed and not at_end and not final:  # a record that is larger than a block
            framed, (starts, body), consumed = self._documents(one, block, mark.time if mark else time, final=True, at_end=at_end)
        size = len(body)
        more = not at_end
        if size > left * 1.5 and len(starts) > 1:
            ends = list(accumulate(len(line) + 1 for line in body.split(b"\n")))[1:-1:2]
            number = max(1, bisect.bisect(ends, left))
            consumed = starts[number] - cursor.offset
            starts, body = starts[:number], body[:ends[number - 1]]
            framed = frame(block[:consumed], cursor.offset, skipping=cursor.skipping, final=True, at_end=False)
            more = True
        if not consumed:
            one.waiting_size = one.size
            return NOTHING
        expansion = max(0.5, size / len(block))
        self.expansion = max(expansion, 0.8 * self.expansion + 0.2 * expansion)  # too small a batch costs less than lines parsed in vain
        skipping = mark.skipping if mark is not None and again else framed.skipping
        if cursor.offset < HEAD_BYTES:
            one.head = cursor.head(whole, consumed)
        one.cursor = cursor.advanced(whole, consumed, skipping)
        one.waiting_size = one.size if consumed < len(block) and not more else -1
        if one.parser.used_observed and mark is None:
            observed[one.log.id] = Observed(cursor.offset, one.cursor.offset, time, skipping)
        count = self._count
        count["lines"] += len(framed.starts)
        count["bytes"] += consumed
        count["records"] += len(starts)
        count["lines_cut"] += framed.cut
        count["lines_empty"] += framed.empty
        count["zeros"] += framed.zeros
        count["lines_partial"] += framed.partial
        told = one.jobs.read(framed.starts, lines_of(framed.text), mark.time if mark else time) if one.jobs is not None else ()
        return Taken(body, len(starts), more, told)

    def _documents(self, one: Followed, block: bytes, time: str, *, final: bool, at_end: bool) -> tuple[Framed, Documents, int]:
        """The documents of a block, and how many of its bytes are done with them."""
        base = one.cursor.offset
        framed = frame(block, base, skipping=one.cursor.skipping, final=final, at_end=at_end)
        documents, waiting = one.parser.parse(framed, time, final=final)
        if not waiting:
            return framed, documents, framed.consumed
        consumed = framed.starts[-waiting] - base
        return dataclasses.replace(framed, starts=framed.starts[:-waiting], skipping=False, partial=0), documents, consumed

    def _next_block(self, one: Followed, wanted: int, least: int) -> tuple[bytes, bytes]:
        """As much as is expected to fill a batch, but at least a line; see `Followed.read`."""
        block, whole = one.read(max(min(max(wanted, _LEAST_BLOCK), _MOST_BLOCK), least))
        if len(block) <= MOST_LINE_BYTES and b"\n" not in block and one.unread > len(block):
            block, whole = one.read(2 * MOST_LINE_BYTES)
        return block, whole
