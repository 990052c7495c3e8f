"""Cut the bytes of a log into lines, however long, empty or full of zeros they are."""

import dataclasses
from itertools import accumulate, repeat
from operator import add

#: Of a longer line the rest is left out: a server refuses documents of many megabytes, and a line is held in memory.
MOST_LINE_BYTES = 1 << 18


@dataclasses.dataclass(slots=True)
class Framed:
    """Lines of a block, and how much of the block they are."""

    lines: list[bytes]
    """Without line feeds and carriage returns; empty ones are left out."""
    starts: list[int]
    """Where each begins in the file."""
    text: bytes
    """The lines, each with a line feed."""
    consumed: int
    """Bytes that need not be read again once these lines are settled."""
    skipping: bool = False
    """The block ends inside a line that was cut."""
    cut: int = 0
    zeros: int = 0
    """Bytes before lines that were left out."""
    empty: int = 0
    partial: int = 0
    """Lines without a line feed that were taken because nothing more came."""


def frame(block: bytes, at: int, *, skipping: bool, final: bool, at_end: bool) -> Framed:
    r"""Cut a block into lines.

    Args:
        block: what was read.
        at: where it begins in the file.
        skipping: the block begins inside a line that was cut before.
        final: a last line without a line feed is taken too.
        at_end: nothing follows the block in the file now.

    >>> frame(b"one\ntwo\nthr", 0, skipping=False, final=False, at_end=True).lines
    [b'one', b'two']
    """
    begin = 0
    if skipping:
        begin = block.find(b"\n") + 1
        if not begin:
            return Framed([], [], b"", len(block), skipping=True)
    zeros = 0
    if block[begin:begin + 1] == b"\0":
        # what a writer left behind that went on at its old offset after a truncation; zeros at the end may still be filled in
        left = block[begin:].lstrip(b"\0")
        if not left and at_end and not final:
            return Framed([], [], b"", begin)
        zeros = len(block) - begin - len(left)
        begin += zeros
    end = block.rfind(b"\n") + 1
    if end <= begin:
        return _without_line_feed(block, begin, at, zeros, final)
    text = block[begin:end]
    lines = text.split(b"\n")
    del lines[-1]
    whole = lines
    lengths = list(map(len, lines))
    starts = list(accumulate(map(add, lengths, repeat(1)), initial=at + begin))
    del starts[-1]
    framed = Framed(lines, starts, text, end, zeros=zeros)
    if max(lengths) > MOST_LINE_BYTES:
        framed.cut = sum(length > MOST_LINE_BYTES for length in lengths)
        framed.lines = [line[:MOST_LINE_BYTES] for line in lines]
    if len(block) - end > MOST_LINE_BYTES or (final and end < len(block)):
        last = _without_line_feed(block, end, at, 0, final)
        framed.lines, framed.starts = framed.lines + last.lines, framed.starts + last.starts
        framed.consumed, framed.skipping, framed.partial = last.consumed, last.skipping, last.partial
        framed.cut += last.cut
    if b"\r" in text or b"\0" in block:
        lines = [line.lstrip(b"\0") for line in framed.lines]
        framed.zeros += sum(map(len, framed.lines)) - sum(map(len, lines))
        framed.lines = [line.removesuffix(b"\r") for line in lines]
    if not all(framed.lines):
        framed.starts = [start for line, start in zip(framed.lines, framed.starts, strict=True) if line]
        framed.empty = framed.lines.count(b"")
        framed.lines = list(filter(None, framed.lines))
    if framed.lines is not whole:
        framed.text = _text(framed.lines)
    return framed


def _text(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n" if lines else b""


def _without_line_feed(block: bytes, begin: int, at: int, zeros: int, final: bool) -> Framed:
    """What follows the last line feed."""
    line = block[begin:]
    if len(line) > MOST_LINE_BYTES:
        return Framed([line[:MOST_LINE_BYTES]], [at + begin], line[:MOST_LINE_BYTES] + b"\n", len(block), skipping=True, cut=1, zeros=zeros)
    if final and line:
        return Framed([line], [at + begin], line + b"\n", len(block), zeros=zeros, partial=1)
    return Framed([], [], b"", begin, zeros=zeros)
