"""The level of a log line, in lower case."""

import re

_SAME = {"warn": "warning", "fatal": "critical", "err": "error", "crit": "critical", "emerg": "critical", "panic": "critical",
         "wrn": "warning", "inf": "info", "dbg": "debug", "trc": "trace", "information": "info"}
_LEVEL = re.compile(r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|TRACE|NOTICE)(?![A-Za-z])|\[(?:debug|info|warn(?:ing)?|error|"
                    r"critical|fatal|trace|notice)\]")
_LOOKED_AT = 120


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
