"""Healthy runs with something tempting about them."""

import numpy as np

from benchmarks.gpu_scenarios.faults import Gpus
from benchmarks.gpu_scenarios.world import World


def plain(world: World, gpus: Gpus) -> None:
    """Nothing special."""


def capped_each_minute(world: World, gpus: Gpus) -> None:
    """For some seconds of each minute the power limit holds all GPUs back a little."""
    on = np.arange(world.seconds) % 60 < world.random.integers(3, 9)
    world.capped[on] = 0.9
    world.clock[on] = 0.94


def capped_at_the_default(world: World, gpus: Gpus) -> None:
    """A heavy load on GPUs at the power limit they were made for: their clocks are below the highest all the time."""
    world.usual_clock = world.random.uniform(0.72, 0.85)
    world.capped[:] = world.random.uniform(0.6, 1.0)


def idle_links(world: World, gpus: Gpus) -> None:
    """Long checkpoints now and then, in which the GPUs idle and their PCIe links go down to the first generation."""
    world.checkpoint_every = max(int(60 / world.step_s), 20)


def one_hotter(world: World, gpus: Gpus) -> None:
    """One GPU sits at the end of the air stream: ten degrees more, and no throttling."""
    world.warmer[:, gpus] = world.random.uniform(8, 13)


def memory_nearly_full(world: World, gpus: Gpus) -> None:
    """Memory at 90 %, stable from the first step on."""
    world.allocated[:] = world.random.uniform(0.85, 0.90)
    world.reserved[:] = world.allocated + 0.03


def few_corrected_errors(world: World, gpus: Gpus) -> None:
    """Some corrected memory errors on one GPU."""
    world.rates["gpu.ecc.corrected"] = np.zeros(world.clock.shape)
    for second in world.random.integers(0, world.seconds, 5):
        world.rates["gpu.ecc.corrected"][second, gpus[0]] = 1.0


def uneven_together(world: World, gpus: Gpus) -> None:
    """Batches of different lengths, bucketed: all ranks get the same."""
    world.uneven_together = world.random.uniform(0.05, 0.15)


def other_driver(world: World, gpus: Gpus) -> None:
    """One node has another driver and is as fast as the rest."""
    world.drivers[world.fleet.host_of(gpus[0])] = "535.129.03"


def monitor_on_gpu(world: World, gpus: Gpus) -> None:
    """A monitoring program holds some memory of one GPU and computes nothing."""
    world.strangers[:, gpus] = 1.0
    world.stranger_bytes = 3e8


def resting_shipper(world: World, gpus: Gpus) -> None:
    """One host ships nothing for a minute; the run goes on."""
    begin = int(world.seconds * 0.4)
    world.host_unread[begin: begin + 70, world.fleet.host_of(gpus[0])] = 1.0


#: What may be tempting about a slow run too, beside its real cause.
DISTRACTIONS = (capped_each_minute, capped_at_the_default, idle_links, one_hotter, few_corrected_errors, uneven_together, other_driver,
                monitor_on_gpu, resting_shipper)


def distract(world: World, culprits: Gpus) -> None:
    """In half of the slow runs something else is tempting, on a GPU that has nothing to do with it."""
    free = [gpu for gpu in range(world.fleet.gpus) if gpu not in culprits and world.fleet.host_of(gpu) not in {
        world.fleet.host_of(culprit) for culprit in culprits}]
    if world.random.random() < 0.5:
        DISTRACTIONS[world.random.integers(len(DISTRACTIONS) if free else 3)](world, free[:1])
