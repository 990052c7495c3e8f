"""What the analysis reads of a store as it stands, and what it writes back: features, answers, and what is kept beside them."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from models.kept import Kept
from pinchpoint import records
from pinchpoint.clock import parse_time
from pinchpoint.store import IncidentFilter, Split, Store, open_store
from pipelines import kept_records
from pipelines.runs import NO_RUN, settle


def read_whole(split: Split, store_url: str, run_id: str | None) -> Iterator[pa.RecordBatch]:
    """All columns of a slice; records without a run are kept, since they may concern it."""
    for batch in open_store(store_url).read(split):
        mine = batch if run_id is None else batch.filter(
            pa.compute.or_kleene(pa.compute.is_null(batch.column("run.id")), pa.compute.equal(batch.column("run.id"), run_id)))
        if mine.num_rows:
            yield mine


def save_features(batch: pa.RecordBatch, store_url: str) -> None:
    """Write one batch under an id made of what it is about, so that making it again finds the same place."""
    if batch.num_rows:
        times = batch.column("@timestamp").cast(pa.int64())
        ids = sorted(batch.column("event.id").to_pylist())
        segment = f"feature-{records.content_id(ids[0], ids[-1], len(ids), pa.compute.min(times).as_py())}"
        open_store(store_url).append("feature", batch, segment)


def save_answer(answer: dict[str, Any], store_url: str) -> dict[str, Any]:
    """Write the incidents of one run under the ids that they have already, if they have; returns the answer with these."""
    store = open_store(store_url)
    answer = dict(answer)  # what came in stays as it is: Beam forbids changing it
    run = answer["observed"]["run"]
    old = store.query_incidents(IncidentFilter(run=run, limit=10_000)) if answer["incidents"] else []
    kept, (seen, told) = answer.pop("kept"), answer.pop("told")
    if seen is not None and run:
        workload = answer["incidents"][0]["workload"] if answer["incidents"] else None
        store.append("finding", kept_records.told_batch((seen, told), workload), f"told-{records.content_id(run)}")
    settled = settle([{**one, "kept": kept[one["id"]]} for one in answer["incidents"]], old)
    for incident in settled:
        save_kept(store, incident, incident.pop("kept"))
        store.put_incident(incident)
    answer = {**answer, "incidents": settled}
    save_causes(store, settled, answer["observed"]["ranks"])
    return answer


def save_kept(store: Store, incident: dict[str, Any], kept: Kept) -> None:
    """Write the evidence and the findings of an incident in the place of what it had before."""
    store.append("evidence", kept_records.evidence_batch(incident, kept), f"evidence-{incident['id']}")
    store.append("finding", kept_records.finding_batch(incident, kept), f"finding-{incident['id']}")


def save_causes(store: Store, incidents: Iterable[dict[str, Any]], ranks: int) -> None:
    """Write the causes of the incidents of an answer flat, one record each, as tables and dashboards want them.

    They are one segment, since each costs the store a commit. That of a run is replaced whole; what belongs to no run is answered
    for a piece of time after the other, so there the incidents name the segment.
    """
    rows = [(incident, position, cause) for incident in incidents for position, cause in enumerate(incident["causes"], 1)]
    if not rows:
        return
    batch = records.batch("cause", {
        "@timestamp": [parse_time(incident["start"]) for incident, _, _ in rows],
        "event.id": [f"{incident['id']}-{position}" for incident, position, _ in rows],
        "run.id": [incident["run"] for incident, _, _ in rows], "run.workload": [incident["workload"] for incident, _, _ in rows],
        "incident.id": [incident["id"] for incident, _, _ in rows],
        "symptom.name": [incident["symptom"]["name"] for incident, _, _ in rows],
        "entity.kind": [cause["entity"]["kind"] for _, _, cause in rows], "entity.id": [cause["entity"]["id"] for _, _, cause in rows],
        "host.name": [incident["hosts"][0] if incident["hosts"] else None for incident, _, _ in rows],
        "cause.position": [position for _, position, _ in rows], "cause.id": [cause["id"] for _, _, cause in rows],
        "cause.name": [cause["cause"] for _, _, cause in rows], "cause.category": [cause["category"] for _, _, cause in rows],
        "cause.confidence": [cause["confidence"] for _, _, cause in rows],
        "lost_seconds": [cause["lost_seconds"] for _, _, cause in rows], "lost_ratio": [cause["share"] for _, _, cause in rows],
        "lost_gpu_hours": [None if cause["lost_seconds"] is None else cause["lost_seconds"] * ranks / 3600 for _, _, cause in rows],
        "cause.summary": [cause["summary"] for _, _, cause in rows], "cause.why": ["\n".join(cause["why"]) for _, _, cause in rows],
        "cause.fix": ["\n".join(cause["fix"]) for _, _, cause in rows],
    })
    run = rows[0][0]["run"]
    name = [run] if run != NO_RUN else sorted({incident["id"] for incident, _, _ in rows})
    store.append("cause", batch, f"cause-{records.content_id(*name)}")
