"""What is written beside an incident: the evidence it rests on as series, and each thing that was found out of line."""

import dataclasses
from typing import Any

import numpy as np

from models import evidence
from models.evidence import Series
from models.facts.ranks import STRAGGLER_RATIO, own_times, rank_ratios
from models.symptoms import Symptom

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
    symptom: str
    observed: float
    baseline: float
    score: float | None
    """Observed over baseline; None without a baseline above 0."""
    lost_seconds: float | None
    compared_with: str
    model: str


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """Evidence and findings of one incident."""

    series: tuple[Series, ...]
    findings: tuple[Finding, ...]


def keep_slow(symptom: Symptom, incident: dict[str, Any]) -> Kept:
    """What is kept of an incident of step time."""
    return Kept(tuple(evidence.of_symptom(symptom, incident)), (_of_incident(incident), *_ranks(symptom)))


def keep_still(incident: dict[str, Any]) -> Kept:
    """What is kept of an incident that no step time tells of."""
    return Kept(tuple(evidence.of_standstill(incident)), (_of_incident(incident),))


def _of_incident(incident: dict[str, Any]) -> Finding:
    about = incident["symptom"]
    kind, _, name = about["entity"].partition(":")
    observed, baseline = about["observed"], about["baseline"]
    return Finding(kind, name or incident["run"], name if kind == "host" else None, about["name"], observed, baseline,
                   observed / baseline if observed is not None and baseline else None, about["lost_seconds"], about["compared_with"],
                   _MODELS.get(about["compared_with"], "") if about["name"] == "step_time" else "reported")


def _ranks(symptom: Symptom) -> list[Finding]:
    """The ranks that take more time of their own than the median of the others, by as much as makes a straggler."""
    view = symptom.scope.view
    if len(view.ranks) < 2:
        return []
    own, ratios = own_times(symptom.scope), np.nan_to_num(rank_ratios(symptom.scope))
    order = np.argsort(-ratios, kind="stable")[:MOST_RANKS]
    return [Finding("rank", str(view.ranks[place].rank), view.ranks[place].host, "step_time", float(own[place]),
                    float(own[place] / ratios[place]), float(ratios[place]), None, "other ranks", _MODELS["other ranks"])
            for place in order if ratios[place] >= STRAGGLER_RATIO]
