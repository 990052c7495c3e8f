"""Reduce what an answer rests on to short series, which outlive the raw records: the symptom, the phases, the ranks, the facts."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from models.evidence_ranks import choose, own_matrix, phases_of
from models.facts import FACTS
from models.facts.registry import Scope
from models.symptoms import Symptom
from models.view import PARTS, Floats, Integers, RunView
from pinchpoint.clock import parse_time

#: Points of a series, and of the series of one rank, at most.
POINTS = 500
RANK_POINTS = 100
#: Facts are measured again in each stretch, over all ranks: so many cells (ranks × windows × stretches) cost about a second.
_CELLS = 50_000_000
#: With fewer windows than these around an incident nobody sees how it began.
_FEWEST_AROUND = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time."""

    name: str
    entity_kind: str
    entity_id: str
    host: str | None
    unit: str
    times: tuple[int, ...]
    """UTC ns at which each stretch begins in which something was measured."""
    values: tuple[float, ...]
    """As many as times."""
    baseline: float | None = None
    limit: float | None = None
    cause_id: str | None = None
    cause_name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stretches:
    """Windows of a run gathered into stretches of about equal length, in order."""

    edges: Integers
    """Windows at which stretches begin, and the end, shape (stretches + 1,)."""
    times: Integers
    """UTC ns at which they begin, shape (stretches,)."""

    def total(self, values: Floats) -> Floats:
        """Sums over stretches of what is given by window along the last axis; NaN where nothing is known."""
        begins = self.edges[:-1]
        known = np.add.reduceat((~np.isnan(values)).astype(float), begins, axis=-1)
        sums = np.add.reduceat(np.nan_to_num(values), begins, axis=-1)
        return np.where(known > 0, sums, np.nan)


def around(view: RunView, inside: np.ndarray) -> tuple[int, int]:
    """First window and end of what is kept of an incident: it, as much before it where there is as much, and a little after."""
    windows = np.flatnonzero(inside)
    first, end = int(windows[0]), int(windows[-1]) + 1
    length = end - first
    return max(first - max(length, _FEWEST_AROUND), 0), min(end + max(length // 4, _FEWEST_AROUND // 3), len(view.starts))


def stretches(view: RunView, first: int, end: int, most: int) -> Stretches:
    """At most so many stretches of the windows from `first` to `end`, none of them empty, covering to the last one."""
    count = min(end - first, most)
    edges = first + (np.arange(count + 1) * (end - first)) // count
    return Stretches(np.append(edges[:-1], end), view.starts[edges[:-1]])


def of_symptom(symptom: Symptom, incident: dict[str, Any]) -> list[Series]:
    """The series of an incident of step time: symptom, phases, spread over the ranks, chosen ranks, facts.

    Args:
        symptom: what got worse.
        incident: the incident made of it.
    """
    view = symptom.scope.view
    first, end = around(view, symptom.scope.inside)
    fine, coarse = stretches(view, first, end, POINTS), stretches(view, first, end, RANK_POINTS)
    return [*_steps(view, fine, symptom.baseline_s), *_ranks(symptom, fine, coarse), *_facts(symptom, incident, first, end)]


def of_standstill(incident: dict[str, Any]) -> list[Series]:
    """The series of an incident without steps: what was counted, at its beginning and its end."""
    return [_one_value(incident, cause, piece) for cause in incident["causes"] for piece in cause["evidence"]
            if isinstance(piece["value"], int | float)]


def _one_value(incident: dict[str, Any], cause: dict[str, Any], piece: dict[str, Any]) -> Series:
    times = tuple(parse_time(time) for time in dict.fromkeys(piece["window"]))
    return Series(piece["fact"], cause["entity"]["kind"], cause["entity"]["id"], incident["hosts"][0] if incident["hosts"] else None,
                  piece["unit"], times, (float(piece["value"]),) * len(times), piece["baseline"], piece["limit"], cause["id"],
                  cause["cause"])


def _steps(view: RunView, fine: Stretches, baseline_s: float) -> Iterator[Series]:
    """Step time and seconds a step of each phase that occurs, on the critical path."""
    steps = fine.total(view.steps)
    yield _of_run(view, "step_time", "s", fine.times, _over(fine.total(view.wall), steps), baseline=baseline_s)
    for part in PARTS:
        values = fine.total(view.phase(part))
        if values.any():
            yield _of_run(view, f"phase.{part}", "s", fine.times, _over(values, steps))


def _ranks(symptom: Symptom, fine: Stretches, coarse: Stretches) -> Iterator[Series]:
    """Step time of their own of the ranks: least, median and most of all; the worst and some of the others one by one."""
    view = symptom.scope.view
    if not view.ranks:
        return
    steps, own = own_matrix(view)
    spread = _over(fine.total(own), fine.total(steps))
    if len(view.ranks) > 1:
        known = np.where(np.isnan(spread).all(axis=0), 0.0, spread)  # a stretch nobody has anything of makes NumPy warn
        nothing = np.isnan(spread).all(axis=0)
        for name, reduce in (("min", np.nanmin), ("median", np.nanmedian), ("max", np.nanmax)):
            yield _of_run(view, f"rank.{name}", "s", fine.times, np.where(nothing, np.nan, reduce(known, axis=0)))
    cells = _over(coarse.total(own), coarse.total(steps))
    chosen, phased = choose(symptom.scope)
    for place in chosen:
        rank = view.ranks[place]
        yield Series("rank", "rank", str(rank.rank), rank.host, "s", *_measured(coarse.times, cells[place]))
    for place in phased:
        rank = view.ranks[place]
        for part, seconds in phases_of(rank, len(view.starts)):
            yield Series(f"phase.{part}", "rank", str(rank.rank), rank.host, "s",
                         *_measured(coarse.times, _over(coarse.total(seconds), coarse.total(steps[place]))))


def _facts(symptom: Symptom, incident: dict[str, Any], first: int, end: int) -> Iterator[Series]:
    """Each fact that speaks for a cause, measured again in each stretch."""
    view, scope = symptom.scope.view, symptom.scope
    most = _CELLS // max(len(view.ranks) * len(view.starts), 1)
    parts = stretches(view, first, end, min(max(most, 20), RANK_POINTS))
    scopes = [Scope(view, _between(view, begin, stop), scope.before)
              for begin, stop in zip(parts.edges[:-1], parts.edges[1:], strict=True)]
    measured: dict[str, Floats] = {}
    for cause in incident["causes"]:
        for piece in cause["evidence"]:
            name = piece["fact"]
            if name not in FACTS:
                continue
            if name not in measured:
                measured[name] = np.array([_measure(name, one) for one in scopes])
            if not np.isnan(measured[name]).all():
                yield Series(name, cause["entity"]["kind"], cause["entity"]["id"], None, FACTS[name].unit,
                             *_measured(parts.times, measured[name]), piece["baseline"], piece["limit"], cause["id"], cause["cause"])


def _measure(name: str, scope: Scope) -> float:
    value = FACTS[name].measure(scope)
    return np.nan if value is None else float(value)


def _between(view: RunView, first: int, end: int) -> np.ndarray:
    inside = np.zeros(len(view.starts), bool)
    inside[first:end] = True
    return inside


def _of_run(view: RunView, name: str, unit: str, times: Integers, values: Floats, baseline: float | None = None) -> Series:
    return Series(name, "run", view.run_id, None, unit, *_measured(times, values), baseline)


def _measured(times: Integers, values: Floats) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The points at which there is a value: nothing measured is not zero."""
    known = ~np.isnan(values)
    return tuple(times[known].tolist()), tuple(values[known].tolist())


def _over(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0))
