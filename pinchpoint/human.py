"""Text and numbers as people read them."""

import math
import re

#: What a terminal might act upon: control characters of both sets, marks that turn the direction of writing, line separators,
#: and halves of surrogate pairs, which stand for undecodable bytes of file names.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with everything escaped that a terminal might act upon instead of showing it.

    >>> printable("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    return escape(text, keep="")


def escape(text: str, keep: str) -> str:
    """As `printable`, but the characters of `keep` stay."""
    return UNPRINTABLE.sub(lambda bad: bad[0] if bad[0] in keep else bad[0].encode("unicode_escape").decode("ascii"), text)


def three_digits(value: float) -> str:
    """A number with three significant digits at most and no exponent; `?` for NaN, which means not enough seen yet.

    >>> three_digits(1234.5), three_digits(0.17749), three_digits(5.0)
    ('1234', '0.177', '5')
    """
    if not math.isfinite(value):
        return "?" if math.isnan(value) else str(value)
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float) -> str:
    """A duration in the unit that suits it.

    >>> seconds(12.3), seconds(0.177), seconds(312.0), seconds(7500.0)
    ('12.3 s', '177 ms', '5 min 12 s', '2 h 5 min')
    """
    size = abs(value)
    if math.isnan(value) or size == 0 or 0.9995 <= size < 119.5:
        return f"{three_digits(value)} s"
    if size < 0.0009995:
        return f"{three_digits(value * 1e6)} µs"
    if size < 1:
        return f"{three_digits(value * 1e3)} ms"
    if math.isinf(value):
        return f"{value} s"
    sign = "-" if value < 0 else ""
    if size < 3599.5:
        return "{}{:.0f} min {:.0f} s".format(sign, *divmod(round(size), 60))
    return "{}{:.0f} h {:.0f} min".format(sign, *divmod(round(size / 60), 60))


def share(ratio: float) -> str:
    """A ratio in percent, with a decimal only below one.

    >>> share(0.334), share(0.004), share(0.0)
    ('33 %', '0.4 %', '0 %')
    """
    percent = ratio * 100
    if 0 < percent < 0.05:
        return "<0.1 %"
    if 0 < abs(percent) < 0.95:
        return f"{percent:.1f} %"
    return f"{three_digits(percent)} %" if not math.isfinite(ratio) else f"{percent:.0f} %"


def size(size_bytes: float) -> str:
    """A size in decimal units.

    >>> size(999), size(1_540), size(3.2e9)
    ('999 B', '1.54 kB', '3.2 GB')
    """
    scaled, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while abs(scaled) >= 999.5 and len(units) > 1:
        scaled /= 1000
        units.pop(0)
    return f"{three_digits(scaled)} {units[0]}"
