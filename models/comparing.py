"""Compare two runs: how much longer a step takes, beyond doubt or not, and where the difference lies."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models import accounting
from models.families import by_family
from models.view import PARTS, Entity, Floats, RunView
from pinchpoint.human import seconds, share

SCHEMA = "pinchpoint.comparison/1"
#: A step must take this much more or less time to count as a change: two runs of the same thing differ by a percent or two.
LEAST_CHANGE = 0.02
#: With fewer steps, or windows with steps, on a side nobody can tell a change from the spread.
FEWEST_STEPS, FEWEST_WINDOWS = 20, 8
#: A step's work (tokens, else samples) that differs by more is taken out of the comparison.
_SAME_WORK = 0.01
_SAMPLES, _INTERVAL, _SEED = 2000, (2.5, 97.5), 0
#: Less is rounding of the times.
_NOTHING_S = 1e-9
#: Labels that name one thing rather than say how it is set.
_IDENTITIES = ("uuid", "id", "pid", "address", "serial", "name", "index", "path")
_MOST_VALUES = 8

Operations = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Side:
    """The settled part of a run, in windows."""

    view: RunView
    windows: np.ndarray
    """Whether a window counts: with steps, and after the warm-up."""

    @property
    def steps(self) -> float:
        return float(self.view.steps[self.windows].sum())

    def per_step(self, values: Floats) -> float:
        return float(values[self.windows].sum()) / self.steps if self.steps else math.nan

    @property
    def step_s(self) -> float:
        return self.per_step(self.view.wall)


def compare(before: RunView, after: RunView, operations: tuple[Operations, Operations] = ((), ())) -> dict[str, Any]:
    """What changed from one run to another.

    Warm-up is left out of both. Where both sides tell the work of a step and it differs, times are compared for the same work.

    Args:
        before: the run that is held to be usual.
        after: the run in question.
        operations: what a profiler says of each side: `kind name count total_s`, as readers of traces sum it up.
    Returns: `schema verdict summary before after change phases operations settings`; `verdict` is slower, faster, same or
        not_enough_data; `change` has `ratio low high` (95 % interval by circular block bootstrap over windows, Politis and Romano 1992;
        None where there are too few), `lost_seconds` (of the second run, beyond the first) and `work`: what a step was scaled to.
    """
    one, other = _settled(before), _settled(after)
    scale, work = _scale(one, other)
    change: dict[str, Any] = {"ratio": None, "low": None, "high": None, "lost_seconds": None, "work": work}
    told = "not_enough_data"
    if one.steps and other.steps:
        ratio = other.step_s * scale / one.step_s - 1
        change |= {"ratio": _rounded(ratio), "lost_seconds": _rounded((other.step_s * scale - one.step_s) * other.steps)}
        if min(one.steps, other.steps) >= FEWEST_STEPS and min(one.windows.sum(), other.windows.sum()) >= FEWEST_WINDOWS:
            low, high = _interval(one, other, scale)
            change |= {"low": _rounded(low), "high": _rounded(high)}
            told = "slower" if ratio >= LEAST_CHANGE and low > 0 else "faster" if ratio <= -LEAST_CHANGE and high < 0 else "same"
    phases = _phases(one, other, scale) if one.steps and other.steps else []
    answer = {"schema": SCHEMA, "verdict": told, "before": _about(one), "after": _about(other), "change": change, "phases": phases,
              "operations": _operations(operations, one, other), "settings": _settings(one, other)}
    return answer | {"summary": summary(answer)}


def summary(answer: Mapping[str, Any]) -> str:
    """The comparison in a sentence or two."""
    before, after, change = answer["before"], answer["after"], answer["change"]
    if change["ratio"] is None:
        return "Not enough data: no step times were seen on one side."
    of = f" for the same {change['work']}" if change["work"] else ""
    took = f"a step takes {seconds(after['step_time_s'])} instead of {seconds(before['step_time_s'])}"
    if answer["verdict"] == "not_enough_data":
        return f"Not enough steps to tell a change from the spread ({before['steps']} and {after['steps']}): {took}."
    if answer["verdict"] == "same":
        return f"No change beyond the spread: {took}{', ' + _signed(change['ratio']) + of if of else ''}."
    word = "longer" if answer["verdict"] == "slower" else "shorter"
    where = next((one for one in answer["phases"] if one["change_s"] * change["ratio"] > 0), None)
    share_of = abs(where["change_s"] * after["steps"] / change["lost_seconds"]) if where and change["lost_seconds"] else 0.0
    mostly = f" {share(min(share_of, 1.0))} of it is {where['phase'].replace('_', ' ')}." if where and share_of >= 0.1 else ""
    return (f"A step takes {share(abs(change['ratio']))} {word}{of}: {took} "
            f"(95 % interval {_signed(change['low'])} to {_signed(change['high'])}).{mostly}")


def _settled(view: RunView) -> _Side:
    windows = view.steps > 0
    windows[: accounting.warm_up_windows(view)] = False
    return _Side(view, windows)


def _scale(one: _Side, other: _Side) -> tuple[float, str | None]:
    """By what the second side's times are multiplied, and the work that is made the same; 1 and None where it is the same or unknown."""
    first, second = _work(one), _work(other)
    if first is None or second is None or abs(second / first - 1) <= _SAME_WORK:
        return 1.0, None
    return first / second, "work of a step (tokens or samples)"


def _work(side: _Side) -> float | None:
    """Tokens, else samples, of a step over all ranks; None where they are not told."""
    found = [ratio for rank in side.view.ranks if (ratio := _mean_work(rank, side.windows)) is not None]
    return sum(found) if found and len(found) == len(side.view.ranks) else None


def _mean_work(rank: Entity, windows: np.ndarray) -> float | None:
    if "work" not in rank.series or "work_steps" not in rank.series:
        return None
    steps = float(np.nansum(rank.series["work_steps"][windows]))
    return float(np.nansum(rank.series["work"][windows])) / steps if steps else None


def _interval(one: _Side, other: _Side, scale: float) -> tuple[float, float]:
    """Limits between which the ratio of mean step times, less 1, lies in 95 % of resampled runs."""
    chance = np.random.default_rng(_SEED)
    means = [_resampled(side.view.wall[side.windows], side.view.steps[side.windows], chance) for side in (one, other)]
    low, high = np.percentile(means[1] * scale / means[0] - 1, _INTERVAL)
    return float(low), float(high)


def _resampled(wall: Floats, steps: Floats, chance: np.random.Generator) -> Floats:
    """Mean step times of runs made of blocks of this one: neighbouring windows are alike, so that they are drawn together."""
    size = len(wall)
    block = math.ceil(size ** (1 / 3))
    begins = chance.integers(0, size, (_SAMPLES, math.ceil(size / block)))
    places = ((begins[:, :, None] + np.arange(block)) % size).reshape(_SAMPLES, -1)[:, :size]
    return np.asarray(wall[places].sum(axis=1) / steps[places].sum(axis=1))


def _about(side: _Side) -> dict[str, Any]:
    return {"run": side.view.run_id, "workload": side.view.workload, "ranks": len(side.view.ranks), "hosts": len(side.view.hosts),
            "steps": int(side.steps), "step_time_s": _rounded(side.step_s) if side.steps else None}


def _phases(one: _Side, other: _Side, scale: float) -> list[dict[str, Any]]:
    """Seconds a step of each phase on the critical path, those first that changed most."""
    found = []
    for part in PARTS:
        was, now = one.per_step(one.view.phase(part)), other.per_step(other.view.phase(part)) * scale
        if max(was, now) >= _NOTHING_S:
            found.append({"phase": "between_steps" if part == "gap" else part, "before_s": _rounded(was), "after_s": _rounded(now),
                          "change_s": _rounded(now - was), "lost_seconds": _rounded((now - was) * other.steps)})
    return sorted(found, key=lambda row: -abs(row["change_s"]))


def _operations(operations: tuple[Operations, Operations], one: _Side, other: _Side) -> list[dict[str, Any]]:
    """Seconds a step of each family of operations, those first that changed most; empty where a side has no profile."""
    if not all(operations):
        return []
    was, now = ({family: total / max(float(side.view.steps.sum()), 1.0) for family, total in by_family(some).items()}
                for some, side in zip(operations, (one, other), strict=True))
    found = [{"family": family, "before_s": _rounded(was.get(family, 0.0)), "after_s": _rounded(now.get(family, 0.0)),
              "change_s": _rounded(now.get(family, 0.0) - was.get(family, 0.0))} for family in sorted(was | now)]
    return sorted(found, key=lambda row: -abs(row["change_s"]))


def _settings(one: _Side, other: _Side) -> list[dict[str, Any]]:
    """What is set otherwise, as far as the records tell: ranks, hosts, work, labels, and what was written down as `config`."""
    was, now = _set(one.view), _set(other.view)
    works = _work(one), _work(other)
    was, now = ({**values, **({"work of a step": _text(work)} if work is not None else {})}
                for values, work in zip((was, now), works, strict=True))
    return [{"name": name, "before": was.get(name), "after": now.get(name)} for name in sorted(was | now) if was.get(name) != now.get(name)]


def _set(view: RunView) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for entity in (*view.ranks, *(one for group in view.others.values() for one in group)):
        for name, value in entity.labels.items():
            if name.rpartition(".")[2] not in _IDENTITIES or name == "gpu.name":
                found.setdefault(name, set()).add(value)
    values = {name: ", ".join(sorted(some)) for name, some in found.items() if len(some) <= _MOST_VALUES}
    for event in view.events:
        if event.action == "config":
            values |= event.details
    return values | {"ranks": str(len(view.ranks)), "hosts": str(len(view.hosts))}


def _signed(ratio: float) -> str:
    return f"{100 * ratio:+.1f} %".replace("-", "−")


def _text(value: float) -> str:
    return f"{value:g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
