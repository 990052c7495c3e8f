"""The fault tree: what was lost, split among causes, each standing on its evidence.

Nested lists that the style draws as a tree, no SVG: sentences wrap, screens may be narrow, and readers of screens know lists.
"""

from typing import Any

from models.causes.engine import in_unit
from models.report.html import Markup, tag
from models.report.words import known_category, plain
from pinchpoint import human

_EVIDENCE = 6


def fault_tree(incident: dict[str, Any]) -> Markup:
    """The tree of one incident."""
    symptom = incident["symptom"]
    causes = [_cause(one, symptom) for one in incident["causes"]]
    if incident["unexplained_share"] >= 0.01 or not causes:
        share = human.share(incident["unexplained_share"])
        causes.append(tag("li", tag("div", tag("strong", "unexplained"), f" {share} of the loss", class_="node open")))
    top = "The step time is longer than it need be" if symptom["name"] == "step_time" else f"The run shows {symptom['name']}"
    seconds = f": {human.seconds(symptom['lost_seconds'])} lost" if symptom["lost_seconds"] else ""
    gate = tag("li", tag("span", "because of any of", class_="gate"), tag("ul", causes)) if len(causes) > 1 else causes[0]
    return tag("ul", tag("li", tag("div", top + seconds, class_="node top"), tag("ul", gate)), class_="tree")


def _cause(cause: dict[str, Any], symptom: dict[str, Any]) -> Markup:
    of_loss = f"{human.seconds(cause['lost_seconds'])}, {human.share(cause['lost_seconds'] / symptom['lost_seconds'])} of the loss" \
        if symptom["lost_seconds"] else f"confidence {human.share(cause['confidence'])}"
    evidence = [tag("li", tag("div", told(one), class_="node leaf")) for one in cause["evidence"][:_EVIDENCE]]
    below = tag("ul", tag("li", tag("span", "told by all of" if len(evidence) > 1 else "told by", class_="gate"),
                          tag("ul", evidence))) if evidence else None
    look = f"node n-{known_category(cause['category'])}"
    return tag("li", tag("div", tag("strong", plain(cause["cause"])), f" {of_loss}", class_=look), below)


def told(one: dict[str, Any]) -> str:
    """A piece of evidence in one line."""
    name = one.get("meaning") or one["fact"]
    if not isinstance(one["value"], int | float):
        return f"{name}: {one['value']}"
    before = f", before {in_unit(one['baseline'], one['unit'])}" if one["baseline"] is not None else ""
    limit = f", limit {in_unit(one['limit'], one['unit'])}" if one["limit"] is not None and one["unit"] != "flag" else ""
    return f"{name}: {in_unit(one['value'], one['unit'])}{before}{limit}"


def value_of(one: dict[str, Any]) -> str:
    """The value of a piece of evidence with its unit; texts as they are."""
    return in_unit(one["value"], one["unit"]) if isinstance(one["value"], int | float) else str(one["value"])


def in_unit_or_dash(one: dict[str, Any], key: str) -> str:
    """Baseline or limit of a piece of evidence with its unit, or a dash."""
    return "-" if one[key] is None or one["unit"] == "flag" else in_unit(one[key], one["unit"])
