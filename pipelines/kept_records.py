"""Evidence and findings of incidents as records, flat and with the same ids whenever they are made again."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

import pinchpoint
from models.kept import Finding, Kept
from pinchpoint import records
from pinchpoint.clock import NS, parse_time


def evidence_batch(incident: dict[str, Any], kept: Kept) -> pa.RecordBatch:
    """One record for each point of the series, and for each thing that was said."""
    columns: dict[str, list[Any]] = {name: [] for name in (
        "@timestamp", "event.id", "entity.kind", "entity.id", "host.name", "cause.id", "cause.name", "series", "value",
        "symptom.baseline", "limit", "unit", "message", "event.action")}
    for row in (*_points(incident, kept), *_said(incident, kept)):
        for column, cell in zip(columns.values(), row, strict=True):
            column.append(cell)
    size = len(columns["series"])
    return records.batch("evidence", _of_incident(incident, size) | {
        "incident.id": [incident["id"]] * size, "symptom.name": [incident["symptom"]["name"]] * size, **columns})


def _points(incident: dict[str, Any], kept: Kept) -> Iterator[tuple[Any, ...]]:
    for one in kept.series:
        for number, (time_ns, value) in enumerate(zip(one.times, one.values, strict=True)):
            identity = records.content_id(incident["id"], one.name, one.entity_kind, one.entity_id, one.cause_id, number)
            yield (time_ns, identity, one.entity_kind, one.entity_id, one.host, one.cause_id, one.cause_name, one.name, value,
                   one.baseline, one.limit, one.unit, None, None)


def _said(incident: dict[str, Any], kept: Kept) -> Iterator[tuple[Any, ...]]:
    for number, one in enumerate(kept.quotes):
        identity = records.content_id(incident["id"], "said", number)
        yield (one.time_ns, identity, "host" if one.host else None, one.host, one.host, None, None, one.series, None, None, None, None,
               one.text, one.action)


def finding_batch(incident: dict[str, Any], kept: Kept) -> pa.RecordBatch:
    """One record for each thing out of line."""
    start = parse_time(incident["start"])
    return _findings(kept.findings, start, (parse_time(incident["end"]) - start) / NS, incident["run"], incident["workload"],
                     incident["id"])


def told_batch(told: tuple[int, Finding], workload: str | None) -> pa.RecordBatch:
    """One record for what was said of a run."""
    return _findings((told[1],), told[0], None, told[1].entity_id, workload, None)


def _findings(found: tuple[Finding, ...], time_ns: int, window_s: float | None, run: str, workload: str | None,
              incident_id: str | None) -> pa.RecordBatch:
    size = len(found)
    belongs = {} if incident_id is None else {"incident.id": incident_id}
    return records.batch("finding", {
        "@timestamp": [time_ns] * size, "run.id": [run] * size, "run.workload": [workload] * size,
        "event.id": [records.content_id(incident_id or run, one.entity_kind, one.entity_id) for one in found],
        "window_s": [window_s] * size, "entity.kind": [one.entity_kind for one in found],
        "entity.id": [one.entity_id for one in found], "host.name": [one.host for one in found],
        "symptom.name": [one.symptom for one in found], "symptom.observed": [one.observed for one in found],
        "symptom.baseline": [one.baseline for one in found], "score": [one.score for one in found],
        "lost_seconds": [one.lost_seconds for one in found], "compared_with": [one.compared_with for one in found],
        "model.name": [one.model for one in found], "model.version": [pinchpoint.__version__] * size,
        "labels": [list((belongs | one.labels).items()) for one in found]})


def _of_incident(incident: dict[str, Any], size: int) -> dict[str, Any]:
    return {"run.id": [incident["run"]] * size, "run.workload": [incident["workload"]] * size}
