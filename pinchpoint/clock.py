"""The only place that asks what time it is, so that tests can hold it still."""

import datetime
import re
import time
from typing import Protocol

NS = 1_000_000_000


class Clock(Protocol):
    """What code that needs the time is given."""

    def now_ns(self) -> int:
        """UTC time in nanoseconds since 1970."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait; returns at once when seconds is 0 or less."""


class SystemClock:
    """The clock of this machine."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class HeldClock:
    """A clock that stands still until told; sleeping moves it and is written down in `slept`."""

    def __init__(self, now_ns: int = 1_767_225_600 * NS) -> None:
        self._now_ns = now_ns
        self._monotonic_s = 0.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move both times; the wall clock may go backwards, monotonic time may not."""
        self._now_ns += round(seconds * NS)
        self._monotonic_s += max(seconds, 0.0)


SYSTEM_CLOCK: Clock = SystemClock()

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_time(text: str) -> int:
    """UTC nanoseconds of an ISO 8601 time; a missing zone means UTC.

    Raises: ValueError when the text is no such time, with an example of one.

    >>> parse_time("2026-01-01T00:00:00.5Z")
    1767225600500000000
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a time such as 2026-01-01T00:00:00Z, got {text!r}")
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in (None, 'Z') else zone}")
    except ValueError as error:
        raise ValueError(f"expected a time such as 2026-01-01T00:00:00Z, got {text!r}: {error}") from error
    return int(moment.timestamp()) * NS + int((fraction or "0").ljust(9, "0"))


def format_time(time_ns: int) -> str:
    """ISO 8601 in UTC with as many digits as are needed, at most nine.

    >>> format_time(1767225600500000000)
    '2026-01-01T00:00:00.5Z'
    """
    seconds, rest = divmod(time_ns, NS)
    text = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{rest:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def parse_span(text: str) -> float:
    """Seconds of a span such as `90s`, `5m`, `1h`, `7d` or `1h30m`.

    Raises: ValueError when the text is no such span, with an example of one.

    >>> parse_span("1h30m")
    5400.0
    """
    parts = _SPAN.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(f"expected a span such as 90s, 5m, 1h or 7d, got {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
