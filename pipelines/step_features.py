"""Reduce step records to features of each rank and of the run, window by window."""

from typing import Any

import numpy as np
import pyarrow as pa

from pinchpoint import records
from pinchpoint.clock import NS
from pipelines import groups
from pipelines.critical_path import PARTS, Steps, critical_path, gaps, load_steps
from pipelines.groups import Floats, Integers
from pipelines.maps import feature_map

#: How many of the longest steps of a window are kept one by one: enough to see a period, little enough for 10,000 GPUs.
SLOW_STEPS = 16
#: A phase of a step is a spike when it exceeds this many times the median of its window, and a tenth of the step time.
SPIKE_RATIO = 3.0

#: Phases that make up the model's own work.
COMPUTE = ("forward", "backward", "optimizer", "compute")


def step_features(table: pa.Table, window_s: float, start: int, end: int) -> pa.RecordBatch:
    """Features of ranks and runs from the step records of one slice.

    Waiting in a collective belongs to the rank that arrives last: a step of the run takes as long as its critical rank, the one
    with the most time of its own, plus the communication of the rank that waited least. So the phases of the critical ranks and
    that communication add up to the wall time of the run.

    Args:
        table: step records with at least `critical_path.COLUMNS`.
        window_s: length of a window; slices must begin and end at multiples of it.
        start: of the slice, UTC ns.
        end: of the slice; steps that ranks begin on both sides of its edges are counted once.
    Returns: feature records with entity.kind `rank` and `run`; docs/architecture.md lists the features.
    """
    steps = load_steps(table)
    if not len(steps.start):
        return records.batch("feature", {"@timestamp": []})
    window = steps.start // round(window_s * NS)
    gap = gaps(steps, window)
    steps.phases["gap"] = gap
    communication = steps.phases["communication"]
    own = steps.duration + gap - communication
    runs = _run_columns(steps, own, window_s, start, end)
    ranks = _rank_columns(steps, own, window, window_s, runs.pop("_critical"), runs.pop("_skew"))
    return _batch([ranks, runs])


def _run_columns(steps: Steps, own: Floats, window_s: float, start: int, end: int) -> dict[str, Any]:
    """Features of the run: the critical path over all ranks."""
    path = critical_path(steps, own, start, end)
    critical, communication, wall, skew, begin = path.critical, path.communication, path.wall, path.skew, path.begin
    count = len(critical)
    window = begin // round(window_s * NS)
    rows_w, (run_w, start_w) = groups.group(steps.run[critical], window)
    size = len(run_w)
    features: dict[str, Floats] = {
        "steps": np.bincount(rows_w, minlength=size).astype(float),
        "ranks": groups.median(path.ranks.astype(float), rows_w, size),
        "wall_s": groups.total(wall, rows_w, size),
        "step_time_p50_s": groups.median(wall, rows_w, size),
        "skew_s": groups.total(skew, rows_w, size),
        "first_start_s": _lowest(begin, rows_w, size, start_w, window_s),
        "last_end_s": _highest(begin + np.round((wall - steps.phases["gap"][critical]) * NS).astype(np.int64), rows_w, size, start_w,
                               window_s),
    }
    middle_step = features["step_time_p50_s"][rows_w]
    worst, most = np.zeros(count, np.int64), np.full(count, -np.inf)
    for place, name in enumerate(PARTS):
        value = communication if name == "communication" else steps.phases[name][critical]
        if not value.any():
            continue
        usual = groups.median(value, rows_w, size)[rows_w]
        spike = (value > SPIKE_RATIO * usual) & (value > 0.1 * middle_step)
        features[f"phase.{name}_s"] = groups.total(value, rows_w, size)
        features[f"phase_steps.{name}"] = groups.total((value > 0.0).astype(float), rows_w, size)
        features[f"spike_steps.{name}"] = groups.total(spike.astype(float), rows_w, size)
        features[f"spike.{name}_s"] = groups.total(np.where(spike, value - usual, 0.0), rows_w, size)
        worst, most = np.where(value - usual > most, place, worst), np.maximum(value - usual, most)
    return {"_critical": critical, "_skew": skew, "run": [steps.runs[code] for code in run_w],
            "workload": [steps.workloads[code] for code in run_w], "kind": "run", "id": [steps.runs[code] for code in run_w],
            "host": None, "rank": None, "labels": None, "start": start_w * round(window_s * NS), "window_s": window_s, "features": features,
            "slow": _slow_steps(steps.step[critical], wall, worst, rows_w, size)}


def _lowest(time: Integers, rows: Integers, size: int, window: Integers, window_s: float) -> Floats:
    result = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(result, rows, time)
    return (result - window * round(window_s * NS)) / NS


def _highest(time: Integers, rows: Integers, size: int, window: Integers, window_s: float) -> Floats:
    result = np.full(size, np.iinfo(np.int64).min)
    np.maximum.at(result, rows, time)
    return (result - window * round(window_s * NS)) / NS


def _slow_steps(step: Integers, wall: Floats, worst: Integers, rows: Integers, size: int) -> list[list[dict[str, Any]]]:
    order = np.lexsort((-wall, rows))
    starts = np.searchsorted(rows[order], np.arange(size + 1))
    return [[{"step": int(step[row]), "duration_s": float(wall[row]), "phase": PARTS[worst[row]]}
             for row in order[starts[number]:min(starts[number + 1], starts[number] + SLOW_STEPS)]] for number in range(size)]


def _rank_columns(steps: Steps, own: Floats, window: Integers, window_s: float, critical: Integers, skew: Floats) -> dict[str, Any]:
    """Features of each rank: its own sums, and how often and by how much it was the last to arrive."""
    rows, (run, rank, start) = groups.group(steps.run, steps.rank, window)
    size = len(run)
    is_critical, late = np.zeros(len(own)), np.zeros(len(own))
    is_critical[critical] = 1.0
    late[critical] = skew
    compute = np.sum([steps.phases[name] for name in COMPUTE], axis=0)
    if not compute.any():  # no phases measured: all that is not known to be waste may be the model's work
        compute = steps.phases["other"]
    work = np.where(np.isnan(steps.columns["tokens"]), steps.columns["samples"], steps.columns["tokens"])
    paired = ~np.isnan(work)
    features: dict[str, Floats] = {
        "steps": np.bincount(rows, minlength=size).astype(float),
        "wall_s": groups.total(steps.duration + steps.phases["gap"], rows, size),
        "own_s": groups.total(own, rows, size),
        "own_p50_s": groups.median(own, rows, size),
        "critical_steps": groups.total(is_critical, rows, size),
        "skew_s": groups.total(late, rows, size),
        "compute_s": groups.total(compute, rows, size),
        "compute_squared": groups.total(compute**2, rows, size),
        "work": groups.total(work, rows, size),
        "work_squared": groups.total(work**2, rows, size),
        "work_compute": groups.total(work * compute, rows, size),
        "work_steps": groups.total(paired.astype(float), rows, size),
        **{name: groups.total(steps.columns[name], rows, size) for name in ("cpu_s", "data_wait_cpu_s", "samples", "tokens",
                                                                            "batch_bytes")},
        **{f"phase.{name}_s": groups.total(steps.phases[name], rows, size) for name in PARTS if steps.phases[name].any()},
    }
    for name in ("cpu_s", "data_wait_cpu_s", "samples", "tokens", "batch_bytes"):
        # absent is not zero: nobody measured it
        features[name][groups.total((~np.isnan(steps.columns[name])).astype(float), rows, size) == 0] = np.nan
    last = np.zeros(size, np.int64)
    last[rows] = np.arange(len(rows))
    return {"run": [steps.runs[code] for code in run], "workload": [steps.workloads[code] for code in run], "kind": "rank",
            "id": [str(number) for number in rank], "host": [steps.hosts[code] for code in steps.host[last]], "rank": rank,
            "labels": [_rank_labels(int(steps.pid[row]), steps.gpus[steps.gpu[row]]) for row in last],
            "start": start * round(window_s * NS), "window_s": window_s, "features": features, "slow": None}


def _rank_labels(pid: int, gpu: str) -> list[tuple[str, str]] | None:
    """What tells a rank's process and GPU; None when neither is known."""
    return [*([("process.pid", str(pid))] if pid >= 0 else []), *([("gpu.uuid", gpu)] if gpu else [])] or None


def _batch(parts: list[dict[str, Any]]) -> pa.RecordBatch:
    batches = []
    for part in parts:
        size = len(part["start"])
        batches.append(records.batch("feature", {
            "@timestamp": part["start"],
            "event.id": [records.content_id(run, part["kind"], entity, part["window_s"], begin)
                         for run, entity, begin in zip(part["run"], part["id"], part["start"], strict=True)],
            "run.id": part["run"], "run.workload": [name or None for name in part["workload"]],
            "window_s": np.full(size, part["window_s"]),
            "entity.kind": [part["kind"]] * size, "entity.id": part["id"],
            "host.name": part["host"] if part["host"] is not None else [None] * size,
            "rank": part["rank"] if part["rank"] is not None else pa.nulls(size, pa.int64()),
            "features": feature_map(part["features"], size),
            "slow_steps": part["slow"] if part["slow"] is not None else [None] * size,
            "labels": part["labels"] if part["labels"] is not None else [None] * size,
        }))
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
