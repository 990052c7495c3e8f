"""A run of two ranks for tests: rank 1 gets slow after a while, as a GPU would make it, and the other waits for it.

python gpu_training.py SECONDS SLOW_FROM RATIO
"""

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier

import pinchpoint

_STEP_S = 0.04


def train(rank: int, barrier: Barrier, limits: tuple[float, float, float]) -> None:
    """Compute and meet, until the time is over."""
    run_s, slow_from_s, ratio = limits
    run = pinchpoint.start(rank=rank, world_size=2)
    begin = time.monotonic()
    # all ranks make as many steps: how many follows from the time that each takes
    steps = round(min(slow_from_s, run_s) / _STEP_S + max(run_s - slow_from_s, 0.0) / _STEP_S / ratio)
    for _ in range(steps):
        slow = rank == 1 and time.monotonic() - begin >= slow_from_s
        with run.step(samples=8):
            with run.phase("forward"):
                time.sleep(_STEP_S * (ratio if slow else 1.0))
            with run.phase("communication"):
                barrier.wait()
    run.close()


if __name__ == "__main__":
    seconds, slow_from, slower = map(float, sys.argv[1:])
    context = multiprocessing.get_context("fork")
    meet = context.Barrier(2)
    ranks = [context.Process(target=train, args=(rank, meet, (seconds, slow_from, slower))) for rank in range(2)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
