"""The Beam job behind `analyze`."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pinchpoint.store import Split
from pipelines.planning import REDUCED, new_from
from pipelines.runs import Question
from pipelines.store_io import LoadRecords, LoadSlices, ReduceSlices, SaveAnswers, SaveFeatures
from pipelines.transforms import ExplainRuns, GroupByRun


def analyse(pipeline: beam.Pipeline, store_url: str, splits: dict[str, list[Split]], question: Question) -> None:
    """Records to features to incidents, once: what was analysed before is read as features."""
    fresh = (pipeline
             | "New slices" >> LoadSlices([split for kind in REDUCED for split in splits[kind]])
             | "To features" >> ReduceSlices(store_url, question.window_s))
    fresh | "Keep features" >> SaveFeatures(store_url)
    past = pipeline | "Past features" >> LoadRecords(store_url, splits["feature"])
    events = pipeline | "Events" >> LoadRecords(store_url, splits["event"])
    ((fresh, past, events)
     | "All" >> beam.Flatten()
     | "By run" >> GroupByRun(fresh, new_from(splits))
     | "Answers" >> ExplainRuns(question)
     | "Keep answers" >> SaveAnswers(store_url))


#: Beam's runners by our names. "DirectRunner" would try to fetch Prism's program first, which fails where there is no way out.
RUNNERS = {"direct": "apache_beam.runners.portability.fn_api_runner.FnApiRunner", "prism": "PrismRunner", "flink": "FlinkRunner",
           "spark": "SparkRunner", "dataflow": "DataflowRunner"}


def run(store_url: str, splits: dict[str, list[Split]], question: Question, options: PipelineOptions, runner: str) -> None:
    """Run the job to its end; its answers are in the store then.

    Raises: KeyError for a runner that `RUNNERS` does not know.
    """
    with beam.Pipeline(runner=RUNNERS[runner], options=options) as pipeline:
        analyse(pipeline, store_url, splits, question)
