"""The collectives of one rank's trace, by what tells the same one in the traces of other ranks."""

import dataclasses
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shippers.formats.intervals import Floats, Intervals
from shippers.formats.trace_events import Args

Integers = NDArray[np.int64]

#: All ranks leave these at about the same time. A broadcast, a send or a reduce ends for its root when the others still wait.
_TOGETHER = re.compile(r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|barrier", re.IGNORECASE)
_MOST = 50_000
#: Smaller collectives take as long as their latency does.
_LARGE_BYTES = 1e6
#: Bytes of an element.
_SIZES = {"float": 4, "float32": 4, "half": 2, "float16": 2, "bfloat16": 2, "double": 8, "float64": 8, "int": 4, "int32": 4, "long": 8,
          "int64": 8, "byte": 1, "uint8": 1, "char": 1, "int8": 1, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1}

Key = tuple[str, str, int, int]
"""Process group, operation with its size, step, and which one it is of these in the step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Meetings:
    """When a rank entered and left its collectives; times in UTC ns of its own clock."""

    rank: int
    wall_s: float
    """Of its steps."""
    entered: dict[Key, int]
    left: dict[Key, int]


def _bus_bytes(operation: str, args: Args) -> float:
    """What each rank's link carries, as nccl-tests defines the bus bandwidth (doc/PERFORMANCE.md)."""
    size, ranks = _SIZES.get((args.dtype or "").lower(), 0), args.group_size or 0
    if not args.elements or ranks < 2:
        return 0.0
    sent = float(args.elements * size)
    # elements are those a rank puts in: of a gather its own part
    return sent * {"allreduce": 2 * (ranks - 1) / ranks, "allgather": float(ranks - 1)}.get(operation, (ranks - 1) / ranks)


class _One(NamedTuple):
    """One collective as it was recorded."""

    begin: float
    end: float
    group: str
    operation: str
    """With its size; empty for what not all leave together."""
    correlation: int
    """Negative where it has none."""
    bus_bytes: float = 0.0
    """What each rank's link has to carry for it; 0 where the trace does not tell."""


class Collectives:
    """Collectives as they are read, before anybody knows where steps begin; times in microseconds of the trace's clock."""

    def __init__(self) -> None:
        self._found: list[_One] = []
        self._calls: list[_One] = []
        self._operations: dict[str, str] = {}

    def add(self, name: str, begin: float, end: float, args: Args | None) -> None:
        """Take in a kernel or a span on the host."""
        if len(self._found) < _MOST:
            self._found.append(self._one(name, begin, end, args))

    def call(self, begin: float, end: float, args: Args) -> None:
        """Take in a call on the host, which says what the kernels do that it launches."""
        if len(self._calls) < _MOST:
            self._calls.append(self._one(args.collective or "", begin, end, args))

    def tell_apart(self, launches: Callable[[Floats], Floats]) -> None:
        """Let calls say what kernels do: names of kernels of RCCL and of newer NCCL often do not tell.

        Args:
            launches: gives the time at which the kernel of each correlation was launched, NaN where the trace does not tell.
        """
        if not self._calls or not self._found:
            return
        calls = sorted(self._calls)
        begins = np.array([call.begin for call in calls])
        launched = launches(np.array([one.correlation for one in self._found], float))
        for number, place in enumerate(np.searchsorted(begins, launched, side="right") - 1):
            # NaN sorts behind every number, and is before no end
            if place >= 0 and launched[number] <= calls[place].end:
                self._found[number] = self._found[number]._replace(group=calls[place].group, operation=calls[place].operation,
                                                                  bus_bytes=calls[place].bus_bytes)

    def _one(self, name: str, begin: float, end: float, args: Args | None) -> _One:
        operation = self._operations.get(name)
        if operation is None:
            word = _TOGETHER.search(name)
            operation = word[0].replace("_", "").lower() if word else ""
            if len(self._operations) < _MOST:
                self._operations[name] = operation
        if args is None:
            return _One(begin, end, "", operation, -1)
        size = args.elements or bytes(args.dimensions)[:100]
        return _One(begin, end, f"{args.group or ''} {args.ranks or ''}", f"{operation} {size!r}" if operation else "",
                    -1 if args.correlation is None else args.correlation, _bus_bytes(operation, args))

    def bus_bytes_per_s(self) -> float | None:
        """What a link carried while large collectives ran, waiting included; None where no such collective tells its size."""
        large = [one for one in self._found if one.bus_bytes >= _LARGE_BYTES and one.end > one.begin]
        return sum(one.bus_bytes for one in large) / sum(one.end - one.begin for one in large) * 1e6 if large else None

    def meetings(self, rank: int, numbers: list[int], limits: Intervals, base_ns: int) -> Meetings:
        """Those inside of steps, numbered within each.

        Args:
            rank: whose trace it is.
            numbers: of the steps.
            limits: start and end of each step, in order of time.
            base_ns: UTC ns that the trace's clock counts from.
        """
        entered: dict[Key, int] = {}
        left: dict[Key, int] = {}
        count: dict[tuple[str, str, int], int] = {}
        for begin, end, group, operation, *_ in sorted(one for one in self._found if one.operation):
            # what is asked for in a step may end in the next one
            place = int(np.searchsorted(limits[0], begin, side="right")) - 1
            if place < 0 or begin > limits[1][place]:
                continue
            which = group, operation, numbers[place]
            count[which] = count.get(which, 0) + 1
            key = *which, count[which]
            entered[key], left[key] = round(begin * 1000) + base_ns, round(end * 1000) + base_ns
        return Meetings(rank, float((limits[1] - limits[0]).sum()) / 1e6, entered, left)
