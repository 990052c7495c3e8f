"""Find what is out of line in a run: slower than before, slower than the other ranks, slow all along."""

import dataclasses

import numpy as np

from models import accounting, told
from models.facts import FACTS
from models.facts.ranks import ROTATING_SHARE, SAME_RANK_RATIO, STRAGGLER_RATIO, slowest
from models.facts.registry import Scope
from models.scores.change import Change, onset
from models.scores.creep import NO_NOISE, creep
from models.view import COMPUTE, PARTS, Booleans, Floats, RunView

#: Shares of wall time from which on a phase is slow all along. Sources: research of the tools named in the catalogue's files;
#: communication is higher than their 10 % because healthy data-parallel runs reach that.
CHRONIC_SHARE = {"data_wait": 0.10, "h2d": 0.10, "checkpoint": 0.05, "evaluation": 0.05, "compile": 0.05, "gc": 0.05, "gap": 0.15,
                 "communication": 0.25}
#: A device that is idle for so much of the time of its kernels is held back by the host, however long the kernels are.
HOST_BOUND_IDLE = 0.35
#: Waiting for a straggler costs at least this share of the wall time.
SKEW_SHARE = 0.08
#: A change must cost this share of the wall time after it.
CHANGE_SHARE = 0.10
#: With fewer steps than this nothing can be said, unless a trace shows what happens inside them.
FEWEST_STEPS = 4
#: A change point needs this many windows with steps.
FEWEST_WINDOWS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Symptom:
    """Lost seconds of one stretch of a run, by the part of the step they were lost in."""

    scope: Scope
    compared_with: str
    """ideal, own past or other ranks."""
    lost: dict[str, float]
    """Seconds lost by part: a phase, `gap`, or `skew` for what the slowest rank costs in any phase."""

    @property
    def lost_seconds(self) -> float:
        return sum(self.lost.values())

    @property
    def observed_s(self) -> float:
        """Mean step time, in seconds."""
        return self.scope.wall_s / self.scope.steps if self.scope.steps else float("nan")

    @property
    def baseline_s(self) -> float:
        """What a step would take without what was lost."""
        return (self.scope.wall_s - self.lost_seconds) / self.scope.steps if self.scope.steps else float("nan")

    @property
    def lost_share(self) -> float:
        return self.lost_seconds / self.scope.wall_s if self.scope.wall_s else 0.0


def find(view: RunView, min_slowdown: float) -> list[Symptom]:
    """Everything out of line in a run, most lost seconds first; what began at an onset is not reported a second time as chronic.

    Args:
        view: the run.
        min_slowdown: how many times slower than before counts as slower.
    """
    if not enough(view):
        return []
    settled = np.zeros(len(view.starts), bool)
    settled[accounting.warm_up_windows(view):] = True
    found = []
    changed = _slower_than_before(view, settled, min_slowdown)
    if changed is not None:
        found.append(changed)
        before = changed.scope.before
        steady = _all_along(Scope(view, before)) if before is not None else None
        if steady is not None:  # it was slow before the change already: in that respect it is slow all along
            lost = {part: seconds for part, seconds in _all_along_lost(Scope(view, settled)).items() if part in steady.lost}
            for part in lost:
                changed.lost.pop(part, None)
            found.append(Symptom(Scope(view, settled), steady.compared_with, lost))
    else:
        steady = _all_along(Scope(view, settled))
        if steady is not None:
            found.append(steady)
    begin = _warm_up(view, settled)
    if begin is not None:
        found.append(begin)
    return sorted((one for one in found if one.lost and one.lost_seconds > 0), key=lambda one: -one.lost_seconds)


def enough(view: RunView) -> bool:
    """Whether there is enough to say anything about the run."""
    steps = float(view.steps.sum())
    return steps >= FEWEST_STEPS or (steps > 0 and ("trace" in view.others or told.KIND in view.others))


def _slower_than_before(view: RunView, settled: Booleans, min_slowdown: float) -> Symptom | None:
    series = accounting.step_time(view)
    windows = np.flatnonzero(settled & ~np.isnan(series))
    if len(windows) < FEWEST_WINDOWS:
        return None
    change = _change(series[windows], min_slowdown)
    if change is None:
        return None
    inside, before = np.zeros(len(settled), bool), np.zeros(len(settled), bool)
    last = windows[-1] if change.end >= len(windows) else windows[change.end] - 1
    inside[windows[change.start]: last + 1] = True
    before[settled & ~inside] = True
    before[: int(windows[0])] = False
    if change.start > 0:
        before[windows[change.start]:] = False
    scope, past = Scope(view, inside, before), Scope(view, before)
    if not past.steps or not scope.steps:
        return None
    lost = {}
    for part in PARTS:
        excess = scope.seconds(part) - scope.steps * past.seconds(part) / past.steps
        if excess > 0.005 * scope.wall_s:
            lost[part] = excess
    skew = scope.total("skew_s") - scope.steps * past.total("skew_s") / past.steps
    _take_skew(lost, skew)
    symptom = Symptom(scope, "own past", lost)
    return symptom if symptom.lost_share >= CHANGE_SHARE else None


def _change(series: Floats, min_slowdown: float) -> Change | None:
    """A climb over the whole series, else the onset of a slow stretch, else a climb that is only just more than noise."""
    climbs = creep(series, min_slowdown)
    change = None if climbs else onset(series, min_ratio=min_slowdown)
    if change is None and (climbs or creep(series, min_slowdown, NO_NOISE)):
        # it never stood still: what it began with is the baseline
        begin = max(len(series) // 10, 2)
        return Change("trend", begin, len(series), float(np.median(series[:begin])), float(series[-1]), 0.0)
    return change


def _take_skew(lost: dict[str, float], skew: float) -> None:
    """Move what the slowest rank costs out of the computing phases into a part of its own, at most what was lost there."""
    parts = [part for part in (*COMPUTE, "other") if part in lost]
    there = sum(lost[part] for part in parts)
    moved = min(max(skew, 0.0), there)
    if moved < 0.2 * there or not there:
        return
    for part in parts:
        lost[part] -= moved * lost[part] / there
    lost["skew"] = moved


def _all_along(scope: Scope) -> Symptom | None:
    lost = _all_along_lost(scope)
    if not lost:
        return None
    most = max(lost, key=lambda part: lost[part])
    return Symptom(scope, "other ranks" if most == "skew" else "ideal", lost)


def _all_along_lost(scope: Scope) -> dict[str, float]:
    wall = scope.wall_s
    lost = {part: scope.seconds(part) for part, limit in CHRONIC_SHARE.items() if wall > 0 and scope.seconds(part) / wall >= limit}
    if "communication" in told.numbers(scope.view):
        lost.pop("communication", None)  # what one rank prints holds its waits for other stages of the pipeline, and overlaps
    skew = _steady_skew(scope)
    if skew is not None:
        lost["skew"] = skew
    idle = _launch_idle(scope)
    if idle is not None:
        lost["other"] = idle
    held = _held_back(scope)
    if held is not None:
        lost["compute" if scope.view.has_compute else "other"] = held
    return lost


def _steady_skew(scope: Scope) -> float | None:
    """Seconds that ranks wait for the last one, outside the phases that are counted whole; None below the limits.

    Of a straggler it is what that rank costs beyond the median of the others, as far as its computation explains it.
    """
    place, share = slowest(scope), FACTS["skew.share"].measure(scope)
    if place is None or share is None:
        return None
    ratio, same = FACTS["straggler.ratio"].measure(scope) or 0.0, FACTS["straggler.same_rank_ratio"].measure(scope) or 0.0
    if ratio >= STRAGGLER_RATIO and same >= SAME_RANK_RATIO:
        compute = FACTS["straggler.compute_ratio"].measure(scope)
        # where traces show that the others wait for it, it does not matter what it did meanwhile
        seen = (FACTS["collective.last_ratio"].measure(scope) or 0.0) >= SAME_RANK_RATIO
        part = 1.0 if compute is None or seen else min(max(compute, 0.0), 1.0)
        # a step lies in the window in which its rank began it; that of the run began with the first rank
        lost = min(float(scope.rank_total("skew_s")[place]), scope.total("skew_s")) * part
        return lost if lost >= SKEW_SHARE * scope.wall_s else None
    return share * scope.wall_s if share >= ROTATING_SHARE else None


def _launch_idle(scope: Scope) -> float | None:
    """Seconds in which the device waited for the host; None unless a trace shows small kernels, or that it waits for much of the time."""
    kernel, idle = FACTS["trace.kernel_mean_s"].measure(scope), FACTS["trace.gpu_idle_ratio"].measure(scope)
    if kernel is None or idle is None:
        return None
    if kernel <= 25e-6 and idle >= 0.15:
        return scope.seconds("other")
    loading = FACTS["trace.loader_of_idle_ratio"].measure(scope) or 0.0
    return scope.seconds("other") if idle >= HOST_BOUND_IDLE and loading < 0.5 else None


def _held_back(scope: Scope) -> float | None:
    """Seconds of computation that all GPUs together lose at lower clocks, if computation follows the clock; None when that is little."""
    share = FACTS["gpu.held_back_ratio"].measure(scope)
    work = float(scope.view.compute()[scope.inside].sum()) if scope.view.has_compute else scope.seconds("other")
    lost = 0.0 if share is None else share * work
    return lost if lost > 0 and lost >= CHANGE_SHARE * scope.wall_s else None


def _warm_up(view: RunView, settled: Booleans) -> Symptom | None:
    """The beginning of the run, when it cost a fifth of it."""
    seconds = accounting.warm_up_seconds(view)
    if seconds < 0.2 * float(view.wall.sum()):
        return None
    return Symptom(Scope(view, ~settled, settled), "own past", {"compile": seconds})
