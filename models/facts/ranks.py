"""Facts that compare the ranks of a run with each other, and the work they were given."""

import numpy as np

from models.facts.registry import Scope, fact, ratio
from models.view import Booleans, Floats

RANKS = "steps of at least two ranks"
WORK = "tokens or samples of each step (run.step(tokens=…))"

#: A rank is a straggler when it takes this many times the median of the others (TraceML: 10 % warns, 20 % is critical).
STRAGGLER_RATIO = 1.10
#: A straggler is the last to arrive in this share of the steps.
SAME_RANK_RATIO = 0.7
#: Skew that no single rank accounts for needs this share of the wall time, since the ranks of a healthy run take turns too.
ROTATING_SHARE = 0.12


def slowest(scope: Scope) -> int | None:
    """Place (in the view's ranks) of the rank with the most time of its own; None with fewer than two ranks."""
    own = own_times(scope)
    return int(np.nanargmax(own)) if len(own) > 1 and (~np.isnan(own)).sum() > 1 else None


def own_times(scope: Scope) -> Floats:
    """Mean seconds of its own of a step of each rank."""
    steps = scope.rank_total("steps")
    return np.asarray(np.divide(scope.rank_total("own_s"), steps, out=np.full(len(steps), np.nan), where=steps > 0))


def rank_ratios(scope: Scope) -> Floats:
    """Own step time of each rank over the median of the others."""
    return scope.once("rank_ratios", lambda: ratios_to_others(own_times(scope)))


def ratios_to_others(values: Floats) -> Floats:
    """Each value over the median of the others; NaN where there is no other, or none above 0.

    >>> ratios_to_others(np.array([3.0, 1.0, 2.0, np.nan]))
    array([2. , 0.4, 1. , nan])
    """
    result = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 2:
        return result
    order = known[np.argsort(values[known], kind="stable")]
    ranked, place = values[order], np.arange(len(order))
    # the middle of the others stands one place further on for values below it
    low, high = (len(order) - 2) // 2, (len(order) - 1) // 2
    middle = (ranked[low + (place <= low)] + ranked[high + (place <= high)]) / 2
    result[order] = np.divide(ranked, middle, out=np.full(len(order), np.nan), where=middle > 0)
    return result


@fact("straggler.ratio", "ratio", RANKS)
def straggler_ratio(scope: Scope) -> float | None:
    """Own step time of the slowest rank over the median of the others."""
    place = slowest(scope)
    return None if place is None else _known(rank_ratios(scope)[place])


@fact("straggler.same_rank_ratio", "ratio", RANKS)
def same_rank(scope: Scope) -> float | None:
    """Share of the steps in which the slowest rank was the last to arrive."""
    place = slowest(scope)
    if place is None:
        return None
    return ratio(float(scope.rank_total("critical_steps")[place]), scope.steps)


@fact("skew.share", "ratio", RANKS)
def skew_share(scope: Scope) -> float | None:
    """Share of wall time that ranks wait for the last one, beyond the median rank."""
    return ratio(scope.total("skew_s"), scope.wall_s) if len(scope.view.ranks) > 1 else None


@fact("straggler.work_ratio", "ratio", RANKS)
def work_of_slowest(scope: Scope) -> float | None:
    """Work (tokens or samples a step) of the slowest rank over the median of the others."""
    place = slowest(scope)
    if place is None:
        return None
    steps = scope.rank_total("work_steps")
    work = np.divide(scope.rank_total("work"), steps, out=np.full(len(steps), np.nan), where=steps > 0)
    others = np.delete(work, place)
    others = others[~np.isnan(others)]
    return _known(work[place] / np.median(others)) if len(others) and np.median(others) > 0 else None


@fact("straggler.compute_ratio", "ratio", RANKS)
def compute_of_slowest(scope: Scope) -> float | None:
    """Share of the slowest rank's extra time that its own computation accounts for."""
    place = slowest(scope)
    if place is None:
        return None
    steps = scope.rank_total("steps")
    compute = scope.rank_total("compute_s") / np.where(steps > 0, steps, np.nan)
    own = own_times(scope)
    extra = own[place] - np.nanmedian(np.delete(own, place))
    return _known((compute[place] - np.nanmedian(np.delete(compute, place))) / extra) if extra > 0 else None


@fact("straggler.drift_ratio", "ratio", RANKS)
def drift(scope: Scope) -> float | None:
    """How many times slower the slowest rank became than it was, beyond what the others became slower."""
    place = slowest(scope)
    if place is None:
        return None
    then, now = (scope.before, scope.inside) if scope.before is not None else _begin_and_end(scope)
    was, became = own_times(Scope(scope.view, then)), own_times(Scope(scope.view, now))
    with np.errstate(invalid="ignore", divide="ignore"):
        slower = became / was
    rest = np.delete(slower, place)
    rest = rest[np.isfinite(rest)]
    return _known(slower[place] / np.median(rest)) if len(rest) else None


def _begin_and_end(scope: Scope) -> tuple[Booleans, Booleans]:
    """The first fifth and the last third of the windows with steps."""
    windows = np.flatnonzero(scope.inside & (scope.view.steps > 0))
    first, last = np.zeros(len(scope.inside), bool), np.zeros(len(scope.inside), bool)
    first[windows[: max(len(windows) // 5, 1)]] = True
    last[windows[-max(len(windows) // 3, 1):]] = True
    return first, last


@fact("compute.variation", "ratio", "steps with phases")
def compute_variation(scope: Scope) -> float | None:
    """Deviation of the computing time from step to step of one rank, over its mean; the median rank."""
    steps, total, squared = (scope.rank_total(name) for name in ("steps", "compute_s", "compute_squared"))
    return _median(_deviation(steps, total, squared))


@fact("work.variation", "ratio", WORK)
def work_variation(scope: Scope) -> float | None:
    """Deviation of the work (tokens or samples) from step to step of one rank, over its mean; the median rank."""
    steps, total, squared = (scope.rank_total(name) for name in ("work_steps", "work", "work_squared"))
    return _median(_deviation(steps, total, squared))


@fact("work.compute_correlation", "ratio", WORK)
def work_correlation(scope: Scope) -> float | None:
    """Correlation of the computing time of a step with its work; the median rank."""
    steps = scope.rank_total("work_steps")
    work, compute = scope.rank_total("work"), scope.rank_total("compute_s")
    spread = np.sqrt(_variance(steps, work, scope.rank_total("work_squared"))
                     * _variance(steps, compute, scope.rank_total("compute_squared")))
    with np.errstate(invalid="ignore", divide="ignore"):
        together = scope.rank_total("work_compute") / steps - (work / steps) * (compute / steps)
        found = np.where((steps > 20) & (spread > 0), together / spread, np.nan)
    return _median(found)


def _variance(count: Floats, total: Floats, squared: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(squared / count - (total / count) ** 2, 0.0)


def _deviation(count: Floats, total: Floats, squared: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 20, np.sqrt(_variance(count, total, squared)) / (total / count), np.nan)


def _median(values: Floats) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
