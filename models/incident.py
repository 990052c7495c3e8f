"""Make an incident of a symptom: what a person reads, as a plain document."""

import math
import re
from typing import Any

import numpy as np

from models import suspects
from models.causes.catalogue import WHO, Cause
from models.causes.engine import Attribution, Evidence, Judgement, attribute, in_unit, tell
from models.facts import FACTS
from models.facts.changes import change_near
from models.facts.registry import Scope
from models.symptoms import Symptom
from models.view import STANDSTILLS
from pinchpoint.clock import NS, format_time
from pinchpoint.records import content_id

#: How a part of the step is called in a sentence "X % of the time …".
PART_SENTENCES = {
    "data_wait": "the ranks wait for data",
    "h2d": "batches are copied to the device",
    "communication": "the ranks communicate",
    "checkpoint": "checkpoints are written",
    "evaluation": "the model is evaluated",
    "compile": "the model is compiled",
    "gc": "garbage is collected",
    "gap": "nothing happens between the steps",
    "other": "the device waits for the host",
    "skew": "the ranks wait for the slowest one",
    "forward": "goes into the forward pass beyond what it used to take",
    "backward": "goes into the backward pass beyond what it used to take",
    "optimizer": "goes into the optimizer beyond what it used to take",
    "compute": "goes into computation beyond what it used to take",
}
#: With this confidence nobody needs to be asked for more.
SURE = 0.6
#: Units of things that are counted whole.
COUNTED = ("errors", "ranks")
_PLACE = re.compile(r"\{([^{}:]*)(?::(\w+))?\}")


def incident(symptom: Symptom, causes: dict[str, Cause]) -> dict[str, Any]:
    """The incident of a symptom as section `incidents` of the verdict has it, with run, workload and hosts.

    The id is made of run, symptom and onset, so that analysing again finds the same one.
    """
    found = attribute(symptom, causes)
    scope, view = symptom.scope, symptom.scope.view
    windows = np.flatnonzero(scope.inside)
    start = int(view.starts[windows[0]])
    end = int(view.starts[windows[-1]]) + round(view.window_s * NS)
    end = max(end, start)
    named = [_cause(judgement, seconds, symptom) for judgement, seconds in found.named]
    return {
        "id": content_id(view.run_id, "step_time", symptom.compared_with == "own past", start)[:12],
        "start": format_time(start),
        "end": format_time(end),
        "run": view.run_id,
        "workload": view.workload,
        "hosts": view.hosts,
        "symptom": {
            "name": "step_time", "entity": "run", "observed": number(symptom.observed_s), "baseline": number(symptom.baseline_s),
            "unit": "s", "lost_seconds": number(symptom.lost_seconds), "lost_share": number(symptom.lost_share),
            "compared_with": symptom.compared_with,
        },
        "causes": named,
        "rejected": [{"cause": one.cause.name, "because": one.because} for one in found.rejected if not one.unknown],
        "unexplained_share": number(found.unexplained_s / symptom.lost_seconds if symptom.lost_seconds else 0.0),
        "missing": missing(found),
    }


def summary(one: dict[str, Any]) -> str:
    """One sentence: how much is lost, and to what."""
    if one["symptom"]["name"] in STANDSTILLS:
        return _standstill(one)
    lost = in_unit(one["symptom"]["lost_share"], "ratio")
    when = f"Since {one['start'][11:19]} " if one["symptom"]["compared_with"] == "own past" else ""
    if not one["causes"]:
        return f"{when}{lost} of the wall time is lost, and no known cause explains it."
    first = one["causes"][0]
    return f"{when}{lost} of the wall time is lost: {first['summary']}."


def _standstill(one: dict[str, Any]) -> str:
    symptom = one["symptom"]
    things = in_unit(symptom["observed"], symptom["unit"])
    since = one["start"][:19].replace("T", " ")
    seen = f"{things} since {since}" if symptom["name"] == "errors" else f"The run stands still: {things} in open collectives"
    if not one["causes"]:
        return f"{seen}, and no known cause explains it."
    first = one["causes"][0]
    return f"{seen}: {first['summary']} ({first['entity']['kind']} {first['entity']['id']})."


def _cause(judgement: Judgement, seconds: float, symptom: Symptom) -> dict[str, Any]:
    cause, scope = judgement.cause, symptom.scope
    windows = np.flatnonzero(scope.inside)
    window = [format_time(int(scope.view.starts[windows[0]])),
              format_time(int(scope.view.starts[windows[-1]]) + round(scope.view.window_s * NS))]
    return {
        "cause": cause.name, "id": cause.id, "category": cause.category, "summary": cause.summary,
        "entity": _entity(cause, scope), "lost_seconds": number(seconds), "share": number(seconds / scope.wall_s),
        "confidence": round(judgement.confidence, 2), "why": _why(cause, symptom),
        "evidence": [evidence_of(one, window) for one in judgement.evidence] + _named_evidence(cause, scope, window),
        "fix": list(cause.fix), "saves_seconds": number(seconds),
    }


def _why(cause: Cause, symptom: Symptom) -> list[str]:
    """The chain from the symptom to the cause, each link the reason of the one before."""
    scope = symptom.scope
    compared = {"ideal": "without the waste", "own past": "before", "other ranks": "without the slowest rank",
                "other runs": "in earlier runs"}[symptom.compared_with]
    chain = [f"a step takes {in_unit(symptom.observed_s, 's')}; {compared} it would be {in_unit(symptom.baseline_s, 's')}"
             if symptom.compared_with != "own past" else
             f"a step takes {in_unit(symptom.observed_s, 's')}; before it took {in_unit(symptom.baseline_s, 's')}"]
    parts = {part: seconds for part, seconds in symptom.lost.items() if part in cause.explains or "all" in cause.explains}
    most = max(parts, key=lambda part: parts[part])
    sentence = PART_SENTENCES.get(most, f"goes into {most}")
    if most == "other" and not scope.view.has_compute:
        sentence = "is spent inside the step beyond what it used to take"
    if symptom.compared_with == "ideal":
        sentence = sentence.replace("beyond what it used to take", "beyond what it would take")
    chain.append(f"because {in_unit(parts[most] / scope.wall_s, 'ratio')} of the time {sentence}")
    chain.append(f"because {cause.summary}: {fill(cause.why, scope, cause.entity)}")
    change = change_near(scope) if cause.onset else None
    if change is not None:
        details = ", ".join(f"{key} {value}" for key, value in sorted(change.details.items()))
        chain.append(f"the change: {change.action} at {format_time(change.time_ns)}"
                     + (f", {change.reason}" if change.reason else "") + (f" ({details})" if details else ""))
    return chain


def fill(sentence: str, scope: Scope, entity: str = "run") -> str:
    """Put what was measured into a sentence with `{fact}` and `{fact:times}` in it, and who it is for `{who}`."""

    def measured(match: re.Match[str]) -> str:
        if match[1] == WHO:
            found = suspects.find(entity, scope)
            return "an unknown one" if found is None else found.about
        value = FACTS[match[1]].measure(scope)
        if value is None:
            return "an unknown part" if FACTS[match[1]].unit == "ratio" else "unknown"
        if match[2] == "times":
            return f"{value:.3g} times"
        if FACTS[match[1]].unit == "processes":
            return "1 worker process" if round(value) <= 1 else f"{round(value)} worker processes"
        if FACTS[match[1]].unit == "programs":
            return "1 program" if round(value) == 1 else f"{value:.2g} programs"
        if FACTS[match[1]].unit == "steps":
            return f"{max(round(value), 1)} steps"
        return tell(match[1], value)

    return _PLACE.sub(measured, sentence)


def evidence_of(one: Evidence, window: list[str]) -> dict[str, Any]:
    """A piece of evidence as the verdict has it."""
    about = FACTS[one.fact]
    limit = math.ceil(one.limit) if about.unit in COUNTED else one.limit
    return {"fact": one.fact, "value": None if one.value is None else number(one.value), "baseline": number(one.baseline),
            "limit": number(limit), "unit": about.unit, "window": window, "source": about.needs, "meaning": about.meaning}


def _named_evidence(cause: Cause, scope: Scope, window: list[str]) -> list[dict[str, Any]]:
    """Who it is, where a number does not tell: the processes that take the processors, the change that was made."""
    if cause.entity == "host":
        takers = sorted(((one.mean("process.cpu_s", scope.inside) or 0.0, one) for one in scope.entities("process", role="other")),
                        key=lambda pair: -pair[0])
        return [{"fact": "host.other_process", "value": f"{one.labels.get('process.name', '?')} (pid {one.labels.get('process.pid', '?')})"
                 f" uses {cpu:.2g} processors", "baseline": None, "limit": None, "unit": None, "window": window,
                 "source": "process metrics", "meaning": "Process outside the run"} for cpu, one in takers[:3] if cpu >= 0.05]
    found = suspects.find(cause.entity, scope) if f"{{{WHO}}}" in cause.why else None
    if found is not None:
        return [{"fact": found.kind, "value": found.about, "baseline": None, "limit": None, "unit": None, "window": window,
                 "source": "labels of the records", "meaning": "Who it is"}]
    change = change_near(scope) if cause.onset else None
    if change is None:
        return []
    return [{"fact": f"event.{change.action}", "value": change.reason or change.action, "baseline": None, "limit": None, "unit": None,
             "window": [format_time(change.time_ns)] * 2, "source": "change events", "meaning": "Change near the onset"}]


def _entity(cause: Cause, scope: Scope) -> dict[str, str]:
    found = suspects.find(cause.entity, scope)
    if found is not None:
        return {"kind": found.kind, "id": found.id}
    if cause.entity == "process" and "data_wait" in cause.explains:
        return {"kind": "process", "id": "dataloader"}
    return {"kind": cause.entity, "id": scope.view.run_id if cause.entity == "run" else cause.entity}


def missing(found: Attribution) -> list[str]:
    """What to ship so that the causes that could not be told can be told; nothing when a cause is sure enough without."""
    if found.named and found.unexplained_s == 0 and all(one.confidence >= SURE and not one.cause.umbrella for one, _ in found.named):
        return []
    asked: dict[str, list[str]] = {}
    for one in found.rejected:
        for name in one.unknown:
            asked.setdefault(FACTS[name].needs, []).append(f"{one.cause.name} ({one.cause.id})")
    return [f"{needs}: would tell about {', '.join(sorted(set(names)))}" for needs, names in sorted(asked.items())]


def number(value: float | None) -> float | None:
    """A number in six digits: sums in another order differ beyond that."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.6g}")
