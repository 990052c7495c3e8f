"""Lines of `key=value` pairs."""

import re

_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]{0,80})=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)')
_LEAST_PAIRS = 2


def parse_logfmt(line: str) -> dict[str, str] | None:
    r"""The pairs of a line that consists of nothing else; None for any other line. A key given twice keeps its last value.

    >>> parse_logfmt('level=info msg="a \\"b\\"" took=3ms')
    {'level': 'info', 'msg': 'a "b"', 'took': '3ms'}
    """
    found: dict[str, str] = {}
    at, pairs, text = 0, 0, line.strip()
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return None
        quoted = pair[2]
        found[pair[1]] = pair[3] if quoted is None else re.sub(r"\\(.)", _unescape, quoted)
        at, pairs = pair.end(), pairs + 1
    return found if pairs >= _LEAST_PAIRS else None


def _unescape(found: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1])
