"""The fishbone: causes of one incident by category, named ones with their seconds, ruled-out ones in grey."""

from collections.abc import Mapping
from typing import Any

from models.causes.engine import in_unit
from models.report.html import Markup, instead, join, table, tag
from models.report.picture import svg
from models.report.words import plain
from pinchpoint import human
from pinchpoint.fields import CATEGORIES

#: Ruled-out causes on a bone, at most; the nearest come first.
_RULED_OUT = 3
_HEIGHT, _SPINE, _ROW = 380, 190, 30
_HEAD = 640
_LONGEST = 30


def fishbone(incident: dict[str, Any], categories: Mapping[str, str]) -> Markup:
    """The picture and the same as a table.

    Args:
        incident: as the verdict has it.
        categories: of every cause by its name; one that is not in there is left out.
    """
    named = {category: [one for one in incident["causes"] if one["category"] == category] for category in CATEGORIES}
    ruled = {category: [one["cause"] for one in incident["rejected"] if categories.get(one["cause"]) == category][:_RULED_OUT]
             for category in CATEGORIES}
    bones = [_bone(category, named[category], ruled[category], 60 + 290 * (place // 2), up=place % 2 == 0)
             for place, category in enumerate(CATEGORIES)]
    symptom = incident["symptom"]
    head = ["step time" if symptom["name"] == "step_time" else symptom["name"],
            f"{human.seconds(symptom['lost_seconds'])} lost" if symptom["lost_seconds"] else in_unit(symptom["observed"], symptom["unit"])]
    label = "Fishbone of the causes: " + "; ".join(
        f"{category}: {', '.join(plain(one['cause']) for one in named[category]) or 'none'}" for category in CATEGORIES)
    drawn = svg(label, _HEIGHT, tag("line", x1=20, x2=_HEAD + 10, y1=_SPINE, y2=_SPINE, class_="spine"),
                bones, tag("path", d=f"M{_HEAD + 10} {_SPINE - 42}h190l28 42l-28 42h-190z", class_="fish-head"),
                tag("text", head[0], x=_HEAD + 115, y=_SPINE - 4, text_anchor="middle", class_="head-name"),
                tag("text", head[1], x=_HEAD + 115, y=_SPINE + 16, text_anchor="middle", class_="head-lost"))
    rows = [[category, ", ".join(f"{plain(one['cause'])} ({human.seconds(one['lost_seconds'])})" for one in named[category]) or "none",
             ", ".join(map(plain, ruled[category])) or "none"] for category in CATEGORIES]
    return join(tag("div", drawn, class_="scroll wide", tabindex="0", role="region", aria_label="Fishbone"),
                instead("The same as a table", table("Causes by category", ["category", "named", "ruled out, the nearest"], rows)))


def _bone(category: str, named: list[dict[str, Any]], ruled: list[str], left: float, *, up: bool) -> Markup:
    """One bone from its category down (or up) to the spine, with its ribs to the right of it."""
    sign = -1 if up else 1
    far = _SPINE + sign * 150
    foot = left + 200
    lines = [(cut(plain(one["cause"])), human.seconds(one["lost_seconds"]) if one["lost_seconds"] else "", True) for one in named]
    lines += [(cut(plain(one)), "", False) for one in ruled]
    ribs = []
    for number, (text, seconds, is_named) in enumerate(lines[:4]):
        y = far - sign * (26 + _ROW * number)
        x = left + (foot - left) * abs(y - far) / 150
        ribs.append(join(
            tag("line", x1=round(x, 1), x2=round(x + 22, 1), y1=y, y2=y, class_=f"rib l-{category}" if is_named else "rib"),
            tag("text", text, tag("tspan", f"  {seconds}", class_="rib-lost") if seconds else None, x=round(x + 27, 1), y=y + 4,
                class_="rib-named" if is_named else "rib-out")))
    look = "" if named else " faint"
    return join(tag("line", x1=left, x2=foot, y1=far, y2=_SPINE, class_=f"bone l-{category}{look}"),
                tag("rect", x=left - 50, y=far - (28 if up else 0), width=118, height=28, rx=6, class_=f"f-{category}{look}"),
                tag("text", category, x=left + 9, y=far - (9 if up else -19), text_anchor="middle", class_="bone-name"), ribs)


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text that fits into a picture."""
    return text if len(text) <= longest else text[:longest - 1] + "…"


