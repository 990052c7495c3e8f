"""What the analysis knows of one run: its features laid out as series over windows."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.placing import Placed, place
from models.reports import told_once
from pinchpoint.clock import NS
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
class SlowStep:
    """One of the longest steps of a window, with the phase that exceeds its usual time most."""

    window: int
    step: int
    duration_s: float
    phase: str


@dataclasses.dataclass(frozen=True)
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

    @property
    def steps(self) -> Floats:
        """Steps that began in each window."""
        return self.run["steps"]

    @property
    def wall(self) -> Floats:
        """Seconds of wall time of the steps that began in each window, and of the gaps before them."""
        return self.run["wall_s"]

    @functools.cached_property
    def placed(self) -> list[Placed]:
        """The GPUs of the ranks."""
        return place(self)

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


#: Features of a run that are no sums: nothing measured is not zero.
_NOT_SUMS = ("ranks", "step_time_p50_s", "first_start_s", "last_end_s")


def build(run_id: str, features: pa.Table, events: Iterable[Event], window_s: float) -> RunView:
    """Lay the features of one run out over its windows.

    Args:
        run_id: the run.
        features: feature records of the run and of what surrounds it, windows of `window_s`; of repeated ones the last counts.
        events: events of the run's time.
        window_s: length of the windows.
    """
    ns = round(window_s * NS)
    times = np.asarray(features.column("@timestamp").cast(pa.int64()).to_numpy()) if features.num_rows else np.zeros(0, np.int64)
    kinds = features.column("entity.kind").to_pylist()
    of_run = times[[kind == "run" for kind in kinds]] if any(kind == "run" for kind in kinds) else times
    first, last = (int(of_run.min()), int(of_run.max())) if len(of_run) else (0, -ns)
    starts = np.arange(first, last + ns, ns, dtype=np.int64)
    inside = (times >= first) & (times <= last)
    window_of = (times - first) // ns
    table = features.select(["entity.kind", "entity.id", "host.name", "rank", "run.workload", "features", "slow_steps", "labels"])
    series: dict[tuple[str, str, str], dict[str, Floats]] = {}
    about: dict[tuple[str, str, str], dict[str, Any]] = {}
    slow: dict[tuple[int, int], SlowStep] = {}
    workload = None
    for row, record in enumerate(table.to_pylist()):
        if not inside[row]:
            continue
        window = int(window_of[row])
        key = (record["entity.kind"], record["entity.id"], record["host.name"] or "")
        workload = workload or record["run.workload"]
        known = about.get(key, {"rank": None, "labels": {}})
        about[key] = {"rank": known["rank"] if record["rank"] is None else record["rank"],
                      "labels": {**known["labels"], **dict(record["labels"] or ())}}
        columns = series.setdefault(key, {})
        for name, value in record["features"] or ():
            if name not in columns:
                columns[name] = np.full(len(starts), np.nan)
            columns[name][window] = value
        for step in record["slow_steps"] or ():
            slow[window, step["step"]] = SlowStep(window, step["step"], step["duration_s"], step["phase"])
    entities = [Entity(kind, identity, host or None, about[key]["rank"], about[key]["labels"], series[key])
                for key in sorted(series) for kind, identity, host in [key]]
    others: dict[str, list[Entity]] = {}
    for entity in entities:
        if entity.kind not in ("run", "rank"):
            others.setdefault(entity.kind, []).append(entity)
    return RunView(run_id, workload, window_s, starts, _run_series(entities, starts, ns),
                   sorted((entity for entity in entities if entity.kind == "rank"), key=lambda entity: entity.rank or 0),
                   others, told_once(events, others.get("gpu", [])), [slow[key] for key in sorted(slow)])


def _run_series(entities: list[Entity], starts: Integers, ns: int) -> dict[str, Floats]:
    """Features of the run without holes, and with the gaps between windows."""
    found = next((entity.series for entity in entities if entity.kind == "run"), {})
    names = {"steps", "ranks", "wall_s", "skew_s", "step_time_p50_s", "first_start_s", "last_end_s",
             *(f"{group}{name}{unit}" for name in PARTS
               for group, unit in (("phase.", "_s"), ("phase_steps.", ""), ("spike_steps.", ""), ("spike.", "_s")))}
    empty = np.full(len(starts), np.nan)
    run = {name: found.get(name, empty) if name in _NOT_SUMS else np.nan_to_num(found.get(name, empty)) for name in names}
    gaps = _gaps_between(run, starts, ns)
    run["phase.gap_s"] = run["phase.gap_s"] + gaps
    run["wall_s"] = run["wall_s"] + gaps
    return run


def _gaps_between(run: dict[str, Floats], starts: Integers, ns: int) -> Floats:
    """Seconds from the end of the last step of an earlier window to the first step of each window."""
    some = np.flatnonzero(run["steps"] > 0)
    begin = some * (ns / NS) + run["first_start_s"][some]
    # a step may end windows later: no gap until the latest end so far
    end = np.maximum.accumulate(some * (ns / NS) + run["last_end_s"][some]) if len(some) else np.zeros(0)
    gaps = np.zeros(len(starts))
    gaps[some[1:]] = (begin[1:] - end[:-1]).clip(0)
    return gaps
