"""Evidence and findings of incidents as records, flat and with the same ids whenever they are made again."""

from typing import Any

import pyarrow as pa

import pinchpoint
from models.kept import Kept
from pinchpoint import records
from pinchpoint.clock import NS, parse_time


def evidence_batch(incident: dict[str, Any], kept: Kept) -> pa.RecordBatch:
    """One record for each point of the series."""
    columns: dict[str, list[Any]] = {name: [] for name in (
        "@timestamp", "event.id", "entity.kind", "entity.id", "host.name", "cause.id", "cause.name", "series", "value",
        "symptom.baseline", "limit", "unit")}
    for one in kept.series:
        for number, (time_ns, value) in enumerate(zip(one.times, one.values, strict=True)):
            identity = records.content_id(incident["id"], one.name, one.entity_kind, one.entity_id, one.cause_id, number)
            row = (time_ns, identity, one.entity_kind, one.entity_id, one.host, one.cause_id, one.cause_name, one.name, value,
                   one.baseline, one.limit, one.unit)
            for column, cell in zip(columns.values(), row, strict=True):
                column.append(cell)
    return records.batch("evidence", _of_incident(incident, len(columns["series"])) | {
        "incident.id": [incident["id"]] * len(columns["series"]),
        "symptom.name": [incident["symptom"]["name"]] * len(columns["series"]), **columns})


def finding_batch(incident: dict[str, Any], kept: Kept) -> pa.RecordBatch:
    """One record for each thing out of line."""
    found = kept.findings
    size = len(found)
    start, end = parse_time(incident["start"]), parse_time(incident["end"])
    return records.batch("finding", _of_incident(incident, size) | {
        "@timestamp": [start] * size,
        "event.id": [records.content_id(incident["id"], one.entity_kind, one.entity_id) for one in found],
        "window_s": [(end - start) / NS] * size, "entity.kind": [one.entity_kind for one in found],
        "entity.id": [one.entity_id for one in found], "host.name": [one.host for one in found],
        "symptom.name": [one.symptom for one in found], "symptom.observed": [one.observed for one in found],
        "symptom.baseline": [one.baseline for one in found], "score": [one.score for one in found],
        "lost_seconds": [one.lost_seconds for one in found], "compared_with": [one.compared_with for one in found],
        "model.name": [one.model for one in found], "model.version": [pinchpoint.__version__] * size,
        "labels": [[("incident.id", incident["id"])]] * size})


def _of_incident(incident: dict[str, Any], size: int) -> dict[str, Any]:
    return {"run.id": [incident["run"]] * size, "run.workload": [incident["workload"]] * size}
