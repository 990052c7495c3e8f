"""What was changed and what the logs said around an incident, in order of time."""

from typing import Any

from models.quotes import Quote
from models.report.html import Markup, table
from models.report.words import plain
from pinchpoint import human
from pinchpoint.clock import NS, parse_time


def quoted(said: list[Quote], incident: dict[str, Any]) -> Markup | None:
    """A table with the distance of each line from the beginning of the incident; None where nothing was said."""
    onset = parse_time(incident["start"])
    rows = [[_distance((one.time_ns - onset) / NS), plain(one.action) if one.action else "log line", one.host or "-", one.text]
            for one in said]
    return table("Changes and lines of logs, in order of time", ["since it began", "what", "host", "in its own words"], rows) \
        if rows else None


def _distance(since_s: float) -> str:
    """With its sign.

    >>> _distance(-190.04), _distance(4)
    ('-3 min 10 s', '+4 s')
    """
    return ("" if since_s < 0 else "+") + human.seconds(round(since_s))
