"""The time a log line gives itself, as ISO 8601 in UTC."""

import datetime
import functools
import re
from collections.abc import Sequence
from typing import Any

from pinchpoint.clock import NS, format_time

_ISO = re.compile(r"[\[(]?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d{0,9})?(?: ?(Z|[+-]\d\d:?\d\d)(?!\d))?")
#: Numbers up to these many digits before the point are seconds, milliseconds, microseconds, nanoseconds since 1970.
_EPOCHS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
_EARLIEST_S = 631_152_000  # 1990: a smaller number is no time of a log line


_BEGINS = frozenset(b"%c" % byte for byte in b"0123456789[(")
_MOST_TIME = 64


@functools.lru_cache(4096)
def _second(day: str, clock: str, zone: str | None) -> str | None:
    """A second in UTC, neighbouring lines share it; without a zone it is local time, as loggers write it. None for no such time."""
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone or ''}")
        return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError):
        return None


def leading_time(text: str) -> str | None:
    """The time at the start of a line; None when it does not begin with one.

    >>> leading_time("[2026-01-01T01:00:00,5+01:00] step 3")
    '2026-01-01T00:00:00.5Z'
    """
    found = _ISO.match(text)
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    second = _second(day, clock, zone)
    if second is None or len(second) != 19:
        return None
    return f"{second}.{fraction}Z" if fraction else f"{second}Z"


def leading_times(lines: Sequence[bytes], otherwise: str) -> tuple[list[bytes], bool]:
    """The time at the start of each line, or another one where there is none; and whether every line has one.

    >>> leading_times([b"2026-01-01 00:00:00Z step 3", b"step 4"], "2027-01-01T00:00:00Z")
    ([b'2026-01-01T00:00:00Z', b'2027-01-01T00:00:00Z'], False)
    """
    absent = otherwise.encode()
    if _BEGINS.isdisjoint({line[:1] for line in lines}):
        return [absent] * len(lines), False
    found = [leading_time(line[:_MOST_TIME].decode(errors="replace")) for line in lines]
    return [absent if time is None else time.encode() for time in found], None not in found


def time_of(value: Any) -> str | None:
    """A time as a field gives it, text or a number since 1970; None for anything else.

    >>> time_of(1767225600.5), time_of("2026-01-01 00:00:00Z"), time_of("yesterday")
    ('2026-01-01T00:00:00.5Z', '2026-01-01T00:00:00Z', None)
    """
    if isinstance(value, str):
        found = _ISO.fullmatch(value)
        return None if found is None else leading_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    for most, per_second in _EPOCHS:
        if _EARLIEST_S * per_second <= value < most:
            return format_time(value * (NS // int(per_second)) if isinstance(value, int) else round(value / per_second * NS))
    return None
