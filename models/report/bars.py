"""Bars: of sums side by side, and of days stacked by category."""

from typing import Any

from models.report.html import Markup, instead, join, table, tag
from models.report.picture import LEFT, RIGHT, WIDTH, svg
from models.report.scale import Scale, ticks
from models.report.timeline import patterns
from models.report.words import known_category
from pinchpoint import human
from pinchpoint.fields import CATEGORIES

_NAME = 130
#: Patterns over the colours of categories, as in the timeline.
PATTERN_OF = {"data": "dots", "infrastructure": "slashes", "process": "bars"}


def bars(rows: list[tuple[str, float, str]], label: str) -> Markup | None:
    """Sums as horizontal bars: name, value and category of each; None without any."""
    if not rows:
        return None
    right = Scale(0.0, max(value for _, value, _ in rows) or 1.0, _NAME, WIDTH - 110)
    drawn = []
    for number, (name, value, category) in enumerate(rows):
        y, width = 4 + 34 * number, max(round(right(value) - _NAME, 1), 1.0)
        drawn.append(join(tag("text", name, x=_NAME - 8, y=y + 17, text_anchor="end", class_="row-name"),
                          area(f"M{_NAME} {y}h{width:g}v26h-{width:g}z", category),
                          tag("text", human.three_digits(value), x=_NAME + width + 6, y=y + 17)))
    numbers = table(label, ["", "GPU-hours"], [[name, human.three_digits(value)] for name, value, _ in rows], (1,))
    return join(tag("div", svg(label, 34 * len(rows) + 6, patterns(), drawn), class_="scroll wide", tabindex="0", role="region",
                    aria_label=label), instead("The same as a table", numbers))


def days_chart(days: list[dict[str, Any]]) -> Markup:
    """Lost GPU-hours of each day, stacked by category."""
    names = (*CATEGORIES, "unexplained")
    most = max((sum(day[name] for name in names) for day in days), default=0.0) or 1.0
    top, bottom = 10, 170
    down = Scale(0.0, most, bottom, top)
    wide = (WIDTH - RIGHT - LEFT) / max(len(days), 1)
    shapes = []
    for place, day in enumerate(days):
        left, base = LEFT + place * wide + wide * 0.12, 0.0
        for name in names:
            if day[name]:
                low, high = down(base), down(base + day[name])
                shapes.append(area(f"M{left:.1f} {low:g}h{wide * 0.76:.1f}V{high:g}h-{wide * 0.76:.1f}z", name))
                base += day[name]
        if place % -(-len(days) // 10) == 0:
            shapes.append(tag("text", day["day"][5:], x=round(left + wide * 0.38, 1), y=bottom + 17, text_anchor="middle"))
    grid = [join(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(value), y2=down(value), class_="grid"),
                 tag("text", human.three_digits(value), x=LEFT - 6, y=down(value) + 4, text_anchor="end")) for value in ticks(0.0, most, 3)]
    label = "Lost GPU-hours by day and category"
    legend = tag("ul", [tag("li", tag("span", "", class_=f"swatch s-{known_category(name)}", aria_hidden="true"), name) for name in names],
                 class_="legend")
    rows = [[day["day"], day["incidents"], *(human.three_digits(day[name]) for name in names)] for day in days]
    return join(legend, tag("div", svg(label, bottom + 26, patterns(), grid, shapes), class_="scroll wide", tabindex="0", role="region",
                            aria_label=label),
                instead("The same as a table", table(label, ["day", "incidents", *names], rows, tuple(range(1, len(names) + 2)))))


def area(path: str, category: str) -> Markup:
    """A shape in the colour and the pattern of a category."""
    known = known_category(category)
    return join(tag("path", d=path, class_=f"f-{known}"),
                tag("path", d=path, fill=f"url(#{PATTERN_OF[known]})") if known in PATTERN_OF else None)
