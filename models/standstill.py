"""Incidents of what is no time of steps: errors that were reported, and a run that hangs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from models import hang
from models.causes.catalogue import Cause
from models.causes.engine import Attribution, Judgement, attribute, in_unit
from models.errors import JOB_KINDS, Error, errors_of, stories
from models.facts.errors import FAMILIES, counted
from models.facts.hang import RANKS, ranks_counted
from models.facts.registry import Scope
from models.incident import evidence_of, fill, missing
from models.suspects import gpu_text
from models.symptoms import Symptom
from models.view import STANDSTILLS, Entity, RunView
from pinchpoint.clock import NS, format_time, parse_time
from pinchpoint.records import content_id

#: Errors this long before the first step and after the last belong to the run.
AROUND_S = 120.0
#: Lines that an incident quotes, of each cause.
_QUOTED = 5
#: Causes are about a GPU by these names of `entity`.
_GPUS = ("gpu", "lost_gpu")


def incidents(view: RunView, causes: dict[str, Cause]) -> list[dict[str, Any]]:
    """Incidents of a run, or of what belongs to no run, that no step time tells of; what is worst comes first."""
    found = [_of_errors(story, view, causes) for story in stories(_near(view))]
    hangs = hang.find(view.events)
    if hangs is not None and hangs.waiting:
        found.append(_of_hang(hangs, view, causes))
    return sorted((one for one in found if one is not None),
                  key=lambda one: (-max((cause["confidence"] for cause in one["causes"]), default=0.0), one["start"]))


def one_story(slow: list[dict[str, Any]], reported: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All incidents of a run: errors that tell of the cause of a slow stretch near them become evidence of that, and are no incident.

    Args:
        slow: incidents of step times.
        reported: those of `incidents`.
    """
    slow, rest = list(slow), []
    for one in reported:
        place = next((place for place, other in enumerate(slow) if _tells_of(one, other)), None)
        if place is None:
            rest.append(one)
        else:
            slow[place] = _with_errors(slow[place], one["causes"])
    return slow + rest


def _tells_of(errors: dict[str, Any], slow: dict[str, Any]) -> bool:
    """Whether errors are what made a run slow: their first cause is one of it, at the same thing, and they are near it in time."""
    if errors["symptom"]["name"] != "errors" or not errors["causes"]:
        return False
    first = errors["causes"][0]
    return (any((one["id"], one["entity"]) == (first["id"], first["entity"]) for one in slow["causes"])
            and parse_time(errors["start"]) <= parse_time(slow["end"]) + AROUND_S * NS
            and parse_time(errors["end"]) >= parse_time(slow["start"]) - AROUND_S * NS)


def _with_errors(slow: dict[str, Any], causes: list[dict[str, Any]]) -> dict[str, Any]:
    """An incident with the errors as evidence; what else they tell of follows from it or came with it, and costs nothing that is known."""
    told = {one["id"]: one for one in causes}
    merged = [_with_evidence(one, told.pop(one["id"], None)) for one in slow["causes"]]
    return {**slow, "causes": [*merged, *told.values()], "rejected": [one for one in slow["rejected"] if one["cause"] not in
                                                                     {other["cause"] for other in told.values()}]}


def _with_evidence(cause: dict[str, Any], told: dict[str, Any] | None) -> dict[str, Any]:
    if told is None:
        return cause
    quotes = [one for one in told["evidence"] if one["fact"].startswith("event.")]
    return {**cause, "evidence": cause["evidence"] + quotes, "fix": list(dict.fromkeys([*told["fix"], *cause["fix"]])),
            "confidence": max(cause["confidence"], told["confidence"])}


def _near(view: RunView) -> list[Error]:
    """The errors of a run's time; all of them where there are no steps."""
    errors = errors_of(view.events)
    if not view.steps.sum():
        return errors
    begin = int(view.starts[0]) - round(AROUND_S * NS)
    end = int(view.starts[-1]) + round((view.window_s + AROUND_S) * NS)
    return [error for error in errors if begin <= error.event.time_ns <= end]


def _of_errors(story: list[Error], view: RunView, causes: dict[str, Cause]) -> dict[str, Any] | None:
    """The incident of errors that belong together; None when they are warnings that explain nothing."""
    scope = _scope(view, [error.event for error in story], story[0].event.time_ns, story[-1].event.time_ns)
    found = attribute(Symptom(scope, "ideal", {"errors": 0.0}), causes)
    grave = [error for error in story if error.severity != "warning"]
    if not grave and not found.named:
        return None
    start, end = story[0].event.time_ns, max(error.end_ns for error in story)
    hosts = sorted({error.event.host for error in story if error.event.host})
    gpus = view.others.get("gpu", [])
    named = [_cause(one, scope, [format_time(start), format_time(end)], gpus) for one, _ in found.named]
    return _incident(view, "errors", found, named, start, end, hosts, {
        "name": "errors", "entity": f"host:{hosts[0]}" if hosts else "run", "observed": float(len(grave) or len(story)), "baseline": 0.0,
        "unit": "errors", "lost_seconds": 0.0, "lost_share": 0.0, "compared_with": "ideal"})


def _of_hang(found: hang.Hang, view: RunView, causes: dict[str, Cause]) -> dict[str, Any]:
    """The incident of a run that stands still; how long is not in the dumps, so no seconds are claimed."""
    events = [event for event in view.events if event.action == hang.ACTION]
    start = found.since_ns or events[0].time_ns
    end = max(start, max((event.time_ns for event in events if event.time_ns >= start), default=start))
    scope = _scope(view, events, start, end)
    given = attribute(Symptom(scope, "other ranks", {"hang": 0.0}), causes)
    named = [_cause(one, scope, [format_time(start), format_time(end)]) for one, _ in given.named]
    return _incident(view, "hang", given, named, start, end, view.hosts, {
        "name": "hang", "entity": "run", "observed": float(len(found.waiting)), "baseline": 0.0, "unit": "ranks", "lost_seconds": 0.0,
        "lost_share": 0.0, "compared_with": "other ranks"})


def _scope(view: RunView, events: list[Any], start: int, end: int) -> Scope:
    """One window over events alone, without steps: facts of steps cannot be measured there."""
    alone = dataclasses.replace(view, window_s=max((end - start) / NS, 1e-3), starts=np.array([start], np.int64), ranks=[], others={},
                                events=events, slow_steps=[], placed=[], run={name: np.zeros(1) for name in view.run})
    return Scope(alone, np.ones(1, bool))


def _incident(view: RunView, name: str, found: Attribution, named: list[dict[str, Any]], start: int, end: int, hosts: list[str],
              symptom: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": content_id(view.run_id, name, *hosts, start)[:12], "start": format_time(start), "end": format_time(end), "run": view.run_id,
        "workload": view.workload, "hosts": hosts, "symptom": symptom, "causes": named,
        "rejected": [{"cause": one.cause.name, "because": one.because} for one in found.rejected if _came_near(one)],
        "unexplained_share": 0.0 if named else 1.0, "missing": [] if named else missing(found),
    }


def _came_near(judgement: Judgement) -> bool:
    """Whether it is worth saying: a cause that no error speaks for is not."""
    return not judgement.unknown and judgement.nearness > 0


def _cause(judgement: Judgement, scope: Scope, window: list[str], gpus: Sequence[Entity] = ()) -> dict[str, Any]:
    cause = judgement.cause
    names = list(dict.fromkeys(name for clause in cause.required for name in clause.facts))
    errors = [error for name in names if name in FAMILIES for error in counted(name, scope)]
    ranks = sorted({rank for name in names if name in RANKS for rank in ranks_counted(name, scope)})
    fixes = dict.fromkeys(error.finding.fix for error in errors if error.finding is not None and error.finding.fix)
    return {
        "cause": cause.name, "id": cause.id, "category": cause.category, "summary": cause.summary,
        "entity": _entity(cause, errors, ranks, scope), "lost_seconds": 0.0, "share": 0.0,
        "confidence": round(judgement.confidence, 2), "why": _why(cause, scope, errors, ranks, gpus),
        "evidence": [evidence_of(one, window) for one in dict.fromkeys(judgement.evidence)] + _quotes(errors)
        + _waits(ranks, scope, window),
        "fix": [*fixes, *cause.fix], "saves_seconds": 0.0,
    }


def _entity(cause: Cause, errors: list[Error], ranks: list[int], scope: Scope) -> dict[str, str]:
    """Who it is, as exactly as the errors tell: the GPU, else the host, else where the line came from."""
    if ranks:
        return {"kind": "rank", "id": ",".join(map(str, ranks))}
    for error in errors:
        uuid = error.event.details.get("gpu.uuid")
        if cause.entity in _GPUS and uuid:
            return {"kind": "gpu", "id": uuid}
        if error.event.host:
            return {"kind": "host", "id": error.event.host}
        if error.finding is not None and error.finding.device:
            return {"kind": "gpu" if error.finding.action == "gpu_error" else "device", "id": error.finding.device}
    return {"kind": cause.entity, "id": scope.view.run_id or "unnamed"}


def _why(cause: Cause, scope: Scope, errors: list[Error], ranks: list[int], gpus: Sequence[Entity]) -> list[str]:
    """From what is seen to the cause."""
    view = scope.view
    if ranks or not errors:
        seen = f"the run stands still since {format_time(int(view.starts[0]))}"
    else:
        seen = f"{in_unit(len(errors), 'errors')} since {format_time(errors[0].event.time_ns)}"
    # a sentence about slow steps has nothing to say where there are none
    told = fill(cause.why, scope) if cause.explains <= set(STANDSTILLS) else _who(errors, gpus)
    chain = [seen, f"because {cause.summary}: {told}"]
    if errors:
        chain.append(f"the first says: {errors[0].event.reason}")
    found = hang.find(view.events)
    return chain + [found.blocked_in[rank] for rank in ranks[:_QUOTED] if found is not None and rank in found.blocked_in]


def _who(errors: list[Error], gpus: Sequence[Entity]) -> str:
    """The GPUs that errors are about, as people find them."""
    if all(error.finding is not None and error.finding.kind in JOB_KINDS for error in errors):
        return "the job itself says so"
    return ", ".join(dict.fromkeys(_gpu_text(error, gpus) for error in errors)) or "an unknown one"


def _gpu_text(error: Error, gpus: Sequence[Entity]) -> str:
    uuid, device = error.event.details.get("gpu.uuid"), error.finding.device if error.finding is not None else None
    gpu = next((one for one in gpus if one.id == uuid), None)
    if gpu is not None:
        return gpu_text(gpu)
    host = f" of host {error.event.host}" if error.event.host else ""
    return f"GPU {uuid or device or 'of unknown number'}{host}"


def _quotes(errors: list[Error]) -> list[dict[str, Any]]:
    """The errors themselves, the first of each kind."""
    first: dict[str, Error] = {}
    for error in errors:
        first.setdefault(f"{error.event.reason}\x1f{error.finding.device if error.finding is not None else ''}", error)
    return [{"fact": f"event.{error.event.action}", "value": _quoted(error), "baseline": None, "limit": None, "unit": None,
             "window": [format_time(error.event.time_ns), format_time(error.end_ns)], "source": "kernel messages or a list of faults",
             "meaning": "Reported error"} for error in list(first.values())[:_QUOTED]]


def _quoted(error: Error) -> str:
    labels = error.event.details
    where = labels.get("gpu.uuid") or (error.finding.device if error.finding is not None else None)
    who = labels.get("process.name") or labels.get("oom.process")
    return (error.event.reason or error.event.action) + (f" ({where})" if where else "") + (f", process {who}" if who else "")


def _waits(ranks: list[int], scope: Scope, window: list[str]) -> list[dict[str, Any]]:
    found = hang.find(scope.view.events)
    if found is None:
        return []
    return [{"fact": "hang.rank", "value": f"rank {rank}: {found.blocked_in[rank]}", "baseline": None, "limit": None, "unit": None,
             "window": window, "source": "dumps of the NCCL flight recorder", "meaning": "Rank that holds the run up"}
            for rank in ranks if rank in found.blocked_in]
