"""Take a line of a kernel log apart, in the spellings of dmesg, syslog and journalctl: time, host, level and message."""

import datetime
import functools
import re
from typing import NamedTuple

from pinchpoint.clock import NS

_LEVELS = {"emerg": "critical", "alert": "critical", "crit": "critical", "err": "error", "warn": "warning", "notice": "info",
           "info": "info", "debug": "debug"}
_BY_NUMBER = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_FACILITY = (r"(?:(?P<facility>kern|user|daemon|syslog|auth|authpriv|local\d) {0,6}:"
             r"(?P<level>emerg|alert|crit|err|warn|notice|info|debug) {0,6}: ?)?")
_NUMBER = r"(?:<(?P<priority>\d{1,3})>)?"
_SINCE_BOOT = r"\[ {0,8}(?P<boot>\d{1,9}\.\d{6})\](?:\[ {0,6}[TC]\d{1,8}\])?"
_CALENDAR = r"\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d) (?P<year>\d{4})\]"
_ISO = r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<mark>[.,])?(?P<fraction>\d{1,9})?(?P<zone>Z|[+-]\d\d:?\d\d)?"
_SYSLOG = r"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
_SENDER = r"(?P<host>[\w.:-]{1,255}) (?P<sender>[^\s:\[]{1,64})(?:\[\d{1,10}\])?: ?(?:\[ {0,8}\d{1,9}\.\d{6}\] ?)?"

_SHAPES = tuple(re.compile(f"{shape}(?P<message>.*)") for shape in (
    rf"{_NUMBER}{_FACILITY}{_SINCE_BOOT} ?", rf"{_NUMBER}{_FACILITY}{_CALENDAR} ?", rf"{_FACILITY}{_ISO} {_SENDER}",
    rf"{_SYSLOG} {_SENDER}", rf"{_FACILITY}{_ISO} ", r"(?P<priority>\d{1,3}),\d{1,12},(?P<microseconds>\d{1,15}),[^;]{1,80};"))


class KernelLine(NamedTuple):
    """One line of a kernel log."""

    time_ns: int | None
    """UTC ns; None where the line only tells the time since boot."""
    boot_ns: int | None
    """Since boot; None where the line tells the time of day."""
    host: str | None
    level: str | None
    from_kernel: bool
    """False for lines of other programs in the same syslog."""
    local: bool
    """Whether the time is that of some zone the line does not name."""
    message: str


def parse_line(line: str, written: datetime.datetime) -> KernelLine | None:
    """A line taken apart; None for what is in none of the shapes.

    Args:
        line: without its newline.
        written: when the file was written, for spellings without a year.

    >>> when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    >>> parse_line("May  6 00:38:27 node1 kernel: [ 4909.922970] NVRM: hello", when).host
    'node1'
    >>> parse_line("[    2.000001] NVRM: hello", when).boot_ns
    2000001000
    """
    for shape in _SHAPES:
        match = shape.fullmatch(line)
        if match is not None and (found := _take(match.groupdict(), written)) is not None:
            return found
    return None


def _take(found: dict[str, str | None], written: datetime.datetime) -> KernelLine | None:
    level = _LEVELS.get(found.get("level") or "")
    if found.get("priority"):
        level = _BY_NUMBER[int(found["priority"] or 0) & 7]
    sender = found.get("sender")
    kernel = sender == "kernel" if sender is not None else found.get("facility") in (None, "kern")
    message = found["message"] or ""
    if found.get("boot"):
        seconds, _, micro = (found["boot"] or "").partition(".")
        return KernelLine(None, int(seconds) * NS + int(micro) * 1000, None, level, kernel, False, message)
    if found.get("microseconds"):
        return KernelLine(None, int(found["microseconds"] or 0) * 1000, None, level, kernel, False, message)
    if found.get("iso"):
        if sender is None and found.get("facility") is None and found.get("mark") != ",":
            return None  # any program's log looks like this; dmesg writes a comma
        second = _iso_ns(found["iso"] or "", found.get("zone") or "")
    else:
        second = _calendar_ns(found.get("year") or "", found["month"] or "", int(found["day"] or 0), found["clock"] or "",
                              written.timestamp())
    if second is None:
        return None
    time_ns = second + int((found.get("fraction") or "0").ljust(9, "0"))
    return KernelLine(time_ns, None, found.get("host"), level, kernel, found.get("iso") is None or not found.get("zone"), message)


@functools.lru_cache(4096)
def _iso_ns(text: str, zone: str) -> int | None:
    try:
        moment = datetime.datetime.fromisoformat(text + (zone if zone not in ("", "Z") else "+00:00"))
    except ValueError:
        return None
    return _whole(moment)


@functools.lru_cache(4096)
def _calendar_ns(year: str, month: str, day: int, clock: str, written_s: float) -> int | None:
    try:
        number = _MONTHS.index(month) + 1
        written = datetime.datetime.fromtimestamp(written_s, datetime.UTC)
        moment = datetime.datetime.fromisoformat(f"{int(year or written.year):04d}-{number:02d}-{day:02d}T{clock}+00:00")
        if not year and moment > written + datetime.timedelta(days=1):
            moment = moment.replace(year=written.year - 1)
    except ValueError:
        return None
    return _whole(moment)


def _whole(moment: datetime.datetime) -> int | None:
    seconds = int(moment.timestamp())
    return seconds * NS if -(1 << 62) < seconds * NS < 1 << 62 else None
