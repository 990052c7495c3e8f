"""From times and values to places in a picture."""

import dataclasses
import datetime
import math

from pinchpoint.clock import NS


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """A straight scale from values to pixels."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return round(self.begin + min(max(share, 0.0), 1.0) * (self.end - self.begin), 1)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers between two values.

    >>> ticks(0.0, 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    size = 10.0 ** math.floor(math.log10(span / about))
    step = next(size * one for one in (1, 2, 2.5, 5, 10) if span / (size * one) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def clock_text(time_ns: int, span_ns: int) -> str:
    """A time of day as far as it matters over a span.

    >>> clock_text(1767225600 * NS, 60 * NS), clock_text(1767225600 * NS, 4 * 86400 * NS)
    ('00:00:00', '01-01 00:00')
    """
    moment = datetime.datetime.fromtimestamp(time_ns / NS, datetime.UTC)
    seconds = span_ns / NS
    if seconds < 20:
        return f"{moment:%H:%M:%S}.{moment.microsecond // 100000}"
    return f"{moment:%H:%M:%S}" if seconds < 7200 else f"{moment:%H:%M}" if seconds < 86400 else f"{moment:%m-%d %H:%M}"
