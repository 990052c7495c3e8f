"""The level of a log line, in lower case."""

import re
from collections.abc import Sequence

_SAME = {"warn": "warning", "fatal": "critical", "err": "error", "crit": "critical", "emerg": "critical", "panic": "critical",
         "wrn": "warning", "inf": "info", "dbg": "debug", "trc": "trace", "information": "info"}
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|TRACE|NOTICE)(?![A-Za-z])|\[(?:debug|info|warn(?:ing)?|error|"
                    r"critical|fatal|trace|notice)\]")
_LOOKED_AT = 120
#: Of the start of a line these bytes are kept, in which a level leaves a trace; most lines of a program leave the same.
_DELETED = bytes(byte for byte in range(256) if chr(byte) not in "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\n")
_TRACES = (b"DEBUG", b"INFO", b"WARN", b"ERROR", b"CRITICAL", b"FATAL", b"TRACE", b"NOTICE", b"[")


def level_of(name: str) -> str:
    """A level as other lines spell it.

    >>> level_of("WARN")
    'warning'
    """
    lower = name.lower()
    return _SAME.get(lower, lower)


def guess_level(text: str) -> str | None:
    """The level that a line gives itself near its start; None when it gives none.

    >>> guess_level("2026-01-01 12:00:00 [WARN] slow"), guess_level("step 3")
    ('warning', None)
    """
    found = _LEVEL.search(text, 0, _LOOKED_AT)
    if found is None:
        return None
    begin = found.start()
    return None if begin and text[begin - 1].isalpha() else level_of(found[0].strip("[]"))


def guess_levels(lines: Sequence[bytes]) -> list[str | None]:
    """The level that each line gives itself; says none of most blocks without levels at little cost.

    >>> guess_levels([b"INFO ready", b"step 3"])
    ['info', None]
    """
    traces = b"\n".join([line[:_LOOKED_AT].replace(b"\n", b" ") for line in lines]).translate(None, _DELETED).split(b"\n")
    speaks = {trace: any(one in trace for one in _TRACES) for trace in set(traces)}
    if not any(speaks.values()):
        return [None] * len(lines)
    return [guess_level(line[:4 * _LOOKED_AT].decode(errors="replace")) if speaks[trace] else None
            for line, trace in zip(lines, traces, strict=True)]
