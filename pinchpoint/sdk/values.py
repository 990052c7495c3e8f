"""Make what training code hands us fit a record, without ever raising."""

from __future__ import annotations

from numbers import Real
from typing import SupportsInt, cast


def text(value: object, most: int) -> str:
    """Text of at most so many characters, without the lone surrogates that JSON readers refuse."""
    return str(value)[:most].encode("utf-8", "replace").decode()


def whole(value: object) -> int | None:
    """A whole number from 0 that fits 64 bits; None for anything else.

    Tensors are not asked: that would wait for their device.
    """
    if type(value) is not int:
        if not isinstance(value, Real):
            return None
        try:
            value = int(cast(SupportsInt, value))
        except Exception:  # NaN, infinity, or a number of somebody's making
            return None
    return value if 0 <= value < 1 << 63 else None


def parsed(value: object) -> int | None:
    """As `whole`, and text that is such a number counts too: ranks come from the environment."""
    try:
        return whole(int(value) if isinstance(value, str) else value)
    except ValueError:
        return None
