"""The steps of the analysis between the store and the store."""

import dataclasses
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsList, PCollection

from pipelines import runs
from pipelines.runs import Question


@dataclasses.dataclass
class GroupByRun(beam.PTransform[PCollection[pa.RecordBatch], PCollection[tuple[str, Any]]]):
    """Batches of features and events in; each run with all that concerns it out.

    `fresh` are the features that were made now: only their runs are explained again.
    """

    fresh: PCollection[pa.RecordBatch]
    runless_from: int
    """From when on what belongs to no run is answered for too, UTC ns."""

    def expand(self, batches: PCollection[pa.RecordBatch]) -> PCollection[tuple[str, Any]]:
        names = self.fresh | "Runs" >> beam.FlatMap(runs.runs_of) | "Each run once" >> beam.Distinct()
        places = batches | "Places" >> beam.FlatMap(_places_of) | "Each place once" >> beam.Distinct()
        return (batches
                | "Concerned" >> beam.FlatMap(runs.by_run, AsList(names), AsList(places), self.runless_from)
                | "Together" >> beam.GroupByKey())


def _places_of(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    return [] if "event.action" in batch.schema.names else runs.places_of(batch)


@dataclasses.dataclass
class ExplainRuns(beam.PTransform[PCollection[tuple[str, Any]], PCollection[dict[str, Any]]]):
    """Runs in, answers out."""

    question: Question

    def expand(self, grouped: PCollection[tuple[str, Any]]) -> PCollection[dict[str, Any]]:
        return grouped | "Explain" >> beam.Map(runs.explain, question=self.question)
