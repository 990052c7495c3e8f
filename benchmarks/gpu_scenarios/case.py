"""Make one scenario of a seed, and ask for its verdict without a pipeline around it."""

import dataclasses
import zlib
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.gpu_scenarios.fleet import Fleet, draw_fleet
from benchmarks.gpu_scenarios.healthy import distract
from benchmarks.gpu_scenarios.readings import draw_equipment, metric_records
from benchmarks.gpu_scenarios.scenarios import Scenario, gpus_of
from benchmarks.gpu_scenarios.steps import RUN, START, step_records
from benchmarks.gpu_scenarios.world import draw_world
from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.metric_features import metric_features
from pipelines.runs import Question, explain, window_for
from pipelines.step_features import step_features


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """The records of a run, and to whom something happened."""

    steps: pa.RecordBatch
    metrics: list[pa.RecordBatch]
    events: pa.RecordBatch
    uuids: tuple[str, ...]
    """The GPUs it happened to."""
    ranks: tuple[int, ...]
    about: str


def begin(scenario: Scenario, seed: int) -> tuple[np.random.Generator, Fleet]:
    """What all else is drawn from, and the fleet, which is drawn first."""
    random = np.random.default_rng([seed, zlib.crc32(scenario.name.encode())])
    return random, draw_fleet(random, least_gpus=scenario.least_gpus, least_hosts=scenario.least_hosts, nvlink=scenario.nvlink)


def make(scenario: Scenario, seed: int) -> Case:
    """The same records for the same scenario and seed."""
    random, fleet = begin(scenario, seed)
    world = draw_world(random, fleet, from_start=scenario.from_start)
    gpus = gpus_of(scenario, fleet, random)
    if scenario.cause is not None or scenario.never:
        distract(world, gpus)
    scenario.change(world, gpus)
    how = random.random()
    if how >= 0.6 and how < 0.8:
        for gpu in range(fleet.gpus):
            world.event(0, "job_assigned", "", fleet.host_of(gpu), **{"gpu.index": str(gpu % fleet.each), "rank": str(gpu)})
    steps, working = step_records(world, names_gpu=how < 0.6)
    metrics = metric_records(world, working, draw_equipment(random, world))
    about = f"{fleet.hosts} x {fleet.each} {fleet.model.name}, {world.seconds} s, each {world.interval_s:g} s, from {world.begin} s"
    return Case(steps, metrics, _events(world.events), tuple(world.uuids[gpu] for gpu in gpus), tuple(gpus), about)


def _events(found: list[dict[str, Any]]) -> pa.RecordBatch:
    ranks = [event["labels"].pop("rank", None) for event in found]
    return records.batch("event", {
        "@timestamp": [START + round(event["second"] * NS) for event in found],
        "event.id": [f"event-{number}" for number in range(len(found))],
        "event.action": [event["action"] for event in found], "event.reason": [event["reason"] or None for event in found],
        "host.name": [None if event["host"] is None else f"node-{event['host']}" for event in found],
        "rank": pa.array([None if rank is None else int(rank) for rank in ranks], pa.int64()),
        "labels": [list(event["labels"].items()) for event in found]})


def verdict(case: Case) -> dict[str, Any]:
    """The answer for one case, by the functions that the pipeline calls."""
    times = np.asarray(case.steps.column("@timestamp").cast(pa.int64()).to_numpy())
    window_s = window_for((int(times.max()) - int(times.min())) / NS)
    features = [step_features(pa.Table.from_batches([case.steps]), window_s, START, START + 10**6 * NS),
                *(metric_features(pa.Table.from_batches([batch]), window_s) for batch in case.metrics)]
    return explain((RUN, [*features, *([case.events] if case.events.num_rows else [])]), Question(window_s))
