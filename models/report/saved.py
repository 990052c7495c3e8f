"""Read back from a store what was written beside an incident."""

from typing import Any

from models.evidence import Series
from models.quotes import Quote
from pinchpoint.clock import NS, parse_time
from pinchpoint.store import IncidentFilter, Store

#: Earlier incidents that are shown beside one.
MOST_SIMILAR = 8
_DAY_NS = 86_400 * NS
_COLUMNS = ("@timestamp", "incident.id", "entity.kind", "entity.id", "host.name", "cause.id", "cause.name", "series", "value",
            "symptom.baseline", "limit", "unit", "message", "event.action")


def evidence_of(store: Store, incident: dict[str, Any]) -> tuple[list[Series], list[Quote]]:
    """The evidence of an incident: series, and what was said, each in order of time; empty where it was analysed by an older version."""
    start, end = parse_time(incident["start"]), parse_time(incident["end"])
    length = max(end - start, 600 * NS)
    points: dict[tuple[Any, ...], list[tuple[int, float]]] = {}
    about: dict[tuple[Any, ...], dict[str, Any]] = {}
    said: list[Quote] = []
    for split in store.splits("evidence", start - 2 * length - _DAY_NS, end + length + _DAY_NS):
        for batch in store.read(split, _COLUMNS):
            times = batch.column("@timestamp").cast("int64").to_pylist()
            for time_ns, row in zip(times, batch.drop_columns(["@timestamp"]).to_pylist(), strict=True):
                if row["incident.id"] != incident["id"]:
                    continue
                if row["message"] is not None:
                    said.append(Quote(row["series"], time_ns, row["host.name"], row["message"], row["event.action"]))
                elif row["value"] is not None:
                    key = (row["series"], row["entity.kind"], row["entity.id"], row["cause.id"])
                    about.setdefault(key, row)
                    points.setdefault(key, []).append((time_ns, row["value"]))
    found = [_series(about[key], sorted(values)) for key, values in points.items()]
    return (sorted(found, key=lambda one: (one.name, one.entity_kind, _number(one.entity_id), one.cause_id or "")),
            sorted(said, key=lambda one: (one.time_ns, one.series, one.text)))


def _series(row: dict[str, Any], values: list[tuple[int, float]]) -> Series:
    return Series(row["series"], row["entity.kind"], row["entity.id"], row["host.name"], row["unit"] or "",
                  tuple(time for time, _ in values), tuple(value for _, value in values), row["symptom.baseline"], row["limit"],
                  row["cause.id"], row["cause.name"])


def similar_to(store: Store, incident: dict[str, Any]) -> list[dict[str, Any]]:
    """Earlier incidents with the same leading cause, those of the same workload first, then the latest."""
    if not incident["causes"]:
        return []
    found = store.query_incidents(IncidentFilter(cause=incident["causes"][0]["cause"], until=parse_time(incident["start"]), limit=200))
    others = [one for one in found if one["id"] != incident["id"]]
    return sorted(others, key=lambda one: one["workload"] != incident["workload"])[:MOST_SIMILAR]


def _number(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isascii() and text.isdigit() else (-1, text)


def ranks_of(store: Store, incident: dict[str, Any]) -> int:
    """How many ranks the run had; 0 where that was not kept."""
    start = parse_time(incident["start"])
    found = 0
    for split in store.splits("finding", start, start + 1):
        for batch in store.read(split, ("@timestamp", "labels")):
            for row in batch.column("labels").to_pylist():
                labels = dict(row or ())
                if labels.get("incident.id") == incident["id"] and labels.get("ranks", "").isdigit():
                    found = int(labels["ranks"])
    return found
