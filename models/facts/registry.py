"""The table of facts: what can be measured of a run in a window."""

import dataclasses
from collections.abc import Callable

import numpy as np

from models.view import Booleans, Entity, Floats, RunView


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The windows of a run that a question is about, and those they are compared with."""

    view: RunView
    inside: Booleans
    before: Booleans | None = None
    """Windows of the baseline; None when the run is compared with the ideal or with its ranks."""

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
        sums = []
        for rank in self.view.ranks:
            values = rank.series.get(feature, np.full(len(self.inside), np.nan))[self.inside]
            sums.append(np.nansum(values) if (~np.isnan(values)).any() else np.nan)
        return np.array(sums)

    def baseline(self) -> "Scope | None":
        """The windows compared with, as a scope of their own."""
        return None if self.before is None else Scope(self.view, self.before)


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
