"""What is written beside an incident: the evidence it rests on as series, and each thing that was found out of line."""

import dataclasses
from typing import Any

import numpy as np

from models import evidence, quotes
from models.evidence import Series
from models.facts.ranks import STRAGGLER_RATIO, own_times, rank_ratios
from models.quotes import Quote
from models.standstill import AROUND_S
from models.symptoms import Symptom
from models.view import RunView
from pinchpoint.clock import NS, parse_time

#: Findings of ranks of one incident, at most; the farthest out of line.
MOST_RANKS = 64
#: The model that found it, by what a symptom is compared with.
_MODELS = {"own past": "change point of the step time", "ideal": "share of a phase", "other ranks": "ratio to the median of the others"}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing out of line in the time of an incident."""

    entity_kind: str
    entity_id: str
    host: str | None
    symptom: str | None
    observed: float | None
    baseline: float | None
    score: float | None
    """Observed over baseline; None without a baseline above 0."""
    lost_seconds: float | None
    compared_with: str | None
    model: str
    labels: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """Evidence and findings of one incident."""

    series: tuple[Series, ...]
    findings: tuple[Finding, ...]
    quotes: tuple[Quote, ...] = ()
    """Log lines and changes around it."""


def told_of(view: RunView, verdict: str) -> Finding:
    """What was said of a whole run, so that healthy runs and those without enough data can be counted too."""
    steps = float(view.steps.sum())
    return Finding("run", view.run_id, None, None, float(view.wall.sum()) / steps if steps else None, None, None, None, None, "verdict",
                   {"verdict": verdict, "ranks": str(len(view.ranks)), "steps": str(int(steps))})


def keep_slow(symptom: Symptom, incident: dict[str, Any]) -> Kept:
    """What is kept of an incident of step time."""
    view = symptom.scope.view
    first, end = evidence.around(view, symptom.scope.inside)
    said = quotes.keep(view, int(view.starts[first]), int(view.starts[end - 1]) + round(view.window_s * NS), parse_time(incident["start"]))
    return Kept(tuple(evidence.of_symptom(symptom, incident)), (_of_incident(incident, len(view.ranks)), *_ranks(symptom)), said)


def keep_still(view: RunView, incident: dict[str, Any]) -> Kept:
    """What is kept of an incident that no step time tells of."""
    start, end = (parse_time(incident[name]) for name in ("start", "end"))
    margin = round(AROUND_S * NS)
    return Kept(tuple(evidence.of_standstill(incident)), (_of_incident(incident, 0),),
                quotes.keep(view, start - margin, end + margin, start))


def _of_incident(incident: dict[str, Any], ranks: int) -> Finding:
    about = incident["symptom"]
    kind, _, name = about["entity"].partition(":")
    observed, baseline = about["observed"], about["baseline"]
    return Finding(kind, name or incident["run"], name if kind == "host" else None, about["name"], observed, baseline,
                   observed / baseline if observed is not None and baseline else None, about["lost_seconds"], about["compared_with"],
                   _MODELS.get(about["compared_with"], "") if about["name"] == "step_time" else "reported",
                   {"ranks": str(ranks)} if ranks else {})


def _ranks(symptom: Symptom) -> list[Finding]:
    """The ranks that take more time of their own than the median of the others, by as much as makes a straggler."""
    view = symptom.scope.view
    if len(view.ranks) < 2:
        return []
    own, ratios = own_times(symptom.scope), np.nan_to_num(rank_ratios(symptom.scope))
    order = np.argsort(-ratios, kind="stable")[:MOST_RANKS]
    return [Finding("rank", str(view.ranks[place].rank), view.ranks[place].host, "step_time", float(own[place]),
                    float(own[place] / ratios[place]), float(ratios[place]), None, "other ranks", _MODELS["other ranks"],
                    {"gpu.uuid": view.ranks[place].labels["gpu.uuid"]} if "gpu.uuid" in view.ranks[place].labels else {})
            for place in order if ratios[place] >= STRAGGLER_RATIO]
