"""What a check is given and what it finds."""

import dataclasses
from typing import Literal

from pinchpoint.clock import NS, Clock
from pinchpoint.config import Config

State = Literal["ok", "warning", "fault", "unknown"]

#: Worst first: the order in which checks are shown.
STATES: tuple[State, ...] = ("fault", "warning", "unknown", "ok")


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at. Entry points of the group `pinchpoint.doctor` are called with it and give their checks."""

    config: Config
    """The settings; the defaults where the file cannot be read."""
    store: str | None
    """URL of the store; None when the settings that name it cannot be read."""
    clock: Clock


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """`fault`: data is lost or does not arrive until a person acts; `warning`: it may come to that; `unknown`: cannot be seen from here."""
    says: str
    """One sentence for people."""
    details: tuple[str, ...] = ()
    """A line each, such as the first documents concerned."""
    next_step: str | None = None
    """What to do about it; None where there is nothing to do."""


def span(seconds: float) -> str:
    """A span in its largest whole unit.

    >>> span(12.3), span(7500), span(200_000)
    ('12 s', '2 h', '2 days')
    """
    for length_s, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if round(seconds) >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(time_ns: int, now_ns: int) -> str:
    """How long ago a time was, or how far ahead it is.

    >>> ago(0, 60 * NS), ago(300 * NS, 0)
    ('60 s ago', '5 min ahead')
    """
    seconds = (now_ns - time_ns) / NS
    return f"{span(seconds)} ago" if seconds >= 0 else f"{span(-seconds)} ahead"


def some(texts: list[str], most: int = 5) -> tuple[str, ...]:
    """The first of many lines, and how many more there are.

    >>> some(["a", "b", "c"], 2)
    ('a', 'b', 'and 1 more')
    """
    return (*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else []))
