"""The analysis as others call it: of one run or of a whole store, in this process.

The same steps as those of the Beam job, one after the other: loading Beam and laying out a pipeline takes longer than reading most
recorded inputs.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from models import verdict
from pinchpoint.clock import NS
from pinchpoint.config import Config
from pinchpoint.store import Split, open_store
from pipelines import keeping, planning, runs, slices
from pipelines.runs import Question, window_for

#: Sorting and sums leave the interpreter free; each worker holds one slice.
_WORKERS = 2


def diagnose_run(store_url: str, run_id: str | None = None, config: Config | None = None) -> dict[str, Any]:
    """The verdict on one run of a store, or on all its runs together.

    Args:
        store_url: where the records are.
        run_id: the run; None for every run.
        config: settings; None for the defaults.
    Returns: the verdict, with `inputs` left empty for the caller to fill.
    """
    return verdict.whole(answers(store_url, run_id, config), [])


def answers(store_url: str, run_id: str | None = None, config: Config | None = None) -> list[dict[str, Any]]:
    """The answer of each run of a store, in order of the runs' names; features and incidents are in the store then."""
    settings = config or Config()
    splits, window_s = _planned(store_url, run_id)
    question = Question(window_s, settings.analysis.min_slowdown, tuple(map(str, settings.causes.paths)))
    found = [keeping.save_answer(runs.explain(one, question), store_url)
             for one in _by_run(store_url, splits, window_s, run_id).items()]
    return sorted(found, key=lambda answer: str(answer["observed"]["run"]))


def _planned(store_url: str, run_id: str | None) -> tuple[dict[str, list[Split]], float]:
    """What is to be read, and the window that suits how long it is."""
    splits = planning.plan(open_store(store_url), planning.Span(run_id=run_id))
    steps = splits["step"]
    span_s = (steps[-1].end - steps[0].start) / NS if steps else 0.0
    return splits, window_for(_span_s(store_url, run_id) if len(steps) == 1 else span_s)


def _by_run(store_url: str, splits: dict[str, list[Split]], window_s: float, run_id: str | None) -> dict[str, list[pa.RecordBatch]]:
    """Features and events of each run that has any, and of what surrounds it."""
    fresh = [split for kind in planning.REDUCED for split in splits[kind]]
    with ThreadPoolExecutor(_WORKERS) as pool:
        reduced = pool.map(lambda split: list(slices.reduce(split, store_url, window_s, run_id)), fresh)
        features = list(itertools.chain.from_iterable(reduced))
    for batch in features:
        keeping.save_features(batch, store_url)
    events = [batch for split in splits["event"] for batch in keeping.read_whole(split, store_url, run_id)]
    names = {name for batch in features for name in runs.runs_of(batch)}
    places = {place for batch in features for place in runs.places_of(batch)}
    runless_from = None if run_id is not None else planning.new_from(splits)
    found: dict[str, list[pa.RecordBatch]] = {}
    for batch in features + events:
        for name, mine in runs.by_run(batch, names, places, runless_from):
            found.setdefault(name, []).append(mine)
    return found


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
