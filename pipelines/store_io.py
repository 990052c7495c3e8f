"""Beam's door to the store: slices in, features and incidents out."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection

from pinchpoint.store import Split
from pipelines import slices
from pipelines.keeping import read_whole, save_answer, save_features


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

    def expand(self, splits: PCollection[Split]) -> PCollection[pa.RecordBatch]:
        return (splits
                | "Reduce" >> beam.FlatMap(slices.reduce, store_url=self.store_url, window_s=self.window_s, run_id=None)
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
    """Records of one kind as they stand in the store."""

    store_url: str
    splits: list[Split]

    def expand(self, begin: PBegin) -> PCollection[pa.RecordBatch]:
        return (begin | "Slices" >> LoadSlices(self.splits)
                | "Read" >> beam.FlatMap(read_whole, store_url=self.store_url, run_id=None))


@dataclasses.dataclass
class SaveFeatures(beam.PTransform[PCollection[pa.RecordBatch], PCollection[None]]):
    """Feature batches into the store; the same slice again replaces what it wrote before."""

    store_url: str

    def expand(self, batches: PCollection[pa.RecordBatch]) -> PCollection[None]:
        return batches | "Save" >> beam.Map(save_features, store_url=self.store_url)


@dataclasses.dataclass
class SaveAnswers(beam.PTransform[PCollection[dict[str, Any]], PCollection[None]]):
    """Answers into the store as incidents."""

    store_url: str
    def expand(self, answers: PCollection[dict[str, Any]]) -> PCollection[None]:
        return answers | "Save" >> beam.Map(_save_answer, store_url=self.store_url)


def _save_answer(answer: dict[str, Any], store_url: str) -> None:
    save_answer(answer, store_url)
