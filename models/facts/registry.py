"""The table of facts: what can be measured of a run in a window."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from models.view import Booleans, Entity, Floats, RunView

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The windows of a run that a question is about, and those they are compared with."""

    view: RunView
    inside: Booleans
    before: Booleans | None = None
    """Windows of the baseline; None when the run is compared with the ideal or with its ranks."""
    _known: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    """What was worked out of it already: dozens of causes ask for the same few sums over all ranks."""

    def seconds(self, phase: str) -> float:
        """Seconds of a phase on the critical path."""
        return float(self.view.phase(phase)[self.inside].sum())

    def total(self, feature: str) -> float:
        """Sum of a feature of the run."""
        return float(self.view.run[feature][self.inside].sum())

    @property
    def wall_s(self) -> float:
        return float(self.view.wall[self.inside].sum())

    @property
    def steps(self) -> float:
        return float(self.view.steps[self.inside].sum())

    def entities(self, kind: str, role: str | None = None) -> list[Entity]:
        """Entities of a kind; of processes those with a role."""
        return [entity for entity in self.view.others.get(kind, []) if role is None or entity.labels.get("process.role") == role]

    def rank_total(self, feature: str) -> Floats:
        """Sum of a feature for each rank; NaN for ranks where it was never measured."""
        return self.once(f"rank_total {feature}", lambda: self._rank_total(feature))

    def _rank_total(self, feature: str) -> Floats:
        if not self.view.ranks:
            return np.zeros(0)
        nothing = np.full(len(self.inside), np.nan)
        values = np.stack([rank.series.get(feature, nothing) for rank in self.view.ranks])[:, self.inside]
        return np.where((~np.isnan(values)).any(axis=1), np.nansum(values, axis=1), np.nan)

    def baseline(self) -> "Scope | None":
        """The windows compared with, as a scope of their own."""
        before = self.before
        return None if before is None else self.once("baseline", lambda: Scope(self.view, before))

    def once(self, name: str, work_out: Callable[[], T]) -> T:
        """Work something out at the first time it is asked for."""
        if name not in self._known:
            self._known[name] = work_out()
        found: T = self._known[name]
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """One number that can be measured of a scope."""

    name: str
    unit: str
    needs: str
    """What must be shipped for it to be known."""
    meaning: str
    measure: Callable[[Scope], float | None]
    """None when it cannot be measured there."""


FACTS: dict[str, Fact] = {}

Measure = Callable[[Scope], float | None]


def fact(name: str, unit: str, needs: str) -> Callable[[Measure], Measure]:
    """Enter a function into the table under a name; its docstring says what it measures."""

    def enter(measure: Measure) -> Measure:
        FACTS[name] = Fact(name, unit, needs, (measure.__doc__ or "").split("\n")[0].rstrip("."), measure)
        return measure

    return enter


def ratio(part: float, whole: float) -> float | None:
    """A share, or None when there is nothing to share."""
    return part / whole if whole > 0 else None
