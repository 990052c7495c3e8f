"""A verdict for a tired person at a terminal: verdict, why, what to do, evidence, what was ruled out."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from models.causes.engine import in_unit
from models.view import STANDSTILLS
from pinchpoint.human import printable, seconds, share

_RED, _GREEN, _YELLOW, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_WORDS = {"slow": ("SLOW", _RED), "healthy": ("HEALTHY", _GREEN), "not_enough_data": ("NOT ENOUGH DATA", _YELLOW)}
_LABEL = 10
_UNIT = re.compile(r"(?<=\d) (?=(?:%|µs|ms|s|B|[kMGT]B)(?:\b|\W|$))")
#: Of what was ruled out the nearest are shown; JSON has all.
_NEAREST = 4
#: How a share is called beside its bar.
_SHARES = {"data_wait": "data wait", "communication_exposed": "communication", "h2d": "copy to device", "gc": "garbage coll.",
           "idle": "between steps"}


def render_verdict(verdict: dict[str, Any], *, width: int = 80, color: bool = False) -> str:
    """The whole answer as text.

    Args:
        verdict: as `pinchpoint diagnose --format json` prints it.
        width: cells in a line.
        color: whether the terminal shows colours.
    """
    width = max(min(width, 100), 60)
    word, tone = _WORDS[verdict["verdict"]]
    lines = [_paint(word, _BOLD + tone, color) + "  " + _head(verdict), ""]
    lines += _wrap(verdict["summary"], width)
    lines += _bars(verdict["shares"], width, color)
    for number, incident in enumerate(verdict["incidents"], 1):
        title = f" incident {incident['id']} " if len(verdict["incidents"]) == 1 else \
            f" incident {number} of {len(verdict['incidents'])}: {incident['id']} "
        lines += ["", _paint(title.center(width, "─"), _DIM, color), *render_incident(incident, width=width, color=color)]
    notes = [f"{one['path']}: {note}" for one in verdict["inputs"] for note in one["notes"]]
    rejected = [f"{one['path']}: {one['rejected']} records could not be read; --rejected FILE keeps them"
                for one in verdict["inputs"] if one["rejected"]]
    for note in (*notes, *rejected):
        lines += ["", *_wrap(f"note: {note}", width)]
    return "\n".join(lines)


def _head(verdict: dict[str, Any]) -> str:
    observed = verdict["observed"]
    parts = [f"{observed['steps']} steps", f"{observed['ranks']} rank{'s' if observed['ranks'] != 1 else ''}",
             f"{seconds(observed['wall_s'])} of steps"]
    lost = sum(one["symptom"]["lost_seconds"] for one in verdict["incidents"])
    return ", ".join(parts) + (f", {seconds(lost)} of them lost" if lost else "")


def _bars(shares: dict[str, float | None], width: int, color: bool) -> Iterator[str]:
    """Where the wall time went, the largest shares as bars."""
    known = {name: value for name, value in shares.items() if value is not None and value >= 0.005
             and not name.startswith("gpu_") and name not in ("M_W", "M_S", "slowdown", "memcpy_exposed")}
    if not known:
        return
    yield ""
    room = min(width - 24, 50)
    for name, value in sorted(known.items(), key=lambda pair: -pair[1]):
        bar = "█" * max(round(value * room), 1)
        tone = _GREEN if name == "compute" else _YELLOW if value >= 0.1 else _DIM
        yield f"  {_SHARES.get(name, name):<14}{share(value):>6}  {_paint(bar, tone, color)}"


def render_incident(incident: dict[str, Any], *, width: int, color: bool) -> list[str]:
    """One incident: why, what to do and what it saves, evidence, what was ruled out."""
    lines: list[str] = []
    symptom = incident["symptom"]
    if not incident["causes"] and symptom["name"] in STANDSTILLS:
        seen = in_unit(symptom["observed"], symptom["unit"])
        lines += _block("why", [f"{seen} on {symptom['entity']}; no known cause fits"], width, color)
    elif not incident["causes"]:
        lines += _block("why", [f"a step takes {seconds(symptom['observed'])}, {seconds(symptom['baseline'])} without what is lost; "
                                "no known cause fits"], width, color)
    for number, cause in enumerate(incident["causes"]):
        if number:
            of_it = f" {share(cause['lost_seconds'] / symptom['lost_seconds'])} of the loss" if symptom["lost_seconds"] else ""
            lines += ["", _paint(f"{'and' if number == 1 else 'also'}{of_it}", _BOLD, color)]
        lines += _block("cause", [f"{cause['cause']} ({cause['id']}, {cause['category']}), {cause['entity']['kind']} "
                                  f"{cause['entity']['id']}, confidence {share(cause['confidence'])}"], width, color)
        lines += _block("why", cause["why"], width, color)
        lines += _block("do", cause["fix"], width, color)
        if cause["saves_seconds"]:
            lines += _block("saves", [f"up to {seconds(cause['saves_seconds'])}: {share(cause['share'])} of the wall time"], width, color)
        lines += _block("evidence", [_evidence(one) for one in cause["evidence"]], width, color)
    if symptom["lost_seconds"] and incident["unexplained_share"] >= 0.05:
        lines += _block("open", [f"{share(incident['unexplained_share'])} of the loss is unexplained"], width, color)
    lines += _block("ruled out", [f"{one['cause']}: {one['because']}" for one in incident["rejected"][:_NEAREST]], width, color)
    lines += _block("missing", incident["missing"], width, color)
    if incident.get("labels"):
        lines += _block("labels", [one["label"] + (f": {one['note']}" if one.get("note") else "") for one in incident["labels"]],
                        width, color)
    return lines


def _evidence(one: dict[str, Any]) -> str:
    if not isinstance(one["value"], int | float):
        return f"{one.get('meaning') or one['fact']}: {one['value']}"
    text = f"{one.get('meaning') or one['fact']}: {in_unit(one['value'], one['unit'])}"
    if one["baseline"] is not None:
        text += f", before {in_unit(one['baseline'], one['unit'])}"
    return text + (f" (limit {in_unit(one['limit'], one['unit'])})" if one["limit"] is not None and one["unit"] != "flag" else "")


def _block(label: str, texts: list[str], width: int, color: bool) -> list[str]:
    lines = []
    for number, text in enumerate(texts):
        head = f"{label:<{_LABEL}}" if number == 0 else " " * _LABEL
        mark = "→ " if label == "why" and number else "• " if len(texts) > 1 and label != "why" else ""
        wrapped = _wrap(mark + text, width - _LABEL, hang=" " * len(mark))
        lines += [(_paint(head, _BOLD, color) if number == 0 and place == 0 else head if place == 0 else " " * _LABEL) + line
                  for place, line in enumerate(wrapped)]
    return lines


def _wrap(text: str, width: int, hang: str = "") -> list[str]:
    # a number stays with its unit
    whole = _UNIT.sub("\u00a0", printable(text))
    return [line.replace("\u00a0", " ") for line in textwrap.wrap(whole, width, subsequent_indent=hang)] or [""]


def _paint(text: str, tone: str, color: bool) -> str:
    return f"{tone}{text}{_PLAIN}" if color else text
