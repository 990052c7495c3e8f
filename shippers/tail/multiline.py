"""Join lines that belong together: tracebacks, or whatever a pattern says begins a record."""

import re
from typing import Protocol

MOST_JOINED_LINES = 1000
_MARK = b"Traceback (most recent call last)"
# torchrun and srun put the rank before each line
_BEGIN = re.compile(rb"((?:\[[^\]]{1,40}\]: ?|\s{0,4}\d{1,6}: )?)(\s*)(?:[^:]{0,80}: )?Traceback \(most recent call last\)")
#: How the lines begin that join one traceback to the next.
_CHAIN: tuple[tuple[bytes, ...], ...] = ((), (b"During handling of the above exception", b"The above exception was the direct cause"),
                                         (), (_MARK,))


class Joiner(Protocol):
    """Says which lines make one record."""

    def may_occur(self, block: bytes) -> bool:
        """Whether joining has anything to do in these bytes."""

    def groups(self, lines: list[bytes]) -> tuple[list[int], int]:
        """The numbers of the lines that begin a record; from the second number on the last one may go on beyond these lines."""


class Tracebacks:
    """A Python traceback, with those it is chained to, is one record."""

    def may_occur(self, block: bytes) -> bool:
        return _MARK in block

    def groups(self, lines: list[bytes]) -> tuple[list[int], int]:
        """See `Joiner`.

        >>> Tracebacks().groups([b"a", b"Traceback (most recent call last):", b"  File x", b"E: no", b"b"])
        ([0, 1, 4], 5)
        """
        begins: list[int] = []
        number, count = 0, len(lines)
        while number < count:
            begins.append(number)
            found = _BEGIN.match(lines[number]) if _MARK in lines[number] else None
            if found is None:
                number += 1
                continue
            end = self._end(lines, number, found[1], found[2])
            if end is None:
                return begins, number
            number = end
        return begins, count

    def _end(self, lines: list[bytes], begin: int, prefix: bytes, indent: bytes) -> int | None:
        """The number of the line after a traceback; None when it may go on after the last line."""
        number = begin + 1
        while number < len(lines):
            if number - begin >= MOST_JOINED_LINES or not lines[number].startswith(prefix + indent):
                return number
            text = lines[number][len(prefix) + len(indent):]
            if text[:1] in (b" ", b"\t"):
                number += 1
                continue
            if not text:
                return number
            number += 1  # the exception itself; another one may be chained to it
            for offset, expected in enumerate(_CHAIN):
                if number + offset >= len(lines):
                    return None
                line = lines[number + offset].removeprefix(prefix).strip()
                if not (line.startswith(expected) if expected else not line):
                    return number
            number += 4
        return None


class Pattern:
    """A record begins at each line in which a regular expression is found."""

    def __init__(self, pattern: str) -> None:
        self._begins = re.compile(pattern.encode())

    def may_occur(self, block: bytes) -> bool:
        return True

    def groups(self, lines: list[bytes]) -> tuple[list[int], int]:
        begins: list[int] = []
        for number, line in enumerate(lines):
            if not begins or number - begins[-1] >= MOST_JOINED_LINES or self._begins.search(line):
                begins.append(number)
        return begins, begins[-1] if begins else 0
