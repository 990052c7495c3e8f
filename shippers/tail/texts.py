"""Make documents of lines that are nothing but text, all lines of a block together."""

from collections.abc import Sequence

import msgspec

from shippers.tail.enrichment import Enrichment
from shippers.tail.levels import guess_levels
from shippers.tail.times import leading_times
from shippers.tail.weave import TIME, opening, weave

_ENCODE = msgspec.json.Encoder().encode
_CONTROLS = bytes(byte for byte in range(32))
_MESSAGE, _LEVEL = 9, 11


class Texts:
    """Lines of one log as the body of a bulk."""

    def __init__(self, enrichment: Enrichment) -> None:
        rest = {name: value for name, value in enrichment.fields.items() if name != "message"}
        members = _ENCODE({**rest, "labels": enrichment.labels} if enrichment.labels else rest)[1:]
        *before, quote = opening(enrichment.log_id.encode())
        self._pieces = [*before, quote + b',"message":"', b"", b'"', b"", b"," + members + b"\n"]

    def body(self, starts: Sequence[int], lines: list[bytes], observed: str) -> tuple[bytes, bool]:
        """The records, and whether a line has no time of its own.

        Args:
            starts: where each line begins in its log.
            lines: valid UTF-8; joined ones have line feeds.
            observed: the time of lines that have none of their own.
        """
        times, all_timed = leading_times(lines, observed)
        levels = [b"" if level is None else b',"log.level":"%b"' % level.encode() for level in guess_levels(lines)]
        gaps = [(TIME, times), (_MESSAGE, escaped(lines)), (_LEVEL, levels)]
        return weave(self._pieces, starts, gaps), not all_timed


def escaped(lines: list[bytes]) -> list[bytes]:
    r"""Lines as the insides of JSON strings.

    >>> escaped([b'say "a","b"', b"back\\slash"])
    [b'say \\"a\\",\\"b\\"', b'back\\\\slash']
    """
    block = b"".join(lines)
    # hardly any block of text holds a character that has to be escaped
    if b'"' not in block and b"\\" not in block and len(block.translate(None, _CONTROLS)) == len(block):
        return lines
    # within a string a quote always follows a backslash, so that this is found between strings alone
    return _ENCODE([line.decode() for line in lines])[2:-2].split(b'","')
