"""Cut the bytes of a log into lines, however long, empty or full of zeros they are."""

import dataclasses
import io
from itertools import accumulate

#: Of a longer line the rest is left out: a server refuses documents of many megabytes, and a line is held in memory.
MOST_LINE_BYTES = 1 << 18


@dataclasses.dataclass(slots=True)
class Framed:
    """Lines of a block, and how much of the block they are."""

    text: bytes
    """The lines, each with one line feed and without carriage return; empty ones are left out."""
    lengths: list[int]
    """Of the lines in the text, with the line feed."""
    starts: list[int]
    """Where each begins in the file."""
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

    >>> frame(b"one\ntwo\nthr", 0, skipping=False, final=False, at_end=True).text
    b'one\ntwo\n'
    """
    begin = 0
    if skipping:
        begin = block.find(b"\n") + 1
        if not begin:
            return Framed(b"", [], [], len(block), skipping=True)
    zeros = 0
    if block[begin:begin + 1] == b"\0":
        # what a writer left behind that went on at its old offset after a truncation; zeros at the end may still be filled in
        left = block[begin:].lstrip(b"\0")
        if not left and at_end and not final:
            return Framed(b"", [], [], begin)
        zeros = len(block) - begin - len(left)
        begin += zeros
    end = block.rfind(b"\n") + 1
    if end <= begin:
        return _without_line_feed(block, begin, at, zeros, final)
    text = block[begin:end]
    lengths = list(map(len, io.BytesIO(text)))  # the fastest way to count what is between line feeds
    starts = list(accumulate(lengths, initial=at + begin))
    del starts[-1]
    framed = Framed(text, lengths, starts, end, zeros=zeros)
    rest = len(block) - end
    if max(lengths) > MOST_LINE_BYTES or rest > MOST_LINE_BYTES or (final and rest) or b"\r" in text or b"\0" in block or min(lengths) == 1:
        _tidy(framed, block, at, final)
    return framed


def _tidy(framed: Framed, block: bytes, at: int, final: bool) -> None:
    """What is to be done to few lines of few logs."""
    lines = lines_of(framed.text)
    end = framed.consumed
    framed.cut = sum(len(line) > MOST_LINE_BYTES for line in lines)
    lines = [line[:MOST_LINE_BYTES] for line in lines]
    if len(block) - end > MOST_LINE_BYTES or (final and end < len(block)):
        last = _without_line_feed(block, end, at, 0, final)
        lines, framed.starts = lines + lines_of(last.text), framed.starts + last.starts
        framed.consumed, framed.skipping, framed.partial = last.consumed, last.skipping, last.partial
        framed.cut += last.cut
    if b"\r\n" in block or b"\0" in block:
        bare = [line.lstrip(b"\0") for line in lines]
        framed.zeros += sum(map(len, lines)) - sum(map(len, bare))
        lines = [line.removesuffix(b"\r") for line in bare]
    framed.starts = [start for line, start in zip(lines, framed.starts, strict=True) if line]
    framed.empty = lines.count(b"")
    lines = list(filter(None, lines))
    framed.text = text_of(lines)
    framed.lengths = [len(line) + 1 for line in lines]


def lines_of(text: bytes) -> list[bytes]:
    r"""The lines of a text, without their line feeds.

    >>> lines_of(b"one\ntwo\n"), lines_of(b"")
    ([b'one', b'two'], [])
    """
    return text.split(b"\n")[:-1]


def text_of(lines: list[bytes]) -> bytes:
    """The inverse of `lines_of`."""
    return b"\n".join([*lines, b""])


def _without_line_feed(block: bytes, begin: int, at: int, zeros: int, final: bool) -> Framed:
    """What follows the last line feed."""
    line = block[begin:]
    if len(line) > MOST_LINE_BYTES:
        return Framed(line[:MOST_LINE_BYTES] + b"\n", [MOST_LINE_BYTES + 1], [at + begin], len(block), skipping=True, cut=1, zeros=zeros)
    if final and line:
        return Framed(line + b"\n", [len(line) + 1], [at + begin], len(block), zeros=zeros, partial=1)
    return Framed(b"", [], [], begin, zeros=zeros)
