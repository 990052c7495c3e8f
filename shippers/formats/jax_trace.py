"""Traces of JAX and XLA's profiler: the phases of each step, by device, and the operations that took most time."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pinchpoint import records
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.intervals import Floats, Intervals, covered, exclusive, union
from shippers.formats.jax_events import JaxEvent, from_json, from_xplane, is_json, is_xplane
from shippers.formats.trace_steps import windows
from shippers.formats.trace_timeline import Device, Step

_DEVICE = "/device:"
#: Lines of a device on which operations stand for themselves; the others repeat them by module, name scope or source line.
_OPS, _STEPS = ("XLA Ops", "Async XLA Ops"), "Steps"
_STREAM = re.compile(r"Stream #\d")
_COLLECTIVE = re.compile(r"nccl|rccl|all-?reduce|all-?gather|reduce-?scatter|all-?to-?all|collective-?(?:permute|broadcast)", re.IGNORECASE)
_HOST_TO_DEVICE = re.compile(r"memcpy ?h(?:to)?2?d|infeed|host.?to.?device", re.IGNORECASE)
_COPY = re.compile(r"memcpy|memset|outfeed|copy-(?:start|done)", re.IGNORECASE)
# of the host: what compiles, what brings data, what waits for the next batch
_COMPILES = re.compile(r"backend_compile|::Compile$|compile_or_get_cached|lower_sharding_computation|lower_jaxpr_to_module|trace_to_jaxpr")
_PUTS = re.compile(r"BufferFromHost|TransferLiteralToDevice|TransferToDevice")
_LOADS = re.compile(r"IteratorGetNext|Iterator::GetNext|DataLoader\S* __next__|\$(?:data_?loader|grain|data)\w*\.py:\d+ (?:__)?next")
_ROLES = ("compute", "communication", "h2d", "copies", "compile", "data_wait")
_NUMBER = re.compile(r"(\d{1,15})$")
#: No event lasts a week, none is of after 2090: what does is a broken clock.
_LONGEST_US, _LATEST_US = 6.048e11, 3.8e15
_MOST_DEVICES, _MOST_STEPS, _MOST_NAMES, _TOP = 64, 1_000_000, 100_000, 50
_JOIN_AT = 1 << 16


def is_part(path: Path) -> bool:
    """Whether the profiler wrote the same events beside it in a form that holds all of them."""
    name = path.name.removesuffix(".gz")
    return name.endswith(".trace.json") and path.with_name(name.removesuffix(".trace.json") + ".xplane.pb").is_file()


def read_json(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each annotated step and device, or one for the whole trace.

    Raises: InputError when there is no event to be had.
    """
    return _read(from_json(path, reading), reading)


def read_xplane(path: Path, reading: Reading) -> Iterator[Batch]:
    """The same of a message.

    Raises: InputError when it cannot be read.
    """
    return _read(from_xplane(path, reading), reading)


def _read(events: Iterable[JaxEvent], reading: Reading) -> Iterator[Batch]:
    trace = _Trace()
    for event in events:
        if not (0 <= event.lasts_us <= _LONGEST_US and -_LATEST_US < event.start_us < _LATEST_US):
            reading.reject(event.name[:200].encode("utf-8", "replace"), f"a duration of {event.lasts_us} us at {event.start_us} us")
            continue
        trace.add(event)
    devices = trace.devices()
    if not devices or not trace.lasts:
        reading.notes.append("no operation of XLA in it")
        return
    reading.summary = trace.top()
    if not trace.annotated:
        reading.notes.append("no step in it: the whole trace counts as one; put jax.profiler.StepTraceAnnotation around the step")
    if not any(name.startswith(_DEVICE) for name in devices):
        reading.notes.append("no device in it: operations on the CPU count as computation")
    for rank, name in enumerate(devices):
        yield from trace.steps(name, rank, len(devices))


class _Spans:
    """Intervals that become more, joined from time to time: events of the host nest, and joined they take little."""

    def __init__(self) -> None:
        self._joined: Intervals = (np.zeros(0), np.zeros(0))
        self._fresh: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        self._fresh.append((start, end))
        if len(self._fresh) >= max(_JOIN_AT, len(self._joined[0])):
            self.joined()

    def joined(self) -> Intervals:
        """All of them, joined."""
        if self._fresh:
            fresh = np.array(self._fresh)
            self._joined = union(np.concatenate((self._joined[0], fresh[:, 0])), np.concatenate((self._joined[1], fresh[:, 1])))
            self._fresh = []
        return self._joined


class _Trace:
    """What is kept of a trace; times in microseconds of its clock."""

    def __init__(self) -> None:
        #: By device and role; streams apart, since a device whose operations stand on lines of their own repeats them there.
        self._ran: dict[tuple[str, str], dict[str, _Spans]] = defaultdict(lambda: defaultdict(_Spans))
        self._host: dict[str, _Spans] = defaultdict(_Spans)
        self._steps: dict[str, list[Step]] = defaultdict(list)
        self._names: dict[str, list[float]] = {}
        self._kernels: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._first, self._last = np.inf, -np.inf

    @property
    def annotated(self) -> bool:
        """Whether steps are named in it."""
        return bool(self._steps)

    @property
    def lasts(self) -> bool:
        """Whether any time goes by in it."""
        return bool(self._first < self._last)

    def add(self, event: JaxEvent) -> None:
        """Sort an event in."""
        end = event.start_us + event.lasts_us
        if event.plane.startswith(_DEVICE):
            number = _NUMBER.search(event.name) if event.line == _STEPS else None
            if number is not None:
                self._step(event.plane, int(number[1]), event.start_us, end)
            elif event.line in _OPS or _STREAM.match(event.line):
                self._op(event, "ops" if event.line in _OPS else "streams", end)
            return
        if event.step is not None:
            self._step("", event.step, event.start_us, end)
        elif event.is_op:
            self._op(event, "ops", end)
        elif role := _host_role(event.name):
            self._host[role].add(event.start_us, end)
            self._first, self._last = min(self._first, event.start_us), max(self._last, end)

    def devices(self) -> list[str]:
        """Devices that did something, in order of their numbers; the planes of hosts only where there is none."""
        names = {plane for plane, _ in self._ran}
        return sorted({name for name in names if name.startswith(_DEVICE)} or names, key=_in_order)[:_MOST_DEVICES]

    def top(self) -> list[dict[str, object]]:
        """The operations that took most time, the longest first."""
        longest = sorted(self._names.items(), key=lambda item: -item[1][1])[:_TOP]
        return [{"kind": "op", "name": name, "count": int(count), "total_s": total / 1e6} for name, (count, total) in longest]

    def steps(self, device: str, rank: int, size: int) -> Iterator[Batch]:
        """The steps of one device, and numbers of the whole trace where it is a GPU."""
        ran = self._ran.get((device, "ops")) or self._ran.get((device, "streams")) or {}
        roles = {role: ran[role].joined() if role in ran else self._of_host(role) for role in _ROLES}
        steps = self._steps.get(device) or self._steps.get("") or [(0, self._first, self._last)]
        nothing = Device(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))
        numbers, limits = windows(steps, nothing)
        if not numbers:
            numbers, limits = [0], (np.array([self._first]), np.array([self._last]))
        spent = dict(zip(roles, exclusive(roles.values(), limits), strict=True))
        hidden = (covered(*roles["communication"], limits) - spent["communication"]).clip(0)
        identity = records.content_id("jax", device, *limits[0][:1000], *limits[1][:1000])
        values: dict[str, Floats] = {
            "duration_s": limits[1] - limits[0], "phase.compute_s": spent["compute"], "phase.communication_s": spent["communication"],
            "phase.h2d_s": spent["h2d"], "phase.compile_s": spent["compile"], "phase.data_wait_s": spent["data_wait"], "overlap_s": hidden}
        start_ns = np.round((limits[0] - min(self._first, 0.0)) * 1000).astype(np.int64)
        for begin in range(0, len(numbers), MOST_ROWS):
            part = slice(begin, begin + MOST_ROWS)
            count = len(numbers[part])
            yield "step", records.batch("step", {
                "@timestamp": start_ns[part], "event.id": [f"{identity}-{place}" for place in range(begin, begin + count)],
                "run.id": ["trace"] * count, "rank": [rank] * count, "world_size": [size] * count, "step": numbers[part],
                **{name: value[part] / 1e6 for name, value in values.items()}})
        metrics = self._metrics(device, roles, limits)
        if metrics:
            yield "metric", records.batch("metric", {
                "@timestamp": [int(start_ns[0])], "event.id": [records.content_id("jax trace", device, int(start_ns[0]))],
                "run.id": ["trace"], "entity.kind": ["trace"], "entity.id": [str(rank)], "rank": [rank],
                "metrics": [list(metrics.items())]})

    def _of_host(self, role: str) -> Intervals:
        return self._host[role].joined() if role in self._host else (np.zeros(0), np.zeros(0))

    def _metrics(self, device: str, roles: dict[str, Intervals], limits: Intervals) -> dict[str, float]:
        count, total_us = self._kernels[device]
        if "GPU" not in device or not count:
            return {"trace.kernels": count}
        busy = [roles[role] for role in ("compute", "communication", "h2d", "copies")]
        whole = (limits[1] - limits[0]).sum()
        used = sum(float(spent.sum()) for spent in exclusive(busy, limits))
        return {"trace.kernels": count, "trace.kernel_mean_s": total_us / count / 1e6, "trace.gpu_idle_ratio": 1 - used / float(whole)}

    def _op(self, event: JaxEvent, line: str, end: float) -> None:
        name = event.name
        role = _device_role(name)
        self._ran[event.plane, line][role].add(event.start_us, end)
        self._first, self._last = min(self._first, event.start_us), max(self._last, end)
        if role in ("compute", "communication") and (line == "ops" or (event.plane, "ops") not in self._ran):
            kernels = self._kernels[event.plane]
            kernels[0] += 1
            kernels[1] += event.lasts_us
            known = self._names.get(name[:200])
            if known is not None:
                known[0] += 1
                known[1] += event.lasts_us
            elif len(self._names) < _MOST_NAMES:
                self._names[name[:200]] = [1, event.lasts_us]

    def _step(self, device: str, number: int, start: float, end: float) -> None:
        if len(self._steps[device]) < _MOST_STEPS and end > start:
            self._steps[device].append((number, start, end))
            self._first, self._last = min(self._first, start), max(self._last, end)


# names repeat: of each the patterns are asked once
@functools.lru_cache(1 << 16)
def _host_role(name: str) -> str:
    """What an event of the host stands for; empty for what is of no use here."""
    return "compile" if _COMPILES.search(name) else "h2d" if _PUTS.search(name) else "data_wait" if _LOADS.search(name) else ""


@functools.lru_cache(1 << 16)
def _device_role(name: str) -> str:
    if _COLLECTIVE.search(name):
        return "communication"
    return "h2d" if _HOST_TO_DEVICE.search(name) else "copies" if _COPY.search(name) else "compute"


def _in_order(name: str) -> tuple[str, int]:
    number = _NUMBER.search(name)
    return (name[: number.start()], int(number[1])) if number else (name, 0)


JSON = Format("jax_trace", is_json, read_json)
XPLANE = Format("jax_xplane", is_xplane, read_xplane)
