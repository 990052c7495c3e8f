"""What the analysis knows of one run: its features laid out as series over windows."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pinchpoint.fields import PHASES

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: The phases of a step, and the gap between steps.
PARTS = (*PHASES, "gap")
#: Symptoms that are no time of steps: errors that were reported, and a run that stands still.
STANDSTILLS = ("errors", "hang")
COMPUTE = ("forward", "backward", "optimizer", "compute")


@dataclasses.dataclass(frozen=True, slots=True)
class Entity:
    """One thing that was measured: a rank, a host, a process, a disk."""

    kind: str
    id: str
    host: str | None
    rank: int | None
    labels: dict[str, str]
    series: dict[str, Floats]
    """Feature by name, shape (windows,); NaN where nothing was measured."""

    def mean(self, name: str, inside: Booleans) -> float | None:
        """Mean of a feature over windows; None when it was never measured there."""
        if name not in self.series:
            return None
        values = self.series[name][inside]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A change or incident of the world."""

    time_ns: int
    action: str
    reason: str | None
    details: dict[str, str]
    host: str | None = None
    rank: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line of a log, of those that speak of errors."""

    time_ns: int
    host: str | None
    kind: str
    """The feature of logs that counted it."""
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """A GPU of the run and the rank on it."""

    gpu: Entity
    rank: Entity


@dataclasses.dataclass(frozen=True, slots=True)
class SlowStep:
    """One of the longest steps of a window, with the phase that exceeds its usual time most."""

    window: int
    step: int
    duration_s: float
    phase: str


@dataclasses.dataclass(frozen=True, slots=True)
class RunView:
    """One run over `windows` windows of equal length, without holes."""

    run_id: str
    workload: str | None
    window_s: float
    starts: Integers
    """UTC ns, shape (windows,)."""
    run: dict[str, Floats]
    """Features of the run by name, shape (windows,); sums are 0 where no step began."""
    ranks: list[Entity]
    others: dict[str, list[Entity]]
    """Entities that are no ranks, by kind."""
    events: list[Event]
    slow_steps: list[SlowStep]
    placed: list[Placed] = dataclasses.field(default_factory=list)
    """The GPUs of the ranks, in the order of these."""
    lines: list[Line] = dataclasses.field(default_factory=list)
    """The first line of each kind in each window, of a few hosts."""

    @property
    def steps(self) -> Floats:
        """Steps that began in each window."""
        return self.run["steps"]

    @property
    def wall(self) -> Floats:
        """Seconds of wall time of the steps that began in each window, and of the gaps before them."""
        return self.run["wall_s"]

    @property
    def hosts(self) -> list[str]:
        """Hosts of the ranks, or else of whatever was measured."""
        found = {rank.host for rank in self.ranks if rank.host} or {
            entity.host for group in self.others.values() for entity in group if entity.host}
        return sorted(found)

    def phase(self, name: str) -> Floats:
        """Seconds of a phase on the critical path, shape (windows,)."""
        return self.run[f"phase.{name}_s"]

    @property
    def has_compute(self) -> bool:
        """Whether the model's own work was measured as a phase; else it is part of `other`."""
        return bool(self.compute().any())

    def compute(self) -> Floats:
        """Seconds of the model's own work on the critical path, shape (windows,)."""
        return np.asarray(np.sum([self.phase(name) for name in COMPUTE], axis=0))
