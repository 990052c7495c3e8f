"""What slowdowns cost in a stretch of time: by cause, category, day, host, rank and workload."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from pinchpoint.clock import NS, format_time, parse_time
from pinchpoint.fields import CATEGORIES
from pinchpoint.store import IncidentFilter, Store

#: Incidents that are counted, at most; the latest.
MOST_INCIDENTS = 10_000
#: Hosts and ranks that are listed.
MOST_LISTED = 10
_DAY_NS = 86_400 * NS


@dataclasses.dataclass(frozen=True, slots=True)
class Period:
    """The sums of a stretch of time; rows are plain mappings, those that lost most first.

    A rank counts as one GPU. An incident counts whole on the day it began, and with all its seconds where it reaches beyond the edges.
    """

    since: int
    until: int
    """UTC ns."""
    incidents: list[dict[str, Any]]
    lost_gpu_hours: float
    saves_gpu_hours: float
    causes: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    days: list[dict[str, Any]]
    hosts: list[dict[str, Any]]
    ranks: list[dict[str, Any]]
    workloads: list[dict[str, Any]]
    repeated: list[dict[str, Any]]
    """The same cause on the same host or GPU in two incidents or more."""
    runs: dict[str, int]
    """How many runs were slow, healthy, not_enough_data."""

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        kept = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return kept | {"since": format_time(self.since), "until": format_time(self.until), "incidents": [
            {"id": one["id"], "start": one["start"], "run": one["run"], "cause": _leading(one), "lost_gpu_hours": one["lost_gpu_hours"]}
            for one in self.incidents]}


def gather(store: Store, since: int, until: int) -> Period:
    """Sum up the incidents of a stretch of time (UTC ns), and what was said of the runs that had none."""
    ranks_by_incident: dict[str, int] = {}
    told: dict[str, str] = {}
    slow_ranks: list[dict[str, Any]] = []
    found = store.query_incidents(IncidentFilter(since=since, until=until, limit=MOST_INCIDENTS))
    ids = {one["id"] for one in found}
    first = min([since, *(parse_time(one["start"]) for one in found)])
    for row in _findings(store, first, until):
        labels = row["labels"]
        if "verdict" in labels and row["time_ns"] >= since:
            told[row["run.id"]] = labels["verdict"]
        elif row["entity.kind"] == "run" and labels.get("ranks", "").isdigit():
            ranks_by_incident[labels.get("incident.id", "")] = int(labels["ranks"])
        elif row["entity.kind"] == "rank" and labels.get("incident.id") in ids:
            slow_ranks.append(row)
    incidents = [{**one, "ranks": max(ranks_by_incident.get(one["id"], 1), 1)} for one in found]
    incidents = [{**one, "lost_gpu_hours": _hours(one["symptom"]["lost_seconds"] * one["ranks"])} for one in incidents]
    told |= {one["run"]: "slow" for one in incidents if one["run"]}
    verdicts = list(told.values())
    parts = list(_parts(incidents))
    return Period(
        since, until, sorted(incidents, key=lambda one: (-one["lost_gpu_hours"], one["id"])),
        _hours(sum(one["lost_gpu_hours"] * 3600 for one in incidents)), _hours(sum(one["saves_gpu_hours"] * 3600 for one in parts)),
        _sums(parts, ("cause", "category"), "saves_gpu_hours"), _in_order(_sums(parts, ("category",)), CATEGORIES),
        _days(parts, since, until), _sums(_by_host(incidents), ("host",))[:MOST_LISTED], _slow_ranks(slow_ranks)[:MOST_LISTED],
        _sums(parts, ("workload",))[:MOST_LISTED],
        [row for row in _sums(parts, ("cause", "where")) if row["incidents"] > 1 and row["where"]],
        {name: verdicts.count(name) for name in ("slow", "healthy", "not_enough_data")})


def _findings(store: Store, since: int, until: int) -> Iterator[dict[str, Any]]:
    columns = ("@timestamp", "run.id", "entity.kind", "entity.id", "host.name", "score", "labels")
    for split in store.splits("finding", since, until):
        for batch in store.read(split, columns):
            times = batch.column("@timestamp").cast("int64").to_pylist()
            for time_ns, row in zip(times, batch.drop_columns(["@timestamp"]).to_pylist(), strict=True):
                yield {**row, "time_ns": time_ns, "labels": dict(row["labels"] or ())}


def _parts(incidents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each cause of an incident, and one for what is unexplained of it."""
    for one in incidents:
        about = {"id": one["id"], "run": one["run"], "day": one["start"][:10], "workload": one["workload"] or "unnamed"}
        for cause in one["causes"]:
            entity = cause["entity"]
            where = f"{entity['kind']} {entity['id']}" if entity["kind"] in ("gpu", "host", "disk") else \
                f"host {one['hosts'][0]}" if len(one["hosts"]) == 1 else ""
            yield about | {"cause": cause["cause"], "category": cause["category"], "where": where,
                           "lost_gpu_hours": _hours(cause["lost_seconds"] * one["ranks"]),
                           "saves_gpu_hours": _hours(cause["saves_seconds"] * one["ranks"])}
        left = one["symptom"]["lost_seconds"] - sum(cause["lost_seconds"] for cause in one["causes"])
        if left > 0.01 * one["symptom"]["lost_seconds"]:
            yield about | {"cause": "unexplained", "category": "unexplained", "where": "", "lost_gpu_hours": _hours(left * one["ranks"]),
                           "saves_gpu_hours": 0.0}


def _by_host(incidents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What an incident lost, charged to the host at fault where one is named, else in equal parts to all its hosts."""
    for one in incidents:
        named = [cause["entity"]["id"] for cause in one["causes"][:1] if cause["entity"]["kind"] == "host"]
        hosts = named or one["hosts"]
        for host in hosts:
            yield {"id": one["id"], "run": one["run"], "host": host, "lost_gpu_hours": one["lost_gpu_hours"] / len(hosts)}


def _sums(parts: Iterable[dict[str, Any]], keys: tuple[str, ...], *more: str) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for part in parts:
        groups.setdefault(tuple(part[key] for key in keys), []).append(part)
    rows = [dict(zip(keys, key, strict=True)) | {
        "incidents": len({part["id"] for part in group}), "runs": len({part["run"] for part in group}),
        **{name: _hours(sum(part[name] for part in group) * 3600) for name in ("lost_gpu_hours", *more)}}
        for key, group in groups.items()]
    return sorted(rows, key=lambda row: (-row["lost_gpu_hours"], *(str(row[key]) for key in keys)))


def _in_order(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: names.index(row["category"]) if row["category"] in names else len(names))


def _days(parts: list[dict[str, Any]], since: int, until: int) -> list[dict[str, Any]]:
    """Lost GPU-hours of each day by category, days without any too."""
    days = [format_time(time)[:10] for time in range(since // _DAY_NS * _DAY_NS, until, _DAY_NS)]
    days = sorted({*days, *(part["day"] for part in parts)})
    return [{"day": day, "incidents": len({part["id"] for part in parts if part["day"] == day})} | {
        name: _hours(sum(part["lost_gpu_hours"] for part in parts if part["day"] == day and part["category"] == name) * 3600)
        for name in (*CATEGORIES, "unexplained")} for day in days]


def _slow_ranks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ranks that were out of line, by GPU where it is known, else by host and number: how often, and how far."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        gpu = row["labels"].get("gpu.uuid")
        groups.setdefault((row["host.name"] or "-", gpu or f"rank {row['entity.id']}"), []).append(row)
    found = [{"host": host, "rank": name, "incidents": len({row["labels"]["incident.id"] for row in group}),
              "worst_ratio": max(row["score"] or 0.0 for row in group)} for (host, name), group in groups.items()]
    return sorted(found, key=lambda row: (-row["incidents"], -row["worst_ratio"], row["host"], row["rank"]))


def _leading(incident: dict[str, Any]) -> str:
    return incident["causes"][0]["cause"] if incident["causes"] else "unexplained"


def _hours(seconds: float) -> float:
    return float(f"{seconds / 3600:.6g}")
