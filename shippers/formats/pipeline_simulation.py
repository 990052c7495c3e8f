"""What a pipeline-parallel job would take without its stragglers: a simulation of its operations.

Source: "Understanding Stragglers in Large Model Training Using What-if Analysis" (OSDI'25, arXiv 2505.05713). The operations of a
step form a graph: a worker computes in the order it did, a microbatch waits for the stage before (forward) or behind (backward), and
collectives wait for their group. Idealised, each computation takes the mean of its kind over all workers and steps, each transfer
the median of its kind, from when the last of the group was there.

Ours differs in one respect: transfers between stages take their median in every scenario, since a send and a receive that are launched
together are recorded as one, with the wait for both.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FORWARD, BACKWARD = "forward-compute", "backward-compute"
#: M_W fixes this share of the workers, the slowest ones, at least one (section 5.2 of the paper).
WORST_SHARE = 0.03


@dataclasses.dataclass(frozen=True, slots=True)
class Computation:
    """One forward or backward pass of a microbatch through a part of the model, over all steps."""

    worker: int
    kind: str
    chunk: int
    """Place of the part in the model, from 0."""
    microbatch: int
    seconds: Floats
    """Shape (steps,)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """One kind of operation of a worker outside the passes, over all steps: a collective or the optimizer."""

    kind: str
    seconds: Floats
    """Shape (workers, steps): from when the last of the group was there; 0 where a worker has none."""
    group: NDArray[np.int64]
    """Shape (workers,): workers with the same number wait for each other; each its own where nobody waits."""
    computes: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """The operations of a job: those of each worker in order, before and after the passes."""

    workers: list[tuple[int, int]]
    """(dp_rank, stage) of each worker."""
    passes: list[list[Computation]]
    """Of each worker, in the order it ran them."""
    before: list[Ending]
    after: list[Ending]
    transfer_s: dict[str, float]
    """Median of a transfer between stages, by the kind of pass it is for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Impact:
    """What stragglers cost. `slowdown` S = T / T_ideal; M_W and M_S the shares of T - T_ideal that go away when the slowest workers,
    or the last stage, take ideal times.
    """

    slowdown: float
    worst_workers: float
    last_stage: float
    worst: tuple[int, ...]
    """Places of the slowest workers."""


def impact(job: Job) -> Impact:
    """Simulate the job as it was, ideal, and with its slowest workers and its last stage fixed."""
    ideal = _ideal(job)
    load = np.array([sum(float(np.mean(one.seconds)) / ideal[one.kind] for one in passes) for passes in job.passes])
    count = max(round(WORST_SHARE * len(job.workers)), 1)
    worst = set(np.argsort(-load, kind="stable")[:count].tolist())
    last = max(stage for _, stage in job.workers)
    original = _run(job, ideal, lambda worker: False)
    best = _run(job, ideal, lambda worker: True)
    lost = original - best
    fixed = [_run(job, ideal, lambda worker: worker in worst), _run(job, ideal, lambda worker: job.workers[worker][1] == last)]
    shares = [(original - one) / lost if lost > 0.005 * best else 0.0 for one in fixed]
    return Impact(original / best, shares[0], shares[1], tuple(sorted(worst)))


def _ideal(job: Job) -> dict[str, float]:
    """Seconds of each kind of operation without stragglers."""
    found: dict[str, list[Floats]] = {}
    for passes in job.passes:
        for one in passes:
            found.setdefault(one.kind, []).append(one.seconds)
    ideal = {kind: float(np.mean(seconds)) for kind, seconds in found.items()}
    for ending in (*job.before, *job.after):
        some = ending.seconds[ending.seconds > 0]
        ideal[ending.kind] = float(np.mean(some) if ending.computes else np.median(some)) if len(some) else 0.0
    return ideal


def _run(job: Job, ideal: dict[str, float], fixed: Callable[[int], bool]) -> float:
    """Mean seconds of a step when the workers that are `fixed` take ideal times."""
    steps = len(job.passes[0][0].seconds)
    repaired = np.array([fixed(worker) for worker in range(len(job.workers))])
    ready = np.zeros((len(job.workers), steps))
    for ending in job.before:
        _end(ready, ending, ideal, repaired)
    done: dict[tuple[int, str, int, int], Floats] = {}
    place = [0] * len(job.workers)
    last = max(one.chunk for passes in job.passes for one in passes)
    moved = True
    while moved:
        moved = False
        for worker, passes in enumerate(job.passes):
            while place[worker] < len(passes):
                one = passes[place[worker]]
                needs = one.chunk + (-1 if one.kind == FORWARD else 1)
                dp = job.workers[worker][0]
                start = ready[worker]
                if 0 <= needs <= last:
                    before = done.get((dp, one.kind, needs, one.microbatch))
                    if before is None:
                        break
                    start = np.maximum(start, before + job.transfer_s.get(one.kind, 0.0))
                ready[worker] = start + (ideal[one.kind] if repaired[worker] else one.seconds)
                done[dp, one.kind, one.chunk, one.microbatch] = ready[worker].copy()
                place[worker] += 1
                moved = True
    if any(at < len(passes) for at, passes in zip(place, job.passes, strict=True)):
        raise ValueError("operations wait for others that are not in the table")
    for ending in job.after:
        _end(ready, ending, ideal, repaired)
    return float(ready.max(axis=0).mean())


def _end(ready: Floats, ending: Ending, ideal: dict[str, float], repaired: NDArray[np.bool_]) -> None:
    mine = (ending.seconds > 0).any(axis=1)
    for group in np.unique(ending.group[mine]):
        members = np.flatnonzero(mine & (ending.group == group))
        ready[members] = ready[members].max(axis=0)
    seconds = np.where(repaired[:, None], ideal[ending.kind], ending.seconds)
    ready[mine] += seconds[mine]
