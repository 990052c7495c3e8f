"""Beam's door to the store: slices in, features and incidents out."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection

from models.kept import Kept
from pinchpoint import records
from pinchpoint.store import IncidentFilter, Split, Store, open_store
from pipelines import kept_records, slices
from pipelines.runs import settle


@dataclasses.dataclass
class LoadSlices(beam.PTransform[PBegin, PCollection[Split]]):
    """The slices of the store that are to be read, spread over the workers."""

    splits: list[Split]

    def expand(self, begin: PBegin) -> PCollection[Split]:
        return begin | "List" >> beam.Create(self.splits) | "Spread" >> beam.Reshuffle()


@dataclasses.dataclass
class ReduceSlices(beam.PTransform[PCollection[Split], PCollection[pa.RecordBatch]]):
    """Slices in, feature batches out; no record leaves the worker that read it."""

    store_url: str
    window_s: float
    run_id: str | None

    def expand(self, splits: PCollection[Split]) -> PCollection[pa.RecordBatch]:
        return (splits
                | "Reduce" >> beam.FlatMap(slices.reduce, store_url=self.store_url, window_s=self.window_s, run_id=self.run_id)
                | "Count" >> beam.ParDo(CountFeatures()))


class CountFeatures(beam.DoFn):
    """Pass batches on and count their rows."""

    def __init__(self) -> None:
        self.features = Metrics.counter("pinchpoint", "features")

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self.features.inc(batch.num_rows)
        yield batch


@dataclasses.dataclass
class LoadRecords(beam.PTransform[PBegin, PCollection[pa.RecordBatch]]):
    """Records of one kind as they stand in the store, of one run or of all."""

    store_url: str
    splits: list[Split]
    run_id: str | None

    def expand(self, begin: PBegin) -> PCollection[pa.RecordBatch]:
        return (begin | "Slices" >> LoadSlices(self.splits)
                | "Read" >> beam.FlatMap(read_whole, store_url=self.store_url, run_id=self.run_id))


def read_whole(split: Split, store_url: str, run_id: str | None) -> Iterator[pa.RecordBatch]:
    """All columns of a slice; records without a run are kept, since they may concern it."""
    for batch in open_store(store_url).read(split):
        mine = batch if run_id is None else batch.filter(
            pa.compute.or_kleene(pa.compute.is_null(batch.column("run.id")), pa.compute.equal(batch.column("run.id"), run_id)))
        if mine.num_rows:
            yield mine


@dataclasses.dataclass
class SaveFeatures(beam.PTransform[PCollection[pa.RecordBatch], PCollection[None]]):
    """Feature batches into the store; the same slice again replaces what it wrote before."""

    store_url: str

    def expand(self, batches: PCollection[pa.RecordBatch]) -> PCollection[None]:
        return batches | "Save" >> beam.Map(save_features, store_url=self.store_url)


def save_features(batch: pa.RecordBatch, store_url: str) -> None:
    """Write one batch under an id made of what it is about, so that making it again finds the same place."""
    if batch.num_rows:
        times = batch.column("@timestamp").cast(pa.int64())
        ids = sorted(batch.column("event.id").to_pylist())
        segment = f"feature-{records.content_id(ids[0], ids[-1], len(ids), pa.compute.min(times).as_py())}"
        open_store(store_url).append("feature", batch, segment)


@dataclasses.dataclass
class SaveAnswers(beam.PTransform[PCollection[dict[str, Any]], PCollection[None]]):
    """Answers into the store as incidents, and as files where the caller waits for them."""

    store_url: str
    folder: str | None
    """Where each answer is written as JSON; None for nowhere."""

    def expand(self, answers: PCollection[dict[str, Any]]) -> PCollection[None]:
        return answers | "Save" >> beam.Map(save_answer, store_url=self.store_url, folder=self.folder)


def save_answer(answer: dict[str, Any], store_url: str, folder: str | None) -> None:
    """Write the incidents of one run under the ids that they have already, if they have."""
    store = open_store(store_url)
    answer = dict(answer)  # Beam forbids changing what came in
    run = answer["observed"]["run"]
    old = store.query_incidents(IncidentFilter(run=run, limit=10_000)) if answer["incidents"] else []
    kept = answer.pop("kept")
    settled = settle([{**one, "kept": kept[one["id"]]} for one in answer["incidents"]], old)
    for incident in settled:
        save_kept(store, incident, incident.pop("kept"))
        store.put_incident(incident)
    answer = {**answer, "incidents": settled}
    save_causes(store_url, answer["incidents"], answer["observed"]["ranks"])
    if folder is not None:
        (Path(folder) / f"{records.content_id(run)}.json").write_text(json.dumps(answer), "utf-8")


def save_kept(store: Store, incident: dict[str, Any], kept: Kept) -> None:
    """Write the evidence and the findings of an incident in the place of what it had before."""
    store.append("evidence", kept_records.evidence_batch(incident, kept), f"evidence-{incident['id']}")
    store.append("finding", kept_records.finding_batch(incident, kept), f"finding-{incident['id']}")


def save_causes(store_url: str, incidents: Iterable[dict[str, Any]], ranks: int) -> None:
    """Write the causes of incidents of one run flat, one record each, as tables and dashboards want them."""
    from pinchpoint.clock import parse_time

    for incident in incidents:
        causes = incident["causes"]
        if causes:
            size = len(causes)
            batch = records.batch("cause", {
                "@timestamp": [parse_time(incident["start"])] * size,
                "event.id": [f"{incident['id']}-{number}" for number in range(1, size + 1)],
                "run.id": [incident["run"]] * size, "run.workload": [incident["workload"]] * size,
                "incident.id": [incident["id"]] * size, "symptom.name": [incident["symptom"]["name"]] * size,
                "entity.kind": [one["entity"]["kind"] for one in causes], "entity.id": [one["entity"]["id"] for one in causes],
                "host.name": [incident["hosts"][0] if incident["hosts"] else None] * size,
                "cause.position": list(range(1, size + 1)), "cause.id": [one["id"] for one in causes],
                "cause.name": [one["cause"] for one in causes], "cause.category": [one["category"] for one in causes],
                "cause.confidence": [one["confidence"] for one in causes], "lost_seconds": [one["lost_seconds"] for one in causes],
                "lost_ratio": [one["share"] for one in causes],
                "lost_gpu_hours": [None if one["lost_seconds"] is None else one["lost_seconds"] * ranks / 3600 for one in causes],
                "cause.summary": [one["summary"] for one in causes], "cause.why": ["\n".join(one["why"]) for one in causes],
                "cause.fix": ["\n".join(one["fix"]) for one in causes],
            })
            open_store(store_url).append("cause", batch, f"cause-{incident['id']}")
