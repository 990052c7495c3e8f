"""The one Beam job behind `analyze`, `diagnose` and `watch`."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pinchpoint.store import Split, Store
from pipelines.runs import Question, aligned
from pipelines.store_io import LoadRecords, LoadSlices, ReduceSlices, SaveAnswers, SaveFeatures
from pipelines.transforms import ExplainRuns, GroupByRun

#: Slices end at multiples of this, which every window divides.
ALIGN_S = 300.0
#: Records of a slice: some dozen MB a worker.
SLICE_RECORDS = 250_000
REDUCED = ("step", "metric", "log")
#: Before any record.
BEGINNING = -(1 << 62)


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """What part of the store is analysed."""

    start: int | None = None
    """UTC ns, inclusive; None from the beginning."""
    end: int | None = None
    run_id: str | None = None


def plan(store: Store, span: Span) -> dict[str, list[Split]]:
    """The slices to read, by kind: new records of the span, and features and events of the time before it."""
    start = None if span.start is None else aligned(span.start, ALIGN_S)
    found = {kind: store.splits(kind, start, span.end, align_s=ALIGN_S, records=SLICE_RECORDS) for kind in REDUCED}
    found["event"] = store.splits("event", None, span.end, align_s=ALIGN_S, records=SLICE_RECORDS)
    found["feature"] = [] if start is None else store.splits("feature", None, start, align_s=ALIGN_S, records=SLICE_RECORDS)
    return found


def reaches_to(splits: dict[str, list[Split]]) -> int | None:
    """Up to where the slices reach (UTC ns); None when there are none."""
    return max((split.end for kind in REDUCED for split in splits[kind]), default=None)


def new_from(splits: dict[str, list[Split]]) -> int:
    """From when on the slices hold what was not analysed before (UTC ns)."""
    return min((split.start for kind in REDUCED for split in splits[kind]), default=BEGINNING)


def analyse(pipeline: beam.Pipeline, store_url: str, splits: dict[str, list[Split]], question: Question, run_id: str | None,
            folder: str | None) -> None:
    """Records to features to incidents, once: what was analysed before is read as features."""
    fresh = (pipeline
             | "New slices" >> LoadSlices([split for kind in REDUCED for split in splits[kind]])
             | "To features" >> ReduceSlices(store_url, question.window_s, run_id))
    fresh | "Keep features" >> SaveFeatures(store_url)
    past = pipeline | "Past features" >> LoadRecords(store_url, splits["feature"], run_id)
    events = pipeline | "Events" >> LoadRecords(store_url, splits["event"], run_id)
    ((fresh, past, events)
     | "All" >> beam.Flatten()
     | "By run" >> GroupByRun(fresh, None if run_id is not None else new_from(splits))
     | "Answers" >> ExplainRuns(question)
     | "Keep answers" >> SaveAnswers(store_url, folder))


#: Beam's runners by our names. "DirectRunner" would try to fetch Prism's program first, which fails where there is no way out.
RUNNERS = {"direct": "apache_beam.runners.portability.fn_api_runner.FnApiRunner", "prism": "PrismRunner", "flink": "FlinkRunner",
           "spark": "SparkRunner", "dataflow": "DataflowRunner"}


def run(store_url: str, splits: dict[str, list[Split]], question: Question, options: PipelineOptions, runner: str) -> None:
    """Run the job to its end; its answers are in the store then.

    Raises: KeyError for a runner that `RUNNERS` does not know.
    """
    with beam.Pipeline(runner=RUNNERS[runner], options=options) as pipeline:
        analyse(pipeline, store_url, splits, question, None, None)


def answers(store_url: str, splits: dict[str, list[Split]], question: Question, run_id: str | None) -> list[dict[str, Any]]:
    """Run the job in this process and return the answer of each run, in order of the runs' names."""
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        with beam.Pipeline(runner=RUNNERS["direct"], options=PipelineOptions([])) as pipeline:
            analyse(pipeline, store_url, splits, question, run_id, folder)
        found = [json.loads(path.read_text("utf-8")) for path in Path(folder).glob("*.json")]
    return sorted(found, key=lambda answer: str(answer["observed"]["run"]))
