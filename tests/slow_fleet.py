"""A real server filled with what an analysis made of a fleet in which one GPU got too hot, and with what agents say of themselves."""

import dataclasses

import numpy as np
import pyarrow as pa
from click.testing import CliRunner

from benchmarks.gpu_scenarios.case import make
from benchmarks.gpu_scenarios.scenarios import FAULTS
from benchmarks.gpu_scenarios.steps import START
from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.store import IncidentFilter, open_store
from pipelines.cli import analyze

RUN_LENGTH_S = 1200
WORKLOAD = "llm-pretrain"
#: Four GPUs of which the third gets too hot.
_SEED = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Slow:
    """What is in the store, and what was planted."""

    url: str
    namespace: str
    incident: str
    run: str
    gpu: str
    rank: int
    span: tuple[int, int] = (START - 3600 * NS, START + 7200 * NS)
    """The time range that dashboards are looked at with, UTC ns."""


def provoke(url: str) -> Slow:
    """Ship the run, analyse it, label what was found."""
    scenario = next(one for one in FAULTS if one.name == "one GPU too hot")
    case, store = make(scenario, _SEED), open_store(url)
    store.append("step", _steps(case.steps, case.uuids[0], case.ranks[0]), "steps")
    for number, batch in enumerate(case.metrics):
        store.append("metric", _with_flags(batch), f"metrics-{number}")
    store.append("step", _quiet_steps(), "quiet")
    store.append("metric", _services(), "services")
    store.append("event", case.events, "events")
    store.append("event", _events(), "changes")
    store.append("log", _lines(), "lines")
    done = CliRunner().invoke(analyze, ["--store", url])
    assert done.exit_code == 0, done.output
    incidents = store.query_incidents(IncidentFilter())
    leading = next(one for one in incidents if any(cause["id"] == scenario.cause for cause in one["causes"]))
    store.label(leading["id"], "confirmed", "the fan was blocked", START + 3000 * NS)
    return Slow(url, url.partition("namespace=")[2], leading["id"], leading["run"], case.uuids[0], case.ranks[0])


def _steps(batch: pa.RecordBatch, gpu: str, rank: int) -> pa.RecordBatch:
    """The steps with a workload, samples, the GPU of each rank, and the pauses that every training has."""
    size, ranks = batch.num_rows, np.asarray(batch.column("rank"))
    step = np.asarray(batch.column("step"))
    given = {name: batch.column(name) for name in batch.schema.names}
    given |= {"run.workload": [WORKLOAD] * size, "samples": pa.array(np.full(size, 8), pa.int64()),
              "gpu.uuid": [gpu if one == rank else f"GPU-of-rank-{one}" for one in ranks]}
    for place, name in enumerate(("evaluation", "compile", "gc")):
        given[f"phase.{name}_s"] = np.where(step % 100 == place, 0.01, 0.0)
    return records.batch("step", given)


def _quiet_steps() -> pa.RecordBatch:
    """A run that gets slower and of which nothing else is known: what has to be shipped to tell why is said."""
    size = 400
    duration = np.where(np.arange(size) < size // 2, 0.5, 1.0)
    return records.batch("step", {
        "@timestamp": START + np.round(np.concatenate(([0.0], np.cumsum(duration)[:-1])) * NS).astype(np.int64),
        "event.id": [f"quiet-{number}" for number in range(size)], "run.id": ["quiet"] * size, "run.workload": ["vision"] * size,
        "rank": [0] * size, "step": np.arange(size), "host.name": ["node-9"] * size, "duration_s": duration,
        "phase.forward_s": duration * 0.9})


def _with_flags(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Readings of GPUs with the flags of the moment beside the counters of seconds: NVML tells both."""
    rows = batch.to_pylist()
    before: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row["@timestamp"]):
        found = dict(row["metrics"])
        if row["entity.kind"] == "gpu" and "gpu.throttled.hardware_thermal_s" in found:
            name, held = row["entity.id"], found["gpu.throttled.hardware_thermal_s"]
            hot = float(held > before.get(name, held))
            before[name] = held
            found |= {"gpu.clocks_event.hardware_slowdown": hot, "gpu.clocks_event.hardware_thermal": hot,
                      "gpu.clocks_event.software_thermal": hot, "gpu.clocks_event.power_brake": 0.0,
                      "gpu.clocks_event.software_power_cap": 0.0}
            row["metrics"] = list(found.items())
    given = {name: batch.column(name) for name in batch.schema.names}
    return records.batch("metric", {**given, "metrics": [row["metrics"] for row in rows]})


def _services() -> pa.RecordBatch:
    """Readings of agents, an exporter, a disk, a network card and the host: one each ten seconds."""
    times = np.arange(0, RUN_LENGTH_S, 10)
    columns: dict[str, list[object]] = {name: [] for name in ("@timestamp", "event.id", "entity.kind", "entity.id", "host.name", "metrics")}

    def add(second: int, kind: str, name: str, metrics: dict[str, float]) -> None:
        for column, value in zip(columns, (START + second * NS, f"{kind}-{name}-{second}", kind, name, "node-0", list(metrics.items())),
                                 strict=True):
            columns[column].append(value)

    for second in map(int, times):
        up = 0.0 if second < 60 else 1.0
        add(second, "agent", "node-0", {"agent.cpu_s": second * 0.01, "agent.uptime_s": float(second), "agent.memory.rss_bytes": 6e7,
                                        "agent.spool.waiting_bytes": 1e6 if second < 60 else 0.0})
        add(second, "agent", "node-0/es", {"agent.output.up": up, "agent.output.stored": second * 30.0,
                                           "agent.lag_s": 40.0 if second < 60 else 0.0,
                                           "agent.output.repeated": second * 0.1, "agent.output.rejected": float(second > 300),
                                           "agent.dropped_items": float(second > 600)})
        add(second, "service", "vllm", {"up": 1.0, "serving.requests_waiting": 3.0, "serving.requests_running": 9.0})
        add(second, "disk", "node-0/nvme0n1", {"disk.busy_s": second * 0.2})
        add(second, "nic", "node-0/eth0", {"nic.receive_bytes": second * 1e6, "nic.transmit_bytes": second * 2e6})
        add(second, "host", "node-0", {"system.cpu.busy_s": second * 4.0, "system.memory.available_bytes": 1e11})
        add(second, "gpu", "GPU-idle", {
            "gpu.busy_ratio": 0.0, "gpu.processes": 1.0, "gpu.last_xid": 0.0, "gpu.sm.active_ratio": 0.0, "gpu.ecc.corrected": 0.0,
            "gpu.pcie.replays": 0.0, "gpu.nvlink.crc_errors": 0.0, "gpu.pcie.receive_bytes_per_s": 1e6,
            "gpu.pcie.transmit_bytes_per_s": 1e6, "gpu.nvlink.receive_bytes_per_s": 1e6, "gpu.nvlink.transmit_bytes_per_s": 1e6,
            "gpu.clocks_event.sync_boost": 0.0})
    return records.batch("metric", columns)


def _events() -> pa.RecordBatch:
    return records.batch("event", {
        "@timestamp": [START + 100 * NS, START + 650 * NS], "event.id": ["deploy", "xid"], "run.id": ["run", None],
        "run.workload": [WORKLOAD, None], "event.action": ["deploy", "gpu_error"], "event.reason": ["image 42", "XID 79"],
        "host.name": ["node-0", "node-0"], "rank": pa.array([None, 2], pa.int64())})


def _lines() -> pa.RecordBatch:
    said = ("step done", "ERROR: cannot read sample", "retrying", "CUDA out of memory", "torch._dynamo hit recompile_limit")
    size = 50
    return records.batch("log", {
        "@timestamp": [START + number * 20 * NS for number in range(size)], "event.id": [f"line-{number}" for number in range(size)],
        "run.id": ["run"] * size, "run.workload": [WORKLOAD] * size, "message": [said[number % len(said)] for number in range(size)],
        "log.level": ["info"] * size, "host.name": ["node-0"] * size, "rank": [0] * size})
