"""The critical path of a run: of each step the rank that arrives last, and what the step took along it."""

import dataclasses

import numpy as np
import pyarrow as pa

from pinchpoint import fields
from pinchpoint.clock import NS
from pipelines import groups
from pipelines.groups import Booleans, Floats, Integers

#: What is read of step records.
COLUMNS = ("@timestamp", "run.id", "run.workload", "rank", "world_size", "host.name", "gpu.uuid", "process.pid", "step", "duration_s",
           *(f"phase.{name}_s" for name in fields.PHASES), "cpu_s", "data_wait_cpu_s", "samples", "tokens", "batch_bytes")

#: The phases of a step, and the gap before it.
PARTS = (*fields.PHASES, "gap")


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """The step records of a slice as columns, sorted by run, rank and start."""

    run: Integers
    runs: list[str]
    workloads: list[str]
    rank: Integers
    start: Integers
    step: Integers
    duration: Floats
    phases: dict[str, Floats]
    host: Integers
    hosts: list[str]
    pid: Integers
    gpu: Integers
    gpus: list[str]
    columns: dict[str, Floats]


def load_steps(table: pa.Table) -> Steps:
    """Step records with at least `COLUMNS`; what is shorter than its phases lasts as long as these."""
    duration = groups.numbers(table, "duration_s")
    table = table.filter(pa.array(duration > 0))
    duration = duration[duration > 0]
    run, runs = groups.codes(table, "run.id")
    rank = groups.integers(table, "rank", 0)
    start = groups.integers(table, "@timestamp", 0)
    order = np.lexsort((start, rank, run))
    workload, workloads = groups.codes(table, "run.workload")
    host, hosts = groups.codes(table, "host.name")
    gpu, gpus = groups.codes(table, "gpu.uuid")
    step = groups.integers(table, "step", -1)[order]
    run, rank, start, duration = run[order], rank[order], start[order], duration[order]
    if (step < 0).any():
        step = np.where(step < 0, _ordinal(run, rank), step)
    phases = {name: groups.numbers(table, f"phase.{name}_s", 0.0)[order].clip(0) for name in fields.PHASES}
    measured = np.sum([phases[name] for name in fields.PHASES], axis=0)
    # clocks of phases and of steps differ by rounding: a step is at least as long as its phases
    duration = np.maximum(duration, measured)
    phases["other"] = phases["other"] + duration - measured
    of_run = ["" for _ in runs]
    for code, name in zip(*groups.group(run, workload[order])[1], strict=True):
        of_run[code] = of_run[code] or workloads[name]
    return Steps(run, runs, of_run, rank, start, step, duration, phases, host[order], hosts,
                  groups.integers(table, "process.pid", -1)[order], gpu[order], gpus,
                  {name: groups.numbers(table, name)[order]
                   for name in ("cpu_s", "data_wait_cpu_s", "samples", "tokens", "batch_bytes", "world_size")})


def _ordinal(run: Integers, rank: Integers) -> Integers:
    """Number the rows of each rank from 0; rows must be sorted by run and rank."""
    first = np.concatenate(([True], (run[1:] != run[:-1]) | (rank[1:] != rank[:-1])))
    starts = np.flatnonzero(first)
    return np.arange(len(run)) - np.repeat(starts, np.diff(np.append(starts, len(run))))


def gaps(steps: Steps, window: Integers) -> Floats:
    """Seconds between the end of the rank's last step and the start of this one, inside one window.

    Gaps between windows are taken from `first_start_s` and `last_end_s`, which know the slice before.
    """
    finish = steps.start + np.round(steps.duration * NS).astype(np.int64)
    gap = np.zeros(len(finish))
    same = (steps.run[1:] == steps.run[:-1]) & (steps.rank[1:] == steps.rank[:-1]) & (window[1:] == window[:-1])
    gap[1:] = np.where(same, (steps.start[1:] - finish[:-1]).clip(0) / NS, 0.0)
    return gap


@dataclasses.dataclass(frozen=True, slots=True)
class CriticalPath:
    """The steps of runs in order of run and step, shape (steps,)."""

    critical: Integers
    """Row of the record of the rank with the most time of its own."""
    communication: Floats
    """Seconds of communication of the rank that waited least."""
    wall: Floats
    """Seconds along the path: what the critical rank had of its own, and that communication."""
    skew: Floats
    """Seconds that the critical rank takes beyond the middle of the others."""
    begin: Integers
    """UTC ns at which the first rank began."""
    ranks: Integers
    """How many ranks did the step."""


def critical_path(steps: Steps, own: Floats, start: int, end: int) -> CriticalPath:
    """Of each step the rank that arrives last.

    Args:
        steps: of one slice.
        own: seconds of each record outside of collectives, gaps before it included.
        start: of the slice, UTC ns.
        end: of the slice; steps that ranks begin on both sides of its edges are counted once.
    """
    rows, (group_run, _, _) = groups.group(steps.run, steps.step, _occurrence(steps))
    count = len(group_run)
    rows, keep = _whole_groups(steps, rows, count, start, end)
    some = np.flatnonzero(np.bincount(rows[keep], minlength=count))
    renumber = np.full(count, -1)
    renumber[some] = np.arange(len(some))
    member = np.flatnonzero(keep)
    rows, count = renumber[rows[member]], len(some)
    # a group's ranks, slowest last
    order = member[np.lexsort((own[member], rows))]
    sizes = np.bincount(rows, minlength=count)
    first = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    critical = order[first + sizes - 1]
    others = sizes - 1
    middle = np.where(
        others > 0,
        (own[order[first + np.maximum(others - 1, 0) // 2]] + own[order[first + np.minimum(others // 2, np.maximum(others - 1, 0))]])
        / 2,
        own[critical],
    )
    communication = np.full(count, np.inf)
    np.minimum.at(communication, rows, steps.phases["communication"][member])
    wall = own[critical] + communication
    skew = np.maximum(own[critical] - middle, 0.0)
    begin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(begin, rows, steps.start[member])
    return CriticalPath(critical, communication, wall, skew, begin, sizes)


def _occurrence(steps: Steps) -> Integers:
    """How often this rank did this step before in the slice: work repeated after a restart is another step of the run."""
    order = np.lexsort((steps.start, steps.step, steps.rank, steps.run))
    run, rank, step = steps.run[order], steps.rank[order], steps.step[order]
    first = np.concatenate(([True], (run[1:] != run[:-1]) | (rank[1:] != rank[:-1]) | (step[1:] != step[:-1])))
    starts = np.flatnonzero(first)
    result = np.empty(len(order), np.int64)
    result[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return result


def _whole_groups(steps: Steps, rows: Integers, count: int, start: int, end: int) -> tuple[Integers, Booleans]:
    """Drop the halves of steps that straddle an edge of the slice, but for the half with the lowest rank of its run."""
    lowest = np.full(len(steps.runs), np.iinfo(np.int64).max)
    np.minimum.at(lowest, steps.run, steps.rank)
    highest_count = np.zeros(len(steps.runs), np.int64)
    sizes = np.bincount(rows, minlength=count)
    np.maximum.at(highest_count, steps.run, sizes[rows])
    has_lowest = np.zeros(count, bool)
    has_lowest[rows[steps.rank == lowest[steps.run]]] = True
    near = np.round(2 * steps.duration * NS).astype(np.int64)
    at_edge = (steps.start < start + near) | (steps.start + near >= end)
    half = at_edge & ~has_lowest[rows] & (sizes[rows] < highest_count[steps.run])
    return rows, ~half
