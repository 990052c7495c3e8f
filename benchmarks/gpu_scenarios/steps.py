"""Let the ranks of a world do their steps."""

import numpy as np
import pyarrow as pa

from benchmarks.gpu_scenarios.world import Floats, World
from pinchpoint import records
from pinchpoint.clock import NS

START = 1_767_225_600 * NS
RUN = "gpu-run"


def step_records(world: World, *, names_gpu: bool) -> tuple[pa.RecordBatch, Floats]:
    """The steps of all ranks, and the share of each second in which the GPUs worked, shape (seconds,).

    The ranks leave each step together: who has less to do waits in the collective, which counts as communication.
    """
    random, ranks = world.random, world.fleet.gpus
    speed = world.clock_bound / world.clock + (1 - world.clock_bound)
    compute_factor = speed * world.slower
    begin, rows, working = 0.0, [], np.zeros(world.seconds + 1)
    pauses, number = sorted(world.pauses), 0
    steady = np.exp(random.normal(0, world.rank_noise / 2, ranks))
    while begin < world.seconds - 1:
        if pauses and begin >= pauses[0][0]:
            begin += pauses.pop(0)[1]
            continue
        second = int(begin)
        together = np.exp(random.normal(0, world.step_noise) + random.normal(0, world.uneven_together))
        work = np.exp(random.normal(0, world.uneven, ranks)) if world.uneven else np.ones(ranks)
        each = np.exp(random.normal(0, world.rank_noise, ranks)) * steady
        compute = world.compute_s * compute_factor[second] * together * each * work
        copy = world.h2d_s * world.copies[second] * np.exp(random.normal(0, 0.05, ranks))
        wait = world.data_wait_s * random.gamma(4, 0.25, ranks)
        other = np.full(ranks, world.other_s)
        saves = world.checkpoint_every and number and number % world.checkpoint_every == 0
        checkpoint = np.full(ranks, min(2.0 * world.step_s, 1.8) if saves else 0.0)
        own = compute + copy + wait + other + checkpoint
        collective = world.communication_s * world.collectives[second] * np.exp(random.normal(0, 0.05))
        wall = float(own.max() + collective)
        rows.append((begin, number, wall, compute, copy, wait, other, checkpoint, wall - own, 8192 * work * together))
        _work(working, begin, wall - float(checkpoint.max()))
        begin += wall + 0.0005 * world.step_s
        number += 1
    return _batch(world, rows, names_gpu), np.minimum(working[: world.seconds], 1.0)


def _work(working: Floats, begin: float, length: float) -> None:
    """Enter a stretch of work into the seconds it covers."""
    first, last = int(begin), min(int(begin + length), len(working) - 1)
    if first == last:
        working[first] += length
        return
    working[first] += first + 1 - begin
    working[first + 1: last] += 1.0
    working[last] += begin + length - last


def _batch(world: World, rows: list[tuple], names_gpu: bool) -> pa.RecordBatch:  # type: ignore[type-arg]
    ranks, steps = world.fleet.gpus, len(rows)
    starts = np.array([row[0] for row in rows])
    compute, copy, wait, other, checkpoint, collective, tokens = (np.concatenate([row[place] for row in rows]) for place in range(3, 10))
    parts = {"forward": 0.33, "backward": 0.62, "optimizer": 0.05} if world.split_phases else {"compute": 1.0}
    rank = np.tile(np.arange(ranks), steps)
    return records.batch("step", {
        "@timestamp": START + np.round(np.repeat(starts, ranks) * NS).astype(np.int64),
        "event.id": [f"{one}-{number}" for number in range(steps) for one in range(ranks)],
        "run.id": [RUN] * len(rank), "rank": rank, "world_size": [ranks] * len(rank),
        "host.name": [f"node-{world.fleet.host_of(one)}" for one in rank], "process.pid": 4000 + rank % world.fleet.each,
        **({"gpu.uuid": [world.uuids[one] for one in rank]} if names_gpu else {}),
        "step": np.repeat([row[1] for row in rows], ranks), "duration_s": np.repeat([row[2] for row in rows], ranks),
        **{f"phase.{name}_s": compute * share for name, share in parts.items()},
        "phase.h2d_s": copy, "phase.data_wait_s": wait, "phase.other_s": other, "phase.checkpoint_s": checkpoint,
        "phase.communication_s": collective, "tokens": np.round(tokens).astype(np.int64),
    })
