"""The events of a trace as columns: when what of each role ran, what launched it, and which names took most time."""

import re
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shippers.formats.base import Reading
from shippers.formats.intervals import Floats, Intervals, union
from shippers.formats.trace_events import Event

#: Roles of what runs on the device; of these each interval is kept, with the call that launched it.
DEVICE = ("compute", "communication", "h2d", "memcpy", "memset")
_KERNELS = frozenset(("kernel", "mtia_ccp_events"))
_COPIES = frozenset(("gpu_memcpy", "memcpy"))
_SETS = frozenset(("gpu_memset", "memset"))
_RUNTIME = frozenset(("runtime", "cuda_runtime", "cuda_driver", "hip_runtime", "mtia_runtime", "privateuse1_runtime"))
_ANNOTATIONS = frozenset(("user_annotation", "cpu_op", "operator", "python_function", ""))
# kernels: ncclKernel_… of old, ncclDevKernel_… of new NCCL, RCCL and HCCL
_COLLECTIVE = re.compile(r"nccl|rccl|hccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all", re.IGNORECASE)
# these transfer on the host itself; the others only ask a device to, where there is one
_HOST_COLLECTIVE = re.compile(r"(?:gloo|mpi|ucc):")
_COLLECTIVE_CALL = re.compile(r"c10d::|record_param_comms$")
_HOST_TO_DEVICE = re.compile(r"htod|host_?to_?device", re.IGNORECASE)
_STEP = re.compile(r"ProfilerStep#(\d{1,15})$")
# of training loops that annotate their iterations themselves
_ITERATION = re.compile(r"(?:train\w*[ _.-]?)?(?:step|iter|iteration|batch)[ _#:=-]*(\d{1,15})$", re.IGNORECASE)
_LOADER = re.compile(r"enumerate\(DataLoader\)|DataLoader.*__next__|ProcessDataLoaderIter")
_SINGLE = "_SingleProcessDataLoaderIter"
#: No event lasts a week (microseconds), none is of after 2090: what does is a broken clock.
_LONGEST_US, _LATEST_US = 6.048e11, 3.8e15
_MOST_NAMES, _NAME_LENGTH = 100_000, 200
_MOST_STEPS = 1_000_000
_NO_CORRELATION = -1


Step = tuple[int, float, float]
"""Number, start and end of a step on the host."""


class Device(NamedTuple):
    """Everything that ran on the device; times in microseconds of the trace's clock, each of shape (events,)."""

    start: Floats
    end: Floats
    launch: Floats
    """When the host asked for it; NaN where the trace does not tell."""
    computes: NDArray[np.bool_]
    """Whether it is a kernel that is no collective."""

    def where(self, mask: NDArray[np.bool_]) -> "Device":
        """What the mask selects."""
        return Device(self.start[mask], self.end[mask], self.launch[mask], self.computes[mask])


class Columns:
    """What is kept of a trace; times in microseconds of its clock."""

    def __init__(self) -> None:
        #: Number, start and end of each ProfilerStep, and of each iteration that the loop named itself.
        self.steps: list[Step] = []
        self.iterations: list[Step] = []
        self.single_process_loader = False
        self.first, self.last = np.inf, -np.inf
        self._roles: dict[tuple[str, str, str | None], str] = {}
        self._names: dict[tuple[str, str], list[float]] = {}
        # columns: start, end and, on the device, correlation
        self._parts: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self._launches: list[NDArray[np.float64]] = []

    def add(self, events: list[Event], reading: Reading) -> None:
        """Sort events into roles; those that cannot be are counted as rejected."""
        found: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        roles = self._roles
        for event in events:
            if event.ph != "X":
                continue
            begin, lasts = event.ts, event.dur
            if not (0 <= lasts <= _LONGEST_US and -_LATEST_US < begin < _LATEST_US):
                reading.reject(event.name[:200].encode("utf-8", "replace"), f"a duration of {lasts} us at {begin} us")
                continue
            args = event.args
            key = event.cat, event.name, None if args is None else args.direction
            role = roles.get(key)
            if role is None:
                if len(roles) > _MOST_NAMES:
                    roles.clear()
                role = roles[key] = self._role(*key)
            if not role:
                continue
            correlation = args.correlation if args is not None else None
            found[role].append((begin, begin + lasts, _NO_CORRELATION if correlation is None else correlation))
            if role in ("step", "iteration"):
                self._step(role, event)
            else:
                self._count(role, event.name, lasts)
        for role, rows in found.items():
            if role not in ("step", "iteration"):
                self._keep(role, np.array(rows, dtype=np.float64))
            self.first = min(self.first, min(row[0] for row in rows))
            self.last = max(self.last, max(row[1] for row in rows))

    def of(self, *roles: str) -> Intervals:
        """Start and end of all that ran in some roles, in any order."""
        whole = self._table(roles, 2)
        return whole[:, 0], whole[:, 1]

    def device(self) -> Device:
        """Everything that ran on the device, with the call that launched it."""
        ran = self._table(DEVICE, 3)
        launched = np.full(len(ran), np.nan)
        calls = np.concatenate(self._launches) if self._launches else np.zeros((0, 2))
        if len(ran) and len(calls):
            calls = calls[np.argsort(calls[:, 0], kind="stable")]
            place = np.searchsorted(calls[:, 0], ran[:, 2]).clip(max=len(calls) - 1)
            known = (calls[place, 0] == ran[:, 2]) & (ran[:, 2] != _NO_CORRELATION)
            launched[known] = calls[place[known], 1]
        # of the roles of the device computation comes first
        return Device(ran[:, 0], ran[:, 1], launched, np.arange(len(ran)) < len(self.of("compute")[0]))

    def top(self, most: int) -> list[dict[str, Any]]:
        """The names that took most time, the longest first."""
        longest = sorted(self._names.items(), key=lambda item: -item[1][1])[:most]
        return [{"kind": kind, "name": name, "count": int(count), "total_s": total / 1e6}
                for (kind, name), (count, total) in longest]

    def _table(self, roles: tuple[str, ...], columns: int) -> NDArray[np.float64]:
        parts = [part[:, :columns] for role in roles for part in self._parts[role]]
        return np.concatenate(parts) if parts else np.zeros((0, columns))

    def _keep(self, role: str, rows: NDArray[np.float64]) -> None:
        if role == "runtime":
            self._launches.append(rows[rows[:, 2] != _NO_CORRELATION][:, [2, 0]])
        # operators nest: joined they take a fraction of the memory
        self._parts[role].append(rows if role in DEVICE else np.column_stack(union(rows[:, 0], rows[:, 1])))

    def _role(self, category: str, name: str, direction: str | None) -> str:
        """What an event stands for; empty for what is of no use here."""
        category = category.lower()
        if category in _COPIES or (category in _KERNELS and name.startswith("dma")):
            return "h2d" if _HOST_TO_DEVICE.search(direction or name) else "memcpy"
        if category in _KERNELS:
            return "communication" if _COLLECTIVE.search(name) else "compute"
        if category in _SETS:
            return "memset"
        if category in _RUNTIME:
            return "runtime"
        if category not in _ANNOTATIONS:
            return ""
        if _STEP.match(name):
            return "step"
        if _LOADER.search(name):
            self.single_process_loader |= _SINGLE in name
            return "loader"
        if category == "python_function":
            return ""
        if _HOST_COLLECTIVE.match(name):
            return "host_communication"
        if _COLLECTIVE_CALL.match(name):
            return "collective_call"
        if category == "user_annotation" and _ITERATION.match(name):
            return "iteration"
        return "cpu_op" if category in ("cpu_op", "operator") else ""

    def _step(self, role: str, event: Event) -> None:
        steps, pattern = (self.steps, _STEP) if role == "step" else (self.iterations, _ITERATION)
        found = pattern.match(event.name)
        if found and len(steps) < _MOST_STEPS:
            steps.append((int(found[1]), event.ts, event.ts + event.dur))

    def _count(self, role: str, name: str, lasts: float) -> None:
        kind = "kernel" if role in ("compute", "communication") else "op" if role == "cpu_op" else role
        key = kind, name[:_NAME_LENGTH]
        counted = self._names.get(key)
        if counted is not None:
            counted[0] += 1
            counted[1] += lasts
        elif len(self._names) < _MOST_NAMES:
            self._names[key] = [1, lasts]
