"""Which incidents a filter lets through, and how one is found by the beginning of its id."""

from collections.abc import Iterable, Sequence
from typing import Any

from pinchpoint.clock import parse_time
from pinchpoint.errors import IncidentNotFound, RecordError
from pinchpoint.store.base import IncidentFilter


def check(incident: dict[str, Any]) -> None:
    """Refuse what could not be found again. Raises: RecordError without an id, a start, or times that can be read."""
    if not isinstance(incident.get("id"), str) or not incident["id"]:
        raise RecordError("an incident needs an id")
    try:
        parse_time(incident["start"])
        if incident.get("end") is not None:
            parse_time(incident["end"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"incident {incident['id']}: start or end is missing or no time: {error}") from error


def choose(incidents: Iterable[dict[str, Any]], filters: IncidentFilter) -> list[dict[str, Any]]:
    """Incidents that pass every filter, latest start first, then by id."""
    passing = [one for one in incidents if _passes(one, filters)]
    return sorted(passing, key=lambda one: (-parse_time(one["start"]), one["id"]))[:max(filters.limit, 0)]


def _passes(incident: dict[str, Any], filters: IncidentFilter) -> bool:
    causes = [cause for cause in incident.get("causes") or () if isinstance(cause, dict)]
    end = incident.get("end")
    return ((filters.run is None or incident.get("run") == filters.run)
            and (filters.host is None or filters.host in (incident.get("hosts") or ()))
            and (filters.category is None or any(cause.get("category") == filters.category for cause in causes))
            and (filters.cause is None or any(filters.cause in (cause.get("cause"), cause.get("id")) for cause in causes))
            # without an end it goes on
            and (filters.since is None or end is None or parse_time(end) >= filters.since)
            and (filters.until is None or parse_time(incident["start"]) < filters.until))


def find_id(ids: Sequence[str], wanted: str) -> str:
    """The one id that is or begins with what is wanted.

    Raises: IncidentNotFound when there is none, or more than one.
    """
    if wanted in ids:
        return wanted
    found = sorted(one for one in ids if one.startswith(wanted))
    if not found:
        raise IncidentNotFound(f"no incident {wanted!r}. List them with: pinchpoint incidents")
    if len(found) > 1:
        some = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        raise IncidentNotFound(f"{len(found)} incidents begin with {wanted!r}: {some}. Give more of the id")
    return found[0]
