"""Measure a world: readings of its GPUs, ranks, hosts, ports and of processes of others, with noise and gaps."""

import dataclasses

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.gpu_scenarios.steps import START
from benchmarks.gpu_scenarios.world import Floats, Random, World
from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.maps import feature_map

Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Equipment:
    """Which readings this driver, GPU and shipper give."""

    counters: bool
    """Cumulative seconds of throttling; else the flags of the moment."""
    gpm: bool
    traffic: bool
    """PCIe and NVLink bytes."""
    margin: bool
    """Degrees left before heat slows down; else the temperature and its limit."""
    processes: bool
    """Memory of each process on a GPU; else only how many there are."""
    rdma: bool
    """Ports are RDMA ports; else Ethernet cards and TCP."""


def draw_equipment(random: Random, world: World) -> Equipment:
    """What one finds in the field: all of it, or some."""
    return Equipment(counters=bool(random.random() < 0.7), gpm=bool(world.fleet.model.has_gpm and random.random() < 0.6),
                     traffic=bool(random.random() < 0.6), margin=bool(random.random() < 0.5), processes=bool(random.random() < 0.7),
                     rdma=bool(random.random() < 0.6))


@dataclasses.dataclass(frozen=True, slots=True)
class _Samples:
    """When a thing was read: rows over all things of a kind."""

    thing: Integers
    time_s: Floats

    @property
    def second(self) -> Integers:
        return self.time_s.astype(np.int64)


def metric_records(world: World, working: Floats, equipment: Equipment) -> list[pa.RecordBatch]:
    """All readings; batches by kind of thing."""
    found = [_gpus(world, working, equipment), _hosts(world), _ranks(world)]
    if world.fleet.hosts > 1:
        found.append(_ports(world, working, equipment))
    if equipment.processes:
        found.append(_processes(world))
    return [batch for batch in found if batch.num_rows]


def _sample(world: World, things: int, unread: Floats, every_s: float) -> _Samples:
    """Read each thing every so often, not quite on the beat, with a few readings lost; nothing while `unread`."""
    random = world.random
    lost = random.uniform(0, 0.10)
    which, times = [], []
    for thing in range(things):
        at = np.arange(random.uniform(0, every_s), world.seconds, every_s) + random.normal(0, 0.02 * every_s, 0 if every_s == 0 else 1)
        at = np.clip(np.sort(at + random.uniform(-0.2, 0.2, len(at)) * every_s), 0, world.seconds - 1e-3)
        at = at[(random.random(len(at)) > lost) & (unread[at.astype(np.int64), thing] == 0)]
        which.append(np.full(len(at), thing))
        times.append(at)
    return _Samples(np.concatenate(which), np.concatenate(times))


def _counter(rate: Floats, samples: _Samples, begin: float = 0.0) -> Floats:
    """A counter that rises by `rate` each second, shape (seconds, things), as it stands when it is read."""
    total = np.vstack([np.zeros(rate.shape[1]), np.cumsum(rate, axis=0)])
    second, part = samples.second, samples.time_s - samples.second
    return begin + total[second, samples.thing] + part * rate[second, samples.thing]


def _at(values: Floats, samples: _Samples) -> Floats:
    return values[samples.second, samples.thing]


def _gpus(world: World, working: Floats, equipment: Equipment) -> pa.RecordBatch:
    random, model, fleet = world.random, world.fleet.model, world.fleet
    hosts = np.array([fleet.host_of(gpu) for gpu in range(fleet.gpus)])
    samples = _sample(world, fleet.gpus, np.maximum(world.unread, world.host_unread[:, hosts]), world.interval_s)
    size = len(samples.thing)
    busy = working[samples.second]
    works = busy > 0.3
    clock = _at(world.clock, samples)
    mhz = model.max_mhz * world.usual_clock * clock * (1 + random.normal(0, 0.004, size))
    mhz = np.where(works, np.round(mhz / 15) * 15, model.idle_mhz)
    # power follows clock and voltage: about the square of the clock, between idle and what the load needs
    limit = model.power_w * _at(world.limit, samples)
    held = _at(world.capped, samples) > 0.05
    need = model.idle_w + (0.88 * model.power_w - model.idle_w) * clock**2 * busy
    watts = np.where(held & works, limit * (1 - np.abs(random.normal(0, 0.012, size))),
                     np.minimum(need, limit) * (1 + random.normal(0, 0.02, size)))
    usual_c = random.uniform(55, 72, fleet.gpus)
    celsius = np.where(works, usual_c[samples.thing] + _at(world.warmer, samples), usual_c[samples.thing] * 0.65)
    celsius = np.minimum(celsius + random.normal(0, 0.7, size), model.slowdown_c + 1)
    lost = _at(world.lost, samples) > 0
    columns: dict[str, Floats] = {
        "gpu.busy_ratio": np.clip(busy * random.uniform(0.93, 1.0, size), 0, 1),
        "gpu.clock.sm_hz": mhz * 1e6, "gpu.clock.sm_max_hz": np.full(size, model.max_mhz * 1e6),
        "gpu.clock.memory_hz": np.full(size, model.memory_mhz * 1e6),
        "gpu.clock.sm_application_hz": np.round(_at(world.application, samples) * model.max_mhz) * 1e6,
        "gpu.temperature_celsius": np.round(celsius),
        **({"gpu.temperature.margin_celsius": np.round(np.maximum(model.slowdown_c - celsius, 0))} if equipment.margin
           else {"gpu.temperature.slowdown_celsius": np.full(size, float(model.slowdown_c))}),
        "gpu.power_w": watts, "gpu.power.limit_w": limit, "gpu.power.default_limit_w": np.full(size, float(model.power_w)),
        "gpu.memory.total_bytes": np.full(size, model.memory_bytes),
        "gpu.memory.used_bytes": np.minimum(_at(world.reserved, samples) * model.memory_bytes + 0.9e9
                                            + _at(world.strangers, samples) * world.stranger_bytes, 0.995 * model.memory_bytes),
        "gpu.lost": lost.astype(float),
        "gpu.pcie.generation": np.where(works, _at(world.generation, samples), 1.0),
        "gpu.pcie.generation_max": np.full(size, float(model.pcie)),
        "gpu.pcie.width": _at(world.lanes, samples), "gpu.pcie.width_max": np.full(size, 16.0),
        "gpu.pcie.replays": _counter(world.rates.get("gpu.pcie.replays", np.zeros(world.clock.shape)), samples),
        "gpu.ecc.corrected": _counter(world.rates.get("gpu.ecc.corrected", np.zeros(world.clock.shape)), samples, 3.0),
        "gpu.ecc.uncorrected": _counter(world.rates.get("gpu.ecc.uncorrected", np.zeros(world.clock.shape)), samples),
        "gpu.processes": 1.0 + _at(world.strangers, samples),
    }
    columns = {name: np.floor(value) if ".ecc." in name or name.endswith("replays") else value for name, value in columns.items()}
    if model.counts_rows:
        columns |= {f"gpu.remapped_rows.{name}": _at(world.flags.get(name, np.zeros(world.clock.shape)), samples)
                    for name in ("pending", "failed")}
    columns |= _throttling(world, samples, equipment, works)
    if model.nvlinks:
        columns |= {"gpu.nvlink.links": np.full(size, float(model.nvlinks)),
                    "gpu.nvlink.links_active": model.nvlinks - _at(world.links_down, samples),
                    **{name: np.floor(_counter(world.rates.get(name, np.zeros(world.clock.shape)), samples))
                       for name in ("gpu.nvlink.crc_errors", "gpu.nvlink.replays", "gpu.nvlink.recoveries")}}
    if equipment.traffic:
        lane = {3: 0.985e9, 4: 1.969e9, 5: 3.938e9}[model.pcie]
        share = world.h2d_s / world.step_s
        columns["gpu.pcie.receive_bytes_per_s"] = busy * 16 * lane * share * random.uniform(0.5, 0.9, size) / _at(world.copies, samples)
        if model.nvlinks and fleet.each > 1:
            columns["gpu.nvlink.transmit_bytes_per_s"] = busy * 4e9 * model.nvlinks / world.collectives[samples.second] \
                * (1 - _at(world.links_down, samples) / model.nvlinks) * random.uniform(0.9, 1.1, size)
    if equipment.gpm:
        columns["gpu.tensor.active_ratio"] = busy * 0.45 / _at(world.slower, samples) * random.uniform(0.9, 1.1, size)
    # a lost GPU answers nothing but that
    columns = {name: value if name == "gpu.lost" else np.where(lost, np.nan, value) for name, value in columns.items()}
    labels = [[("gpu.index", str(gpu % fleet.each)), ("gpu.name", model.name), ("gpu.architecture", model.architecture),
               ("gpu.driver_version", world.drivers[fleet.host_of(gpu)]),
               ("gpu.pci.address", f"00000000:{0x17 + 8 * (gpu % fleet.each):02X}:00.0")]
              for gpu in range(fleet.gpus)]
    return _batch("gpu", samples, world.uuids, hosts, columns, labels)


def _throttling(world: World, samples: _Samples, equipment: Equipment, works: NDArray[np.bool_]) -> dict[str, Floats]:
    """Why the clocks are low: as seconds, or as flags of the moment."""
    shares = {"hot": world.hot, "capped": world.capped, "braked": world.braked}
    if equipment.counters:
        return {"gpu.throttled.power_s": _counter(world.capped, samples, 12.0),
                "gpu.throttled.power_brake_s": _counter(world.braked, samples),
                "gpu.throttled.software_thermal_s": _counter(world.hot * 0.8, samples, 0.5),
                "gpu.throttled.hardware_thermal_s": _counter(world.hot * 0.25, samples),
                "gpu.throttled.thermal_s": _counter(world.hot, samples, 0.5)}
    now = {name: ((world.random.random(len(samples.thing)) < _at(share, samples)) & works).astype(float) for name, share in shares.items()}
    return {"gpu.clocks_event.software_power_cap": now["capped"], "gpu.clocks_event.software_thermal": now["hot"],
            "gpu.clocks_event.hardware_thermal": now["hot"] * (world.random.random(len(samples.thing)) < 0.3),
            "gpu.clocks_event.hardware_slowdown": np.maximum(now["braked"], now["hot"] * (world.random.random(len(samples.thing)) < 0.3)),
            "gpu.clocks_event.power_brake": now["braked"], "gpu.clocks_event.application_clocks": _at(world.set_low, samples),
            "gpu.clocks_event.idle": (~works).astype(float)}


def _hosts(world: World) -> pa.RecordBatch:
    samples = _sample(world, world.fleet.hosts, world.host_unread, world.interval_s)
    size, random = len(samples.thing), world.random
    segments = np.full((world.seconds, world.fleet.hosts), 40_000.0)
    return _batch("host", samples, [f"node-{host}" for host in range(world.fleet.hosts)], np.arange(world.fleet.hosts), {
        "system.cpu.count": np.full(size, 96.0),
        "system.cpu.busy_s": _counter(np.full(segments.shape, 14.0) * random.uniform(0.9, 1.1, segments.shape), samples, 1e5),
        "system.memory.total_bytes": np.full(size, 1.08e12), "system.memory.available_bytes": 7e11 * random.uniform(0.98, 1.02, size),
        "system.tcp.segments_sent": _counter(segments, samples, 1e9),
        "system.tcp.retransmits": _counter(segments * world.resent, samples, 4e3),
    }, None)


def _ranks(world: World) -> pa.RecordBatch:
    hosts = np.array([world.fleet.host_of(gpu) for gpu in range(world.fleet.gpus)])
    samples = _sample(world, world.fleet.gpus, world.host_unread[:, hosts], max(world.interval_s, 5.0))
    wobble = world.random.normal(1, 0.004, len(samples.thing))
    batch = _batch("rank", samples, [str(rank) for rank in range(world.fleet.gpus)], hosts, {
        "torch.memory.allocated_bytes": _at(world.allocated, samples) * world.fleet.model.memory_bytes * wobble,
        "torch.memory.reserved_bytes": _at(world.reserved, samples) * world.fleet.model.memory_bytes,
        "torch.memory.alloc_retries": np.floor(_counter(world.retries, samples)), "torch.memory.ooms": np.zeros(len(samples.thing)),
    }, None)
    place = batch.schema.get_field_index("rank")
    return batch.set_column(place, batch.schema.field(place), pa.array(samples.thing))


def _ports(world: World, working: Floats, equipment: Equipment) -> pa.RecordBatch:
    kind, name = ("rdma", "mlx5_0:1") if equipment.rdma else ("nic", "eth0")
    speed = 50e9 if equipment.rdma else 12.5e9
    samples = _sample(world, world.fleet.hosts, world.host_unread, world.interval_s)
    sent = (working * speed * 0.2 / world.collectives)[:, None] * np.ones(world.fleet.hosts)
    columns = {f"{kind}.transmit_bytes": _counter(sent, samples, 1e13), f"{kind}.receive_bytes": _counter(sent, samples, 1e13),
               f"{kind}.speed_bytes_per_s": speed * _at(world.port_speed, samples)}
    names = ("link_downs", "errors", "transmit_wait", "congestion_packets") if equipment.rdma else ("link_downs", "receive_errors")
    for counter in names:
        rate = world.port_rates.get("errors" if counter == "receive_errors" else counter, np.zeros(sent.shape))
        columns[f"{kind}.{counter}"] = np.floor(_counter(rate, samples, 2.0))
    hosts = np.arange(world.fleet.hosts)
    return _batch(kind, samples, [f"node-{host}/{name}" for host in hosts], hosts, columns, None)


def _processes(world: World) -> pa.RecordBatch:
    """What computes on each GPU: the rank, and programs of others while they are there."""
    fleet, model = world.fleet, world.fleet.model
    hosts = np.array([fleet.host_of(gpu) for gpu in range(fleet.gpus)])
    every = max(world.interval_s, 30.0)  # asking the driver for processes is slow
    own = _sample(world, fleet.gpus, world.host_unread[:, hosts], every)
    others = _sample(world, fleet.gpus, np.maximum(world.host_unread[:, hosts], world.strangers == 0), every)
    labels = [[("process.pid", str(4000 + gpu % fleet.each)), ("process.role", "run"), ("gpu.uuid", world.uuids[gpu]),
               ("process.name", "python")] for gpu in range(fleet.gpus)]
    strange = [[("process.pid", str(9000 + gpu)), ("process.role", "other"), ("gpu.uuid", world.uuids[gpu]), ("process.name", "notebook")]
               for gpu in range(fleet.gpus)]
    first = _batch("process", own, [f"node-{hosts[gpu]}/{4000 + gpu % fleet.each}" for gpu in range(fleet.gpus)], hosts,
                   {"process.gpu.memory_bytes": _at(world.reserved, own) * model.memory_bytes}, labels)
    second = _batch("process", others, [f"node-{hosts[gpu]}/{9000 + gpu}" for gpu in range(fleet.gpus)], hosts,
                    {"process.gpu.memory_bytes": np.full(len(others.thing), world.stranger_bytes)}, strange)
    return pa.Table.from_batches([first, second]).combine_chunks().to_batches()[0]


def _batch(kind: str, samples: _Samples, ids: list[str], hosts: Integers, columns: dict[str, Floats],
           labels: list[list[tuple[str, str]]] | None) -> pa.RecordBatch:
    size = len(samples.thing)
    return records.batch("metric", {
        "@timestamp": START + np.round(samples.time_s * NS).astype(np.int64),
        "event.id": [f"{kind}-{ids[thing]}-{time:.3f}" for thing, time in zip(samples.thing, samples.time_s, strict=True)],
        "entity.kind": [kind] * size, "entity.id": [ids[thing] for thing in samples.thing],
        "host.name": [f"node-{hosts[thing]}" for thing in samples.thing],
        "metrics": feature_map(columns, size), "labels": [None if labels is None else labels[thing] for thing in samples.thing],
    })
