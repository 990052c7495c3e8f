"""Traces of the PyTorch profiler (Kineto): the phases of each step, and the kernels and operators that took most time."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinchpoint import records
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.intervals import Floats, covered
from shippers.formats.trace_events import About, Event, read_events, recognises

#: What an event stands for. The order is that of the TensorBoard plugin (torch_tb_profiler 0.4.3): of what runs at the same time the
#: first counts. It counts communication below copies; here it comes above, so that what hides it is computation alone.
ROLES = ("compute", "communication", "h2d", "memcpy", "memset", "runtime", "loader", "cpu_op")
_GPU = ("compute", "communication", "h2d", "memcpy", "memset")
_RUNTIME = frozenset(("runtime", "cuda_runtime", "cuda_driver", "hip_runtime", "mtia_runtime", "privateuse1_runtime"))
_ANNOTATIONS = frozenset(("user_annotation", "cpu_op", "operator", "python_function", ""))
_COMMUNICATION = re.compile(r"nccl|rccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|c10d::|gloo:", re.IGNORECASE)
_STEP = re.compile(r"ProfilerStep#(\d{1,15})$")
_LOADER = re.compile(r"enumerate\(DataLoader\)|DataLoader.*__next__|ProcessDataLoaderIter")
_SINGLE = "_SingleProcessDataLoaderIter"
#: No event lasts a week (microseconds): what does is a broken clock.
_LONGEST_US = 6.048e11
_TOP = 50
_MOST_NAMES = 100_000


class _Columns:
    """Start and end of the events of each role, in microseconds, and the steps."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Floats]] = {role: [] for role in ROLES}
        self.steps: list[tuple[int, float, float]] = []
        self.single_process_loader = False
        self.names: dict[tuple[str, str], list[float]] = {}
        self.first, self.last = np.inf, -np.inf

    def add(self, events: list[Event], reading: Reading) -> None:
        """Sort events into roles."""
        found: dict[str, list[tuple[float, float]]] = {role: [] for role in ROLES}
        for event in events:
            if event.ph != "X":
                continue
            begin, end = event.ts, event.ts + event.dur
            if not (0 <= event.dur <= _LONGEST_US and abs(begin) < 1e17):
                reading.reject(event.name[:200].encode("utf-8", "replace"), f"a duration of {event.dur} us at {event.ts} us")
                continue
            role = self._role(event, begin, end)
            if role:
                found[role].append((begin, end))
                self.first, self.last = min(self.first, begin), max(self.last, end)
                self._count(role, event)
        for role, pairs in found.items():
            if pairs:
                self._parts[role].append(np.array(pairs))

    def _role(self, event: Event, begin: float, end: float) -> str | None:
        category, name = event.cat.lower(), event.name
        if category == "kernel":
            return "communication" if _COMMUNICATION.search(name) else "compute"
        if category in ("gpu_memcpy", "memcpy"):
            return "h2d" if "HtoD" in name or "HostToDevice" in name else "memcpy"
        if category in ("gpu_memset", "memset"):
            return "memset"
        if category in _RUNTIME:
            return "runtime"
        if category not in _ANNOTATIONS:
            return None
        step = _STEP.match(name)
        if step:
            self.steps.append((int(step[1]), begin, end))
            return None
        if _LOADER.search(name):
            self.single_process_loader = self.single_process_loader or _SINGLE in name
            return "loader"
        return "cpu_op" if category in ("cpu_op", "operator") else None

    def _count(self, role: str, event: Event) -> None:
        kind = "kernel" if role in ("compute", "communication") else "op" if role == "cpu_op" else role
        counted = self.names.get((kind, event.name))
        if counted is not None:
            counted[0] += 1
            counted[1] += event.dur
        elif len(self.names) < _MOST_NAMES:
            self.names[kind, event.name] = [1, event.dur]

    def of(self, *roles: str) -> tuple[Floats, Floats]:
        """Start and end of all events of some roles."""
        parts = [part for role in roles for part in self._parts[role]]
        whole = np.concatenate(parts) if parts else np.zeros((0, 2))
        return whole[:, 0], whole[:, 1]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each ProfilerStep, or one for the whole trace, and a metric record of the trace."""
    about, columns = About(), _Columns()
    for events in read_events(path, reading, about):
        columns.add(events, reading)
    if not np.isfinite(columns.first):
        reading.notes.append("no event with a duration that belongs to a step")
        return
    kernels = len(columns.of("compute", "communication")[0])
    if not kernels:
        reading.notes.append("no kernels in it: operators on the CPU count as computation")
    if not columns.steps:
        reading.notes.append("no ProfilerStep in it: the whole trace counts as one step; call prof.step() in the loop")
    reading.summary = [{"kind": kind, "name": name, "count": int(count), "total_s": total / 1e6}
                       for (kind, name), (count, total) in sorted(columns.names.items(), key=lambda item: -item[1][1])[:_TOP]]
    yield "step", _steps(columns, about, kernels > 0)
    yield "metric", _trace(columns, about, kernels)


def _windows(columns: _Columns) -> tuple[list[int], tuple[Floats, Floats]]:
    """Numbers and limits of the steps, in order of time, without overlaps."""
    steps = sorted(columns.steps, key=lambda step: step[1]) or [(0, columns.first, columns.last)]
    start = np.array([step[1] for step in steps])
    end = np.array([step[2] for step in steps])
    end[:-1] = np.minimum(end[:-1], start[1:])
    # work that was launched in the last step may run beyond it, up to half a step
    gpu = columns.of(*_GPU)[1]
    if len(gpu) and columns.steps:
        end[-1] = max(end[-1], min(float(gpu.max()), end[-1] + 0.5 * (end[-1] - start[-1])))
    return [step[0] for step in steps], (start, end)


def _steps(columns: _Columns, about: About, with_kernels: bool) -> pa.RecordBatch:
    numbers, windows = _windows(columns)
    spent: dict[str, Floats] = {}
    before: tuple[str, ...] = ()
    so_far = np.zeros(len(numbers))
    for role in ROLES:
        before = (*before, role)
        now = covered(*columns.of(*before), windows)
        spent[role] = (now - so_far).clip(0) / 1e6
        so_far = now
    duration = (windows[1] - windows[0]) / 1e6
    compute = spent["compute"] if with_kernels else spent["cpu_op"]
    communication = covered(*columns.of("communication"), windows) / 1e6
    size = len(numbers)
    identity = records.content_id(about.rank, *windows[0], *windows[1])
    return records.batch("step", {
        "@timestamp": np.round(windows[0] * 1000).astype(np.int64) + about.base_ns,
        "event.id": [f"{identity}-{number}-{place}" for place, number in enumerate(numbers)],
        "run.id": ["trace"] * size, "rank": [about.rank or 0] * size, "world_size": [about.world_size] * size, "step": numbers,
        "duration_s": duration, "phase.data_wait_s": spent["loader"], "phase.h2d_s": spent["h2d"], "phase.compute_s": compute,
        "phase.communication_s": spent["communication"], "overlap_s": (communication - spent["communication"]).clip(0),
    })


def _trace(columns: _Columns, about: About, kernels: int) -> pa.RecordBatch:
    """Numbers of the whole trace; those of the device as HolisticTraceAnalysis 0.5.0 defines them, from first to last kernel."""
    _, windows = _windows(columns)
    busy = columns.of(*_GPU)
    metrics = {"trace.kernels": float(kernels), "trace.single_process_loader": float(columns.single_process_loader)}
    if len(busy[0]):
        whole = (np.array([busy[0].min()]), np.array([busy[1].max()]))
        total = float(whole[1][0] - whole[0][0])
        any_kernel, compute = float(covered(*busy, whole)[0]), float(covered(*columns.of("compute"), whole)[0])
        if total > 0:
            metrics |= {"trace.gpu_idle_ratio": 1 - any_kernel / total, "trace.gpu_compute_ratio": compute / total,
                        "trace.gpu_non_compute_ratio": (any_kernel - compute) / total}
        idle = (windows[1] - windows[0]) - covered(*busy, windows)
        loader = covered(*columns.of(*_GPU, "loader"), windows) - covered(*busy, windows)
        if idle.sum() > 0:
            metrics["trace.loader_of_idle_ratio"] = float(loader.sum() / idle.sum())
    if kernels:
        start, end = columns.of("compute", "communication")
        metrics["trace.kernel_mean_s"] = float((end - start).mean()) / 1e6
    return records.batch("metric", {
        "@timestamp": [round(float(windows[0][0]) * 1000) + about.base_ns],
        "event.id": [records.content_id("trace", about.rank, *windows[0])], "run.id": ["trace"], "entity.kind": ["trace"],
        "entity.id": [str(about.rank or 0)], "rank": [about.rank], "metrics": [list(metrics.items())],
    })


FORMAT = Format("torch_profiler", recognises, read)
