"""What was said around an incident: log lines that speak of errors, and what was changed. It outlives the records it is taken from."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from models.view import Event, Line, RunView

#: Lines, and events, that are kept of one incident at most; those nearest to its beginning.
MOST = 40
#: Characters of a line that are kept.
_MOST_TEXT = 500
#: Lines of one kind and window of a run at most; more hosts say the same.
MOST_HOSTS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Quote:
    """One thing that was said."""

    series: str
    """`log_line`, or `event`."""
    time_ns: int
    host: str | None
    text: str
    """The line, or why the event happened."""
    action: str | None = None
    """Of an event."""


def packed(time_ns: int, text: str) -> str:
    """A line as the label of a feature record.

    >>> packed(5, "it  broke")
    '5 it broke'
    """
    return f"{time_ns} {' '.join(text.split())[:_MOST_TEXT]}"


def lines_of(record: Mapping[str, Any]) -> Iterator[Line]:
    """The lines in the labels of a feature record of logs; what else stands there is left out.

    >>> [line.text for line in lines_of({"labels": [("log.error_lines", "5 it broke"), ("rack", "7")], "host.name": None})]
    ['it broke']
    """
    for name, value in record["labels"] or ():
        time, _, text = value.partition(" ")
        if name.startswith("log.") and text and time.isascii() and time.isdigit():
            yield Line(int(time), record["host.name"], name, text)


def keep(view: RunView, start: int, end: int, onset: int) -> tuple[Quote, ...]:
    """What was said from `start` until `end` (UTC ns), in order of time; of much, what is nearest to the onset."""
    lines = [Quote("log_line", one.time_ns, one.host, one.text) for one in view.lines if start <= one.time_ns < end]
    events = [Quote("event", one.time_ns, one.host, said(one), one.action) for one in view.events if start <= one.time_ns < end]
    kept = [quote for group in (lines, events) for quote in sorted(group, key=lambda one: abs(one.time_ns - onset))[:MOST]]
    return tuple(sorted(kept, key=lambda one: (one.time_ns, one.series, one.host or "", one.action or "", one.text)))


def said(event: Event) -> str:
    """Why an event happened, or where nobody said, its details."""
    return " ".join((event.reason or ", ".join(f"{name} {value}" for name, value in sorted(event.details.items()))).split())[:_MOST_TEXT]
