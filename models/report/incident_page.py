"""The page of one incident, and of a verdict that may have several or none."""

from collections.abc import Mapping
from typing import Any

from models.evidence import Series
from models.incident import summary
from models.quotes import Quote
from models.report import fault_tree, fishbone, heatmap, quoted, raw, series, timeline
from models.report.html import Markup, join, table, tag
from models.report.page import page
from models.report.picture import Picture
from models.report.saved import evidence_of, ranks_of, similar_to
from models.report.whys import whys
from models.report.words import SHARES, gpu_time, known_category, label_text, lost, plain, sentence
from pinchpoint import human
from pinchpoint.store import Store

#: Of several incidents of a verdict so many are drawn; a page stays below 1 MB.
MOST_INCIDENTS = 2
_WORDS = {"slow": "Slow", "healthy": "Healthy", "not_enough_data": "Not enough data"}


def incident_page(incident: dict[str, Any], store: Store, categories: Mapping[str, str]) -> str:
    """The page of an incident as it stands in a store.

    Args:
        incident: as `Store.incident` gives it, with labels.
        store: where its evidence and earlier incidents are.
        categories: of every cause of the catalogue, by name.
    """
    evidence, ranks = evidence_of(store, incident), ranks_of(store, incident)
    heading = join(_badge("slow"), tag("h1", summary(incident)), _facts_line(incident, ranks))
    sections = _sections(incident, evidence, ranks, similar_to(store, incident), categories, "")
    return page(f"{incident['id']}: {summary(incident)}", heading, sections, _foot(incident))


def verdict_page(verdict: dict[str, Any], store: Store, categories: Mapping[str, str]) -> str:
    """The page of a whole verdict: its incidents, or why there are none.

    Args:
        verdict: as `diagnose --format json` prints it.
        store: where the evidence of its incidents is.
        categories: of every cause of the catalogue, by name.
    """
    incidents = verdict["incidents"]
    observed = verdict["observed"]
    seen = f"{observed['steps']} steps, {observed['ranks']} ranks, {human.seconds(observed['wall_s'])} of steps"
    ranks = [ranks_of(store, one) for one in incidents[:MOST_INCIDENTS]]
    heading = join(_badge(verdict["verdict"]), tag("h1", verdict["summary"]),
                   _facts_line(incidents[0], ranks[0]) if incidents else tag("p", seen, class_="lead"))
    sections: list[tuple[str, str, Markup | None]] = []
    for number, one in enumerate(incidents[:MOST_INCIDENTS]):
        kept = {**store.incident(one["id"])}
        suffix = f"-{number + 1}" if number else ""
        sections += _sections(kept, evidence_of(store, one), ranks[number], similar_to(store, one), categories, suffix)
    sections.append(("shares", "Where the wall time went", _shares(verdict["shares"])))
    sections.append(("more", "More incidents", _list(incidents[MOST_INCIDENTS:], "Incidents that lost less")))
    sections.append(("inputs", "What was read", _inputs(verdict["inputs"])))
    foot = _foot(incidents[0]) if incidents else "Made by pinchpoint."
    return page(verdict["summary"], heading, sections, foot)


def _sections(incident: dict[str, Any], kept: tuple[list[Series], list[Quote]], ranks: int, similar: list[dict[str, Any]],
              categories: Mapping[str, str], suffix: str) -> list[tuple[str, str, Markup | None]]:
    """The sections of one incident in their order; `suffix` tells the ids and headings of a second one apart."""
    found, said = kept
    drawn = Picture(incident, found)
    of = f" (incident {incident['id']})" if suffix else ""
    parts: list[tuple[str, str, Markup | None]] = [
        ("second", summary(incident), tag("p", f"Incident {incident['id']}: {lost(incident, ranks)}.", class_="lead") if suffix else None),
        ("do", "What to do", _fixes(incident, ranks)),
        ("why", "Why", join([join(_cause_head(f"{plain(one['cause'])} ({one['id']})", one), whys(one)) for one in incident["causes"]])
            or tag("p", "No known cause explains it.")),
        ("timeline", "Where each step's time went", timeline.timeline(drawn) if found else None),
        ("ranks", "Ranks over time", heatmap.heat_map(drawn) if found else None),
        ("fishbone", "Causes by category", fishbone.fishbone(incident, categories)),
        ("tree", "Fault tree", fault_tree.fault_tree(incident)),
        ("evidence", "Evidence", _evidence(drawn)),
        ("said", "What changed and what the logs say", quoted.quoted(said, incident)),
        ("ruled-out", "What was ruled out, and why", _rejected(incident)),
        ("missing", "What is missing", _items([sentence(one) for one in incident["missing"]])),
        ("labels", "What people said of it", _items([label_text(one) for one in incident.get("labels", [])])),
        ("similar", "Similar earlier incidents", _list(similar, "Earlier incidents with the same leading cause")),
        ("raw", "Raw numbers", raw.raw({key: value for key, value in incident.items() if key != "labels"}, found) if not suffix else None),
    ]
    return [(name + suffix, head + (of if name != "second" else ""), content) for name, head, content in parts]


def _cause_head(head: str, cause: dict[str, Any]) -> Markup:
    return tag("h3", head, class_=f"cause b-{known_category(cause['category'])}")


def _items(sentences: list[str]) -> Markup | None:
    return tag("ul", [tag("li", one) for one in sentences]) if sentences else None


def _badge(verdict: str) -> Markup:
    return tag("p", _WORDS[verdict], class_=f"badge v-{verdict}")


def _facts_line(incident: dict[str, Any], ranks: int) -> Markup:
    symptom = incident["symptom"]
    saved = sum(one["saves_seconds"] for one in incident["causes"])
    tiles = [("lost", human.seconds(symptom["lost_seconds"]), f"{human.share(symptom['lost_share'])} of the wall time")] \
        if symptom["lost_seconds"] else []
    if ranks > 1 and symptom["lost_seconds"]:
        tiles.append(("on all ranks", gpu_time(symptom["lost_seconds"], ranks), f"{ranks} ranks, one GPU each"))
    if saved:
        tiles.append(("the fix gives back", f"up to {human.seconds(saved)}",
                      f"{human.share(saved / symptom['lost_seconds'])} of what is lost" if symptom["lost_seconds"] else ""))
    if incident["causes"]:
        first = incident["causes"][0]
        tiles.append(("leading cause", plain(first["cause"]), f"{first['category']}, confidence {human.share(first['confidence'])}"))
    where = f"{_time(incident['start'])} to {_time(incident['end'])} UTC, run {incident['run']}" \
        + (f", workload {incident['workload']}" if incident["workload"] else "") \
        + (f", host{'s' if len(incident['hosts']) > 1 else ''} {_few(incident['hosts'])}" if incident["hosts"] else "")
    return join(tag("dl", [tag("div", tag("dt", name), tag("dd", tag("strong", value), tag("span", note) if note else None))
                           for name, value, note in tiles], class_="tiles"), tag("p", where, class_="lead"))


def _time(text: str) -> str:
    return text[:19].replace("T", " ")


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _fixes(incident: dict[str, Any], ranks: int) -> Markup | None:
    found = []
    for one in incident["causes"]:
        back = f"Gives back up to {human.seconds(one['saves_seconds'])}, {human.share(one['share'])} of the wall time" \
            + (f", {gpu_time(one['saves_seconds'], ranks)}" if ranks > 1 else "") + "." if one["saves_seconds"] else None
        who = f"{one['entity']['kind']} {one['entity']['id']}"
        found.append(tag("div", _cause_head(join(sentence(one["summary"]), tag("span", f" {who}", class_="note")), one),
                         tag("ul", [tag("li", sentence(fix)) for fix in one["fix"]], class_="fixes"),
                         tag("p", back, class_="back") if back else None))
    return join(found) or None


def _evidence(drawn: Picture) -> Markup | None:
    rows = [[one.get("meaning") or one["fact"], fault_tree.value_of(one), fault_tree.in_unit_or_dash(one, "baseline"),
             fault_tree.in_unit_or_dash(one, "limit"), plain(cause["cause"]), one["source"]]
            for cause in drawn.incident["causes"] for one in cause["evidence"]]
    measured = table("What was measured during the incident", ["fact", "value", "baseline", "limit", "speaks for", "source"], rows) \
        if rows else None
    return join(series.symptom_chart(drawn) if drawn.series else None, measured, series.fact_charts(drawn)) or None


def _rejected(incident: dict[str, Any]) -> Markup | None:
    rows = [[plain(one["cause"]), sentence(one["because"])] for one in incident["rejected"]]
    if not rows:
        return None
    near = table("Causes that do not fit, the nearest first", ["cause", "because"], rows[:8])
    rest = tag("details", tag("summary", f"{len(rows) - 8} more"), table("More causes that do not fit", ["cause", "because"], rows[8:])) \
        if len(rows) > 8 else None
    return join(near, rest)


def _list(incidents: list[dict[str, Any]], caption: str) -> Markup | None:
    rows = [[one["id"], one["start"][:16].replace("T", " "), one["run"],
             plain(one["causes"][0]["cause"]) if one["causes"] else "unexplained", human.seconds(one["symptom"]["lost_seconds"]),
             "; ".join(map(label_text, one.get("labels", []))) or "-"]
            for one in incidents]
    return table(caption, ["incident", "start (UTC)", "run", "cause", "lost", "labels"], rows, (4,)) if rows else None


def _shares(shares: dict[str, float | None]) -> Markup | None:
    known = sorted(((name, value) for name, value in shares.items() if value is not None and value >= 0.005), key=lambda pair: -pair[1])
    rows = [[SHARES.get(name, plain(name)), human.share(value), tag("meter", human.share(value), value=f"{min(value, 1.0):.4f}",
                                                                     aria_label=SHARES.get(name, plain(name)))]
            for name, value in known]
    return table("Shares of the wall time", ["part", "share", ""], rows, (1,)) if rows else None


def _inputs(inputs: list[dict[str, Any]]) -> Markup | None:
    rows = [[one["path"], one["reader"] or "-", one["records"], one["rejected"], " ".join(one["notes"]) or "-"] for one in inputs[:50]]
    return table("Inputs", ["input", "format", "records", "not readable", "notes"], rows, (2, 3)) if rows else None


def _foot(incident: dict[str, Any]) -> str:
    return f"Incident {incident['id']}. Made by pinchpoint; this page asks nothing of the network, its numbers are all in it."
