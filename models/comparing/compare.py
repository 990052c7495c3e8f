"""Say what changed from one run to another."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from models.comparing.sample import Sample, settled
from models.scores.ratio import Ratio, ratio_of_medians, spread

SCHEMA = "pinchpoint.compare/1"
#: Runs of the same program on the same machine differ by as much: below it nothing changed.
LEAST_CHANGE = 0.02
#: With fewer steps on either side nothing can be said about the step time.
FEWEST_STEPS = 3
#: With fewer, an interval says little: the slowest of one must be faster than the fastest of the other.
_FEW_STEPS = 8
#: Parts and families that changed by less than this share of the step are left out.
_LEAST_SHARE = 0.002


def compare(before: Sample, after: Sample) -> dict[str, Any]:
    """The comparison as `pinchpoint compare --format json` prints it; docs/compare.md lists the keys.

    Whether the second run is slower is decided by the medians of the steps, with the interval of 99 % around their ratio: single slow
    steps change nothing there. The seconds by part are means, so that they add up to the change of the mean.
    """
    one, other = settled(before), settled(after)
    enough = min(len(one.wall), len(other.wall)) >= FEWEST_STEPS
    ratio = ratio_of_medians(other.wall, one.wall) if enough else None
    verdict = "not_enough_data" if ratio is None else _verdict(one, other, ratio)
    change_s = float(other.wall.mean() - one.wall.mean()) if len(one.wall) and len(other.wall) else None
    phases = _changes(_means(one.parts), _means(other.parts)) if change_s is not None else []
    families = _changes(before.families, after.families) if before.families and after.families else []
    found = {
        "schema": SCHEMA, "verdict": verdict, "a": _about(before, one), "b": _about(after, other),
        "change": {"ratio": _rounded(ratio.value) if ratio else None, "low": _rounded(ratio.low) if ratio else None,
                   "high": _rounded(ratio.high) if ratio else None, "step_s": _rounded(change_s),
                   "lost_seconds": _rounded(None if change_s is None else change_s * len(other.wall))},
        "phases": _kept(phases, one), "families": _kept(families, one), "shares": _share_changes(before, after),
        "settings": _settings(before.settings, after.settings), "notes": list(_notes(one, other, verdict)),
    }
    return found | {"summary": _summary(found)}


def exceeds(comparison: Mapping[str, Any], most: float) -> bool:
    """Whether the second run is slower by more than a share, such as 0.05, and not by noise alone."""
    change = comparison["change"]
    return bool(comparison["verdict"] == "slower" and change["ratio"] - 1 > most)


def _verdict(one: Sample, other: Sample, ratio: Ratio) -> str:
    few = min(len(one.wall), len(other.wall)) < _FEW_STEPS
    # no value of one lies among those of the other
    apart_up, apart_down = other.wall.min() > one.wall.max(), other.wall.max() < one.wall.min()
    if ratio.value > 1 + LEAST_CHANGE and (apart_up if few else ratio.low > 1):
        return "slower"
    if ratio.value < 1 - LEAST_CHANGE and (apart_down if few else ratio.high < 1):
        return "faster"
    return "same"


def _about(whole: Sample, part: Sample) -> dict[str, Any]:
    some = len(part.wall) > 0
    return {"name": whole.name, "run": whole.run, "steps": len(whole.wall), "warm_up_steps": len(whole.wall) - len(part.wall),
            "ranks": whole.ranks, "step_time_s": _rounded(float(np.median(part.wall)) if some else None),
            "mean_step_time_s": _rounded(float(part.wall.mean()) if some else None),
            "spread_ratio": _rounded(spread(part.wall) if some else None)}


def _means(parts: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in parts.items() if len(values)}


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[dict[str, Any]]:
    """Seconds of a step, before and after, what grew most first."""
    changes = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in {**before, **after}}
    return [{"name": name, "a_s": before.get(name, 0.0), "b_s": after.get(name, 0.0), "change_s": changes[name]}
            for name in sorted(changes, key=lambda name: -abs(changes[name]))]


def _kept(rows: Iterable[dict[str, Any]], one: Sample) -> list[dict[str, Any]]:
    least = _LEAST_SHARE * float(np.median(one.wall)) if len(one.wall) else 0.0
    return [{name: _rounded(value) if isinstance(value, float) else value for name, value in row.items()}
            for row in rows if max(row["a_s"], row["b_s"]) >= least]


def _share_changes(before: Sample, after: Sample) -> list[dict[str, Any]]:
    return [{"name": name, "a": _rounded(before.shares[name]), "b": _rounded(after.shares[name])}
            for name in before.shares if name in after.shares]


def _settings(before: Mapping[str, str], after: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is set up differently; None where only one of them tells."""
    return [{"name": name, "a": before.get(name), "b": after.get(name)} for name in sorted({*before, *after})
            if before.get(name) != after.get(name)] if before and after else []


def _notes(one: Sample, other: Sample, verdict: str) -> Iterable[str]:
    for letter, sample in (("A", one), ("B", other)):
        if not len(sample.wall):
            yield f"no step times are in {letter}"
        elif len(sample.wall) < FEWEST_STEPS:
            yield f"{letter} has {len(sample.wall)} step{'s' if len(sample.wall) != 1 else ''}, at least {FEWEST_STEPS} are needed"
    if verdict == "same" and other.wall.mean() > (1 + 2 * LEAST_CHANGE) * one.wall.mean():
        yield "most steps take as long, but some of the second run take much longer: look at its phases"
    if one.ranks != other.ranks and one.ranks and other.ranks:
        yield f"they ran on {one.ranks} and {other.ranks} ranks: a step may do another amount of work"


def _summary(found: Mapping[str, Any]) -> str:
    change = found["change"]
    if found["verdict"] == "not_enough_data":
        return "Not enough data: " + "; ".join(found["notes"]) + "."
    interval = f"{100 * (change['low'] - 1):+.1f} to {100 * (change['high'] - 1):+.1f} %"
    if found["verdict"] == "same":
        return f"The steps of B take as long as those of A: {100 * (change['ratio'] - 1):+.1f} % ({interval})."
    grown = [row for row in found["phases"] if (row["change_s"] > 0) == (found["verdict"] == "slower")]
    mostly = f", most of it in {grown[0]['name']}" if grown else ""
    return (f"A step of B takes {abs(100 * (change['ratio'] - 1)):.1f} % {'longer' if found['verdict'] == 'slower' else 'less'} "
            f"than one of A ({interval}){mostly}.")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
