"""What goes wrong with GPUs, links and memory: each fault changes a world as the hardware would, from its onset on.

Written from the published descriptions of the causes, not from the limits of the catalogue.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.gpu_scenarios.world import Floats, World

Gpus = Sequence[int]


def _slowdown(world: World, low: float = 1.35, high: float = 2.0) -> float:
    """How many times as long a step shall take."""
    return world.random.uniform(low, high)


def _compute_factor(world: World, step_ratio: float) -> float:
    return world.factor(world.compute_s, step_ratio)


def _clock_for(world: World, factor: float) -> float:
    """The clock at which computation takes `factor` times as long; not below 30 % of the usual one."""
    return max(world.clock_bound / max(factor - (1 - world.clock_bound), 1e-9), 0.3)


def _jitter(world: World, shape: tuple[int, ...], spread: float) -> Floats:
    return np.asarray(np.clip(world.random.normal(1, spread, shape), 0.3, 1.7))


def overheat(world: World, gpus: Gpus) -> None:
    """The cooling fails: the temperature stays at the limit, and the clock goes down and up again below it."""
    since, model = world.since, world.fleet.model
    shape = world.clock[since, gpus].shape
    clock = _clock_for(world, _compute_factor(world, _slowdown(world)))
    share = world.random.uniform(0.55, 1.0)
    low = max(1 - (1 - clock) / share, 0.25)
    hot = world.random.random(shape) < share
    world.hot[since, gpus] = np.where(hot, world.random.uniform(0.8, 1.0, shape), world.random.uniform(0, 0.15, shape))
    world.clock[since, gpus] = np.where(hot, low, 1.0)
    world.warmer[since, gpus] = model.slowdown_c - 62 + world.random.normal(0, 1, shape)
    # who is held back by heat no longer reaches the power limit
    world.capped[since, gpus] *= 0.1


def lower_power_limit(world: World, gpus: Gpus) -> None:
    """Somebody lowers the power limit; clock and power follow it."""
    since = world.since
    clock = _clock_for(world, _compute_factor(world, _slowdown(world, 1.3, 1.7)))
    shape = world.clock[since, gpus].shape
    world.limit[since, gpus] = max(0.3, 0.9 * clock**2)
    world.clock[since, gpus] = clock * _jitter(world, shape, 0.02)
    world.capped[since, gpus] = world.random.uniform(0.75, 1.0, shape)


def brake(world: World, gpus: Gpus) -> None:
    """The power supply asserts the brake now and then or all the time: the hardware halves the clocks at least."""
    since = world.since
    shape = world.clock[since, gpus].shape
    share = world.random.uniform(0.5, 1.0)
    on = world.random.random((shape[0], 1)) < share  # one supply feeds them all
    world.braked[since, gpus] = np.where(on, 1.0, 0.0)
    world.clock[since, gpus] = np.where(on, world.random.uniform(0.3, 0.5), 1.0)
    world.capped[since, gpus] = np.where(on, 0.0, world.capped[since, gpus])


def lock_clocks(world: World, gpus: Gpus) -> None:
    """The clocks are locked or set low: the power falls below its limit and nothing throttles."""
    since = world.since
    clock = _clock_for(world, _compute_factor(world, _slowdown(world, 1.4, 2.0)))
    world.clock[since, gpus] = min(clock, 0.78 / world.usual_clock)
    world.capped[since, gpus] = 0.0
    if world.random.random() < 0.5:  # as application clocks, which the driver tells; else locked, which it does not
        world.application[since, gpus] = world.usual_clock * world.clock[since, gpus]
        world.set_low[since, gpus] = 1.0


def train_pcie_down(world: World, gpus: Gpus) -> None:
    """The link comes up with fewer lanes or a lower generation; copies take as many times as long as bandwidth is lost."""
    since, model = world.since, world.fleet.model
    lanes, generation = [(8, model.pcie), (4, model.pcie), (16, 1), (8, model.pcie - 1)][world.random.integers(4)]
    loss = 16 / lanes * 2 ** (model.pcie - generation)
    wanted = world.factor(world.h2d_s, _slowdown(world, 1.35, 1.8))
    # a run that copies little would not notice: make it copy as much as it takes
    grown = max((wanted - 1) / (loss - 1), 1.0)
    world.h2d_s *= grown
    world.lanes[since, gpus], world.generation[since, gpus] = lanes, generation
    world.copies[since, gpus] = loss
    world.rates["gpu.pcie.replays"] = np.zeros(world.clock.shape)
    if world.random.random() < 0.4:
        world.rates["gpu.pcie.replays"][since, gpus] = world.random.uniform(0.5, 20)


def copy_too_much(world: World, gpus: Gpus) -> None:
    """Batches are so large that their copies, at full speed, take much of the step."""
    if world.begin:
        world.copies[world.since] = world.factor(world.h2d_s, _slowdown(world, 1.35, 1.8))
    else:
        world.h2d_s = world.random.uniform(0.16, 0.6) * world.compute_s


def degrade_nvlink(world: World, gpus: Gpus) -> None:
    """Links of one GPU fail or repeat what they send; every collective goes as fast as the slowest pair."""
    since, shape = world.since, world.clock.shape
    _need_communication(world)
    world.collectives[since] = world.factor(world.communication_s, _slowdown(world, 1.35, 2.0))
    kind = world.random.integers(3)
    for name in ("crc_errors", "replays", "recoveries"):
        world.rates[f"gpu.nvlink.{name}"] = np.zeros(shape)
    if kind in (0, 2):
        world.links_down[since, gpus] = world.random.integers(1, max(world.fleet.model.nvlinks // 2, 2))
    if kind in (1, 2):
        world.rates["gpu.nvlink.crc_errors"][since, gpus] = world.random.uniform(20, 2000)
        world.rates["gpu.nvlink.replays"][since, gpus] = world.random.uniform(5, 500)
    if kind == 2:
        world.event(world.begin + 1, "gpu_error", "XID 74: NVLink error", world.fleet.host_of(gpus[0]), xid="74",
                    **{"gpu.uuid": world.uuids[gpus[0]], "error.kind": "xid", "error.blame": "hardware"})


def congest(world: World, gpus: Gpus) -> None:
    """Others fill the network: all ports wait, are told of it and send less."""
    since, hosts = world.since, world.fleet.hosts
    _need_communication(world)
    length = world.seconds - world.begin
    world.collectives[since] = world.factor(world.communication_s, _slowdown(world, 1.35, 2.2)) * _jitter(world, (length,), 0.1)
    quiet = world.random.uniform(0, 500)
    touched = world.random.random(hosts) < 0.85
    touched[: max(2, int(0.7 * hosts))] = True
    for name, before, after in (("transmit_wait", quiet, world.random.uniform(5e4, 5e6)),
                                ("congestion_packets", quiet / 200, world.random.uniform(80, 5000))):
        world.port_rates[name] = np.full((world.seconds, hosts), before)
        world.port_rates[name][since] = np.where(touched, after, before) * _jitter(world, (length, hosts), 0.3)
    world.resent[since] = np.where(touched, world.random.uniform(0.01, 0.06), 1e-5)


def break_port(world: World, gpus: Gpus) -> None:
    """One port comes up slower, loses its link again and again, or makes errors; the collectives wait for it."""
    since, hosts, host = world.since, world.fleet.hosts, world.fleet.host_of(gpus[0])
    _need_communication(world)
    world.collectives[since] = world.factor(world.communication_s, _slowdown(world, 1.35, 2.2))
    world.port_rates |= {name: np.zeros((world.seconds, hosts)) for name in ("link_downs", "errors", "transmit_wait")}
    kind = world.random.integers(3)
    if kind == 0:
        world.port_speed[since, host] = world.random.choice([0.1, 0.25, 0.5])
    elif kind == 1:
        world.port_rates["link_downs"][since, host] = world.random.uniform(1, 6) / 60
    else:
        world.port_rates["errors"][since, host] = world.random.uniform(20, 5000)
    # the peers of a slow port wait for it a little too
    world.port_rates["transmit_wait"][since] = world.random.uniform(0, 400)


def bound_by_communication(world: World, gpus: Gpus) -> None:
    """Large gradients over a healthy network, from step 1."""
    world.communication_s = world.random.uniform(0.45, 0.9) * world.compute_s
    world.port_rates["transmit_wait"] = np.full((world.seconds, world.fleet.hosts), world.random.uniform(1e3, 1e5))


def slow_down(world: World, gpus: Gpus) -> None:
    """A GPU computes more slowly, with nothing to show for it."""
    world.slower[world.since, gpus] = _compute_factor(world, _slowdown(world, 1.25, 2.0))


def turn_gray(world: World, gpus: Gpus) -> None:
    """A GPU gets slower without any error: at once or little by little."""
    factor = _compute_factor(world, _slowdown(world, 1.5, 2.2))
    if world.random.random() < 0.5:
        world.begin = int(world.seconds * world.random.uniform(0.15, 0.3))
        world.slower[world.since, gpus] = np.linspace(1, factor, world.seconds - world.begin)[:, None]
    else:
        world.slower[world.since, gpus] = factor


def corrupt_memory(world: World, gpus: Gpus) -> None:
    """The memory of a GPU makes errors; correcting and replaying them costs time."""
    since, shape = world.since, world.clock.shape
    world.slower[since, gpus] = _compute_factor(world, _slowdown(world, 1.3, 1.9))
    kind = world.random.integers(3)
    for name in ("gpu.ecc.corrected", "gpu.ecc.uncorrected"):
        world.rates[name] = np.zeros(shape)
    world.flags |= {name: np.zeros(shape) for name in ("pending", "failed")}
    if kind in (0, 1):
        world.rates["gpu.ecc.corrected"][since, gpus] = np.exp(world.random.uniform(np.log(0.3), np.log(50)))
    if kind in (1, 2):
        struck = world.begin + int(world.random.integers(1, max((world.seconds - world.begin) // 3, 2)))
        struck = struck if kind == 1 else world.begin
        world.rates["gpu.ecc.uncorrected"][min(struck + 40, world.seconds - 1), gpus] = world.random.integers(1, 5)
        if world.fleet.model.counts_rows:
            world.flags["pending" if world.random.random() < 0.7 else "failed"][min(struck, world.seconds - 1):, gpus] = 1.0
        xid = "48" if world.random.random() < 0.5 else "63"
        world.event(struck, "gpu_error", f"XID {xid}: memory error", world.fleet.host_of(gpus[0]), xid=xid,
                    **{"gpu.uuid": world.uuids[gpus[0]], "error.blame": "hardware",
                       "error.kind": "ecc_uncorrected" if xid == "48" else "row_remap"})


def share_gpu(world: World, gpus: Gpus) -> None:
    """Another program computes on the GPU; they take turns."""
    since = world.since
    world.slower[since, gpus] = _compute_factor(world, _slowdown(world, 1.35, 2.0)) * _jitter(world, world.clock[since, gpus].shape, 0.05)
    world.strangers[since, gpus] += 1.0
    world.stranger_bytes = 0.1 * world.fleet.model.memory_bytes


def mix_versions(world: World, gpus: Gpus) -> None:
    """Half of the nodes at most come with another driver, and are slower all along."""
    old = sorted({world.fleet.host_of(gpu) for gpu in gpus})
    for host in old:
        world.drivers[host] = str(world.random.choice(["535.129.03", "560.35.05"]))
    world.drivers = [world.drivers[old[0]] if host in old else driver for host, driver in enumerate(world.drivers)]
    world.slower[:, gpus] = _compute_factor(world, _slowdown(world, 1.3, 1.8)) * _jitter(world, (1, len(gpus)), 0.01)


def lose_gpu(world: World, gpus: Gpus) -> None:
    """A GPU falls off the bus: the run stands still until it is restarted, the GPU is back by then."""
    begin = world.begin
    length = int(min(max(world.seconds * world.random.uniform(0.25, 0.4), 90), world.seconds - begin - 60))
    world.pauses.append((begin, length))
    kind = world.random.integers(3)
    away = slice(begin, begin + length)
    if kind == 0:
        world.lost[away, gpus] = 1.0
    else:
        world.unread[away, gpus] = 1.0
    if kind == 2:
        labels = {"gpu.uuid": world.uuids[gpus[0]]} if world.random.random() < 0.5 else {
            "gpu.pci.address": f"0000:{0x17 + 8 * (gpus[0] % world.fleet.each):02x}:00"}
        world.event(begin, "gpu_error", "XID 79: the GPU has fallen off the bus", world.fleet.host_of(gpus[0]), xid="79",
                    **labels, **{"error.kind": "gpu_lost", "error.blame": "hardware"})


def lose_shipper(world: World, gpus: Gpus) -> None:
    """The run is preempted and its node with it: for a while nothing at all is shipped from that host."""
    length = int(min(max(world.seconds * world.random.uniform(0.25, 0.4), 90), world.seconds - world.begin - 60))
    world.pauses.append((world.begin, length))
    world.host_unread[world.begin: world.begin + length, world.fleet.host_of(gpus[0])] = 1.0


def change_code(world: World, gpus: Gpus) -> None:
    """A deploy brings a slower operator to all ranks."""
    world.slower[world.since] = _compute_factor(world, _slowdown(world, 1.3, 1.9))
    world.event(world.begin + world.random.uniform(-1, 1), "deploy", "model code 4c1f", None, version="4c1f")


def uneven_samples(world: World, gpus: Gpus) -> None:
    """Each rank's batch has another length, each step."""
    world.uneven = world.random.uniform(0.25, 0.5)


def fragment(world: World, gpus: Gpus) -> None:
    """Tensors of many sizes leave holes: what is held grows to the limit, what is used stays, and blocks are given back all the time."""
    since, shape = world.since, world.clock[world.since, gpus].shape
    world.allocated[:] = world.random.uniform(0.3, 0.55)
    world.reserved[:] = world.allocated + 0.06
    world.reserved[since, gpus] = world.random.uniform(0.94, 0.98)
    world.allocated[since, gpus] *= _jitter(world, shape, 0.03)
    factor = _compute_factor(world, _slowdown(world, 1.35, 1.9))
    world.slower[since, gpus] = factor
    world.retries[since, gpus] = world.random.uniform(0.2, 2.0) / world.step_s


def fill_memory(world: World, gpus: Gpus) -> None:
    """The batch hardly fits: the allocator frees and waits each few steps."""
    since = world.since
    world.allocated[since, gpus] = world.random.uniform(0.90, 0.94)
    world.reserved[since, gpus] = world.random.uniform(0.965, 0.985)
    world.slower[since, gpus] = _compute_factor(world, _slowdown(world, 1.35, 1.9))
    world.retries[since, gpus] = world.random.uniform(0.2, 2.0) / world.step_s


def leak_tensors(world: World, gpus: Gpus) -> None:
    """Tensors with their graphs are kept: memory grows with every step until it is full, and steps grow with it."""
    world.allocated[:] = np.linspace(world.random.uniform(0.25, 0.4), world.random.uniform(0.85, 0.93), world.seconds)[:, None]
    world.reserved[:] = np.minimum(world.allocated + 0.04, 0.98)
    world.slower[:] = np.linspace(1, _compute_factor(world, _slowdown(world, 1.6, 2.2)), world.seconds)[:, None]
    late = int(0.9 * world.seconds)
    world.retries[late:] = 0.3 / world.step_s


def _need_communication(world: World) -> None:
    """A run that hardly communicates would notice no slow link."""
    world.communication_s = max(world.communication_s, 0.2 * world.compute_s)
