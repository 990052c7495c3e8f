"""The analysis as others call it: of one run or of a whole store, in this process."""

from typing import Any

from models import verdict
from pinchpoint.clock import NS
from pinchpoint.config import Config
from pinchpoint.store import open_store
from pipelines.quiet import quiet_beam
from pipelines.runs import Question, window_for


def diagnose_run(store_url: str, run_id: str | None = None, config: Config | None = None) -> dict[str, Any]:
    """The verdict on one run of a store, or on all its runs together.

    Args:
        store_url: where the records are.
        run_id: the run; None for every run.
        config: settings; None for the defaults.
    Returns: the verdict, with `inputs` left empty for the caller to fill.
    """
    quiet_beam()
    # Beam takes seconds to load: whoever only ships never pays for it
    from pipelines import jobs

    settings = config or Config()
    splits = jobs.plan(open_store(store_url), jobs.Span(run_id=run_id))
    steps = splits["step"]
    span_s = (steps[-1].end - steps[0].start) / NS if steps else 0.0
    if len(steps) == 1:
        span_s = _span_s(store_url, run_id)
    question = Question(window_for(span_s), settings.analysis.min_slowdown, tuple(map(str, settings.causes.paths)))
    return verdict.whole(jobs.answers(store_url, splits, question, run_id), [])


def _span_s(store_url: str, run_id: str | None) -> float:
    """Seconds from the first step to the last; slices alone are too coarse to tell that of a short run."""
    import pyarrow.compute as pc

    store = open_store(store_url)
    first, last = None, None
    for split in store.splits("step"):
        for batch in store.read(split, ["@timestamp", "run.id"]):
            times = batch.column("@timestamp") if run_id is None else batch.filter(pc.equal(batch.column("run.id"), run_id)).column(0)
            if len(times):
                ends = pc.min_max(times.cast("int64")).as_py()
                first = ends["min"] if first is None else min(first, ends["min"])
                last = ends["max"] if last is None else max(last, ends["max"])
    return 0.0 if first is None or last is None else (last - first) / NS
