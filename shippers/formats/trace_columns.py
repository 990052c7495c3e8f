"""The events of a trace as columns: when what of each role ran, what launched it, and which names took most time."""

import re
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shippers.formats.base import Reading
from shippers.formats.intervals import Floats, union
from shippers.formats.trace_events import Event
from shippers.formats.trace_families import family_of
from shippers.formats.trace_meetings import Collectives
from shippers.formats.trace_timeline import DEVICE, Device, Step, Timeline, find_launches

_KERNELS = frozenset(("kernel", "mtia_ccp_events"))
_COPIES = frozenset(("gpu_memcpy", "memcpy"))
_SETS = frozenset(("gpu_memset", "memset"))
_RUNTIME = frozenset(("runtime", "cuda_runtime", "cuda_driver", "hip_runtime", "mtia_runtime", "privateuse1_runtime"))
_ANNOTATIONS = frozenset(("user_annotation", "cpu_op", "operator", "python_function", ""))
# kernels: ncclKernel_… of old, ncclDevKernel_… of new NCCL, RCCL and HCCL
_COLLECTIVE = re.compile(r"nccl|rccl|hccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all", re.IGNORECASE)
# kernels that Inductor generates are named after what they were fused from, and compute
_GENERATED = "triton_"
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
#: Roles that last as long as a collective does.
_COLLECTIVES = frozenset(("communication", "host_communication"))


class Columns:
    """What is kept of a trace; times in microseconds of its clock."""

    def __init__(self) -> None:
        #: Number, start and end of each ProfilerStep, and of each iteration that the loop named itself.
        self.steps: list[Step] = []
        self.iterations: list[Step] = []
        self.single_process_loader = False
        self.first, self.last = np.inf, -np.inf
        self.collectives = Collectives()
        #: The rank that a collective names; None where none does.
        self.rank: int | None = None
        self._roles: dict[tuple[str, str, str | None], str] = {}
        self._names: dict[tuple[str, str], list[float]] = {}
        #: By role: start, end and, on the device, correlation.
        self._ran: dict[str, list[_Column]] = defaultdict(_columns)
        #: Correlation and start of each call that launches something.
        self._calls = _columns()

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
                if role in _COLLECTIVES:
                    self.collectives.add(event.name, begin, begin + lasts, args)
                elif role == "collective_call" and args is not None and args.collective is not None:
                    self.collectives.call(begin, begin + lasts, args)
                    self.rank = args.own_rank if self.rank is None else self.rank
                self._count(role, event.name, lasts)
        for role, rows in found.items():
            if role not in ("step", "iteration"):
                self._keep(role, np.array(rows, dtype=np.float64))
            self.first = min(self.first, min(row[0] for row in rows))
            self.last = max(self.last, max(row[1] for row in rows))

    def finish(self) -> Timeline:
        """Everything that was added, by role; to be called once, as it gives the columns away."""
        parts = [self._ran.pop(role, _columns()) for role in DEVICE]
        sizes = tuple(part[0].size for part in parts)
        # one after the other, so that no more than one of them is there twice
        start, end, correlation = (np.concatenate([part.pop(0).values for part in parts]) for _ in range(3))
        launch = find_launches(correlation, self._calls[0].values, self._calls[1].values)
        self.collectives.tell_apart(lambda numbers: find_launches(numbers, self._calls[0].values, self._calls[1].values))
        self._calls = _columns()
        role = np.repeat(np.arange(len(DEVICE)), sizes)
        computes, copies = role == DEVICE.index("compute"), (role == DEVICE.index("h2d")) | (role == DEVICE.index("memcpy"))
        return Timeline(Device(start, end, launch, computes, copies), sizes,
                        {role: union(ran[0].values, ran[1].values) for role, ran in self._ran.items()})

    def top(self, most: int) -> list[dict[str, Any]]:
        """The names that took most time, the longest first."""
        longest = sorted(self._names.items(), key=lambda item: -item[1][1])[:most]
        return [{"kind": kind, "name": name, "count": int(count), "total_s": total / 1e6}
                for (kind, name), (count, total) in longest]

    def families(self) -> dict[str, float]:
        """Seconds by family of operations of all that ran on the device, streams beside each other added up."""
        found: dict[str, float] = defaultdict(float)
        for (kind, name), (_, total) in self._names.items():
            if kind == "kernel":
                found[family_of(name)] += total / 1e6
            elif kind in DEVICE:
                found["copies"] += total / 1e6
        return dict(found)

    def _keep(self, role: str, rows: NDArray[np.float64]) -> None:
        if role == "runtime":
            calls = rows[rows[:, 2] != _NO_CORRELATION]
            self._calls[0].extend(calls[:, 2])
            self._calls[1].extend(calls[:, 0])
        # operators nest: joined they take a fraction of the memory
        kept = rows.T if role in DEVICE else union(rows[:, 0], rows[:, 1])
        for column, values in zip(self._ran[role], kept, strict=False):
            column.extend(values)

    def _role(self, category: str, name: str, direction: str | None) -> str:
        """What an event stands for; empty for what is of no use here."""
        category = category.lower()
        if category in _COPIES or (category in _KERNELS and name.startswith("dma")):
            return "h2d" if _HOST_TO_DEVICE.search(direction or name) else "memcpy"
        if category in _KERNELS:
            return "communication" if _COLLECTIVE.search(name) and not name.startswith(_GENERATED) else "compute"
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


class _Column:
    """Numbers that become more: in one block of memory, which the system moves without copying it."""

    def __init__(self) -> None:
        self._block = np.empty(1024)
        self.size = 0

    @property
    def values(self) -> Floats:
        return self._block[: self.size]

    def extend(self, values: Floats) -> None:
        need = self.size + len(values)
        if need > len(self._block):
            self._block.resize(max(need, len(self._block) * 5 // 4), refcheck=False)
        self._block[self.size : need] = values
        self.size = need


def _columns() -> list[_Column]:
    return [_Column(), _Column(), _Column()]
