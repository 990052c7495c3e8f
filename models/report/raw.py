"""The raw numbers, to copy: the incident as JSON, the series as CSV."""

import json
from typing import Any

from models.evidence import Series
from models.report.html import Markup, tag
from pinchpoint.clock import NS, format_time

#: What the raw series may take of the page, in characters; beyond it the series of single ranks are left out.
_MOST = 320_000


def raw(incident: dict[str, Any], series: list[Series]) -> Markup:
    """Two blocks of text with a button each; the script reads the second one for what the pointer is at."""
    document = json.dumps(incident, indent=1, ensure_ascii=True, allow_nan=False)
    return tag("details", tag("summary", "Raw numbers to copy"),
               _block("The incident as JSON", document, "raw-json"), _block("The series as CSV", _csv(series), "raw-csv"))


def _block(title: str, text: str, name: str) -> Markup:
    return tag("div", tag("h3", title), tag("button", "Copy", type="button", class_="copy", data_copy=name, hidden=True),
               tag("pre", text, id=name, tabindex="0", aria_label=title), class_="raw")


def _csv(series: list[Series]) -> str:
    """One line a series: name, entity, cause, unit, baseline, limit, beginning; then seconds after it and values in turn."""
    lines = ["series,entity.kind,entity.id,cause.id,unit,baseline,limit,begins,points (seconds after it:value)"]
    size = 0
    for one in sorted(series, key=lambda each: (each.entity_kind == "rank", each.name == "rank")):
        if not one.times:
            continue
        begin = one.times[0]
        points = " ".join(f"{(time - begin) / NS:.6g}:{value:.4g}" for time, value in zip(one.times, one.values, strict=True))
        cells = [one.name, one.entity_kind, one.entity_id, one.cause_id or "", one.unit, _number(one.baseline), _number(one.limit),
                 format_time(begin), points]
        line = ",".join(_cell(cell) for cell in cells)
        size += len(line)
        if size > _MOST:
            break
        lines.append(line)
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _cell(text: str) -> str:
    """A cell that neither breaks the line nor is a formula for a spreadsheet."""
    text = " ".join(text.split())
    if text.startswith(("=", "+", "-", "@")) and not text[1:2].isdigit():
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"') else text
