"""The GPU that a question is about, and what it is compared with."""

from collections.abc import Callable, Iterable

import numpy as np

from models.facts.ranks import SAME_RANK_RATIO, STRAGGLER_RATIO, rank_ratios, same_rank, slowest
from models.facts.registry import FACTS, Scope
from models.view import Booleans, Entity, Floats, Placed

#: A GPU works in the windows in which it is busy for at least this share of the time.
LOADED_RATIO = 0.4

Measure = Callable[[Entity, Booleans], float | None]


def suspect(scope: Scope) -> Placed | None:
    """The GPU of the slowest rank, or the only one; None when it is not known which that is."""
    found, place = scope.view.placed, slowest(scope)
    if place is None:
        return found[0] if len(found) == 1 else None
    return next((one for one in found if one.rank is scope.view.ranks[place]), None)


def peers(scope: Scope, one: Placed) -> list[Entity]:
    """The other GPUs of the run of the same model."""
    return [other.gpu for other in scope.view.placed
            if other.gpu is not one.gpu and other.gpu.labels.get("gpu.name") == one.gpu.labels.get("gpu.name")]


def straggles(scope: Scope) -> bool:
    """Whether one rank stands out, so that the others are what it is compared with.

    It must be the same one in most steps. Of a whole host the ranks take turns: they stand out too, unless most GPUs of the run are
    held back, or unless there is a past to compare with.
    """
    return scope.once("straggles", lambda: _straggles(scope))


def _straggles(scope: Scope) -> bool:
    place = slowest(scope)
    if place is None or not rank_ratios(scope)[place] >= STRAGGLER_RATIO:
        return False
    return (same_rank(scope) or 0.0) >= SAME_RANK_RATIO or (scope.before is None and not all_held_back(scope))


def all_held_back(scope: Scope) -> bool:
    """Whether the median GPU of the run is held at lower clocks."""
    # by name: that fact is made of what stands here
    return bool(FACTS["gpu.held_back_ratio"].measure(scope))


def of_suspect(scope: Scope, measure: Measure) -> float | None:
    """A measure of the suspect as it is."""
    one = suspect(scope)
    return None if one is None else measure(one.gpu, scope.inside)


def beyond(scope: Scope, measure: Measure, *, past_is_enough: bool = False) -> float | None:
    """What the suspect shows beyond what it showed before the onset and, when its rank stands out, beyond the median of its peers.

    What was there all the time, or is the same on all GPUs, explains no difference. The ratio to the median of the others would say
    the same of readings that are never zero; shares and counts are zero on healthy GPUs, so it is a difference. What is no matter of the
    load, such as who else is on the GPU, needs no peers where there is a past (`past_is_enough`).
    """
    one = suspect(scope)
    value = None if one is None else measure(one.gpu, scope.inside)
    if one is None or value is None:
        return None
    usual = [0.0]
    if scope.before is not None:
        usual.append(measure(one.gpu, scope.before) or 0.0)
    if straggles(scope) and not (past_is_enough and scope.before is not None):
        usual.append(median(measure(peer, scope.inside) for peer in peers(scope, one)) or 0.0)
    return max(value - max(usual), 0.0)


def median(values: Iterable[float | None]) -> float | None:
    """Median of what was measured; None of nothing."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def at_work(gpu: Entity, name: str, inside: Booleans) -> float | None:
    """Mean of a reading over the windows in which the GPU works; None where it was never measured at work."""
    return gpu.mean(name, inside & loaded(gpu))


def loaded(gpu: Entity) -> Booleans:
    """Windows in which the GPU works; all of them where nobody measured how busy it is."""
    busy = gpu.series.get("gpu.busy_ratio", gpu.series.get("gpu.graphics.active_ratio"))
    if busy is None:
        return np.ones(len(next(iter(gpu.series.values()))), bool)
    return held(busy) >= LOADED_RATIO


def held(values: Floats) -> Floats:
    """A reading that stays until the next one: NaN only before the first.

    >>> held(np.array([np.nan, 1.0, np.nan, 2.0]))
    array([nan,  1.,  1.,  2.])
    """
    known = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    return np.where(known >= 0, values[known], np.nan)


def any_flag(gpu: Entity, name: str, inside: Booleans) -> float | None:
    """1 when a flag was up in some window, 0 when it was measured and never was."""
    values = gpu.series.get(name, np.zeros(0))
    values = values[inside] if len(values) else values
    values = values[~np.isnan(values)]
    return None if not len(values) else float(values.max() > 0)
