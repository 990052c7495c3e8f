"""The answer: slow, healthy or not enough data, with everything that was found."""

from typing import Any

import numpy as np

from models import accounting, hang, standstill, symptoms, told
from models.causes.catalogue import Cause
from models.facts.ranks import rank_ratios
from models.facts.registry import Scope
from models.incident import incident, summary
from models.kept import keep_slow, keep_still, told_of
from models.symptoms import FEWEST_STEPS
from models.view import RunView

SCHEMA = "pinchpoint.verdict/1"


def explain(view: RunView, causes: dict[str, Cause], min_slowdown: float = 1.2) -> dict[str, Any]:
    """What is to be said of one run: verdict, summary, observed, shares, incidents, entities, anomalies.

    Under `kept` lies, by the id of its incident, what is written beside the verdict: evidence and findings;
    under `told` when the run was last seen (UTC ns; None for never), and the finding that says what was said of it.

    Args:
        view: the run.
        causes: the catalogue.
        min_slowdown: how many times slower than before counts as slower.
    """
    found = symptoms.find(view, min_slowdown)
    slow = [incident(one, causes) for one in found]
    incidents = standstill.one_story(slow, standstill.incidents(view, causes))
    steps = float(view.steps.sum())
    stated = told.numbers(view)
    ratios = accounting.shares(view) | {name: value for name, value in stated.items() if name != told.INIT}
    ratios, wall_s = told.with_init(ratios, float(view.wall.sum()), stated)
    shares = {name: float(f"{share:.4g}") for name, share in ratios.items()}
    answer = "slow" if incidents else "healthy" if symptoms.enough(view) or _listened(view) else "not_enough_data"
    return {
        "verdict": answer,
        "summary": _summary(view, incidents, shares),
        "observed": {"wall_s": float(f"{wall_s:.6g}"), "steps": int(steps), "ranks": len(view.ranks), "run": view.run_id,
                     "step_time_s": float(f"{view.wall.sum() / steps:.4g}") if steps else None},
        "shares": shares | _trace_shares(view),
        "incidents": incidents,
        "entities": _entities(view),
        "anomalies": [{"series": "run/step_time", "start": one["start"], "end": one["end"],
                       "score": min(one["symptom"]["lost_share"] + 0.5, 1.0)}
                      for one in slow if one["symptom"]["compared_with"] == "own past"],
        "kept": {one["id"]: keep_slow(symptom, one) for symptom, one in zip(found, incidents[:len(slow)], strict=True)}
                | {one["id"]: keep_still(view, one) for one in incidents[len(slow):]},
        "told": (int(view.starts[-1]) if len(view.starts) else None, told_of(view, answer)),
    }


def whole(answers: list[dict[str, Any]], inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The verdict of section "The verdict" of docs/architecture.md: of one run, or of the runs found in the inputs together.

    Of several runs the one that lost most speaks; the incidents of all are listed, most lost seconds first.
    """
    if not answers:
        return {"schema": SCHEMA, "inputs": inputs, "verdict": "not_enough_data",
                "summary": "There are no step times in the inputs, so nothing can be said about the run's speed.",
                "observed": {"wall_s": 0.0, "steps": 0, "ranks": 0}, "shares": {}, "incidents": [], "entities": [], "anomalies": []}
    first = max(answers, key=lambda one: (bool(one["incidents"]), sum(part["symptom"]["lost_seconds"] for part in one["incidents"]),
                                          one["verdict"] == "healthy", one["observed"]["wall_s"]))
    incidents = sorted((part for one in answers for part in one["incidents"]), key=lambda part: -part["symptom"]["lost_seconds"])
    said = {key: value for key, value in first.items() if key not in ("kept", "told")}
    return {"schema": SCHEMA, "inputs": inputs, **said, "incidents": incidents,
            "anomalies": [part for one in answers for part in one["anomalies"]]}


def _summary(view: RunView, incidents: list[dict[str, Any]], shares: dict[str, float]) -> str:
    steps = int(view.steps.sum())
    if incidents:
        return summary(incidents[0])
    if not steps and _listened(view):
        return f"{_listened(view)} Without step times nothing can be said about the run's speed."
    if not symptoms.enough(view):
        return f"Not enough data: {steps} steps were seen, at least {FEWEST_STEPS} are needed." if steps else \
            "Not enough data: no step times were seen. Add the SDK (pinchpoint.start, run.step) or print step times."
    return f"Nothing is out of line in {steps} steps: {100 * shares.get('compute', 0.0):.0f} % of the time goes into the model." \
        if shares.get("compute") else f"Nothing is out of line in {steps} steps."


def _listened(view: RunView) -> str:
    """What was read that tells of errors or of a hang when there are any, as a sentence; empty when nothing was."""
    dumps = sum(event.action == hang.ACTION for event in view.events)
    if dumps:
        return f"No collective is open in {dumps} dumps of the flight recorder."
    lines = sum(float(np.nansum(log.series.get("log.kernel_lines", np.zeros(1)))) for log in view.others.get("log", []))
    return f"There are no errors in the kernel's log ({lines:.0f} line{'s' if lines != 1 else ''})." if lines else ""


def _trace_shares(view: RunView) -> dict[str, float]:
    """Shares that a profiler trace tells beside the phases, under the names its tools use."""
    names = {"trace.gpu_idle_ratio": "gpu_idle", "trace.gpu_compute_ratio": "gpu_compute", "trace.gpu_non_compute_ratio": "gpu_non_compute",
             "trace.memcpy_exposed_ratio": "memcpy_exposed"}
    found: dict[str, float] = {}
    for trace in view.others.get("trace", []):
        for metric, name in names.items():
            values = trace.series.get(metric, np.full(1, np.nan))
            if (~np.isnan(values)).any():
                found.setdefault(name, float(f"{np.nanmean(values):.4g}"))
    return found


def _entities(view: RunView) -> list[dict[str, Any]]:
    """The ranks, slowest first, by their own step time over the median of the others; of a run that hangs those that hold it up."""
    if len(view.ranks) < 2:
        found = hang.find(view.events)
        return [] if found is None or not found.waiting else [
            {"entity": f"rank:{rank}", "score": 1.0 if rank in found.suspects else 0.0}
            for rank in sorted(found.ranks + found.silent, key=lambda rank: rank not in found.suspects)]
    ratios = rank_ratios(Scope(view, view.steps > 0))
    ranked = sorted(zip(view.ranks, ratios, strict=True), key=lambda pair: -np.nan_to_num(pair[1]))
    return [{"entity": f"rank:{rank.rank}", "score": None if np.isnan(ratio) else float(f"{ratio:.4g}")} for rank, ratio in ranked]


