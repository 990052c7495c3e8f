"""Ranks over time: who is slow, one, all, or taking turns."""

import bisect
import itertools
from statistics import median

from models.causes.engine import in_unit
from models.evidence import Series
from models.report.html import Markup, instead, join, table, tag
from models.report.picture import LEFT, RIGHT, WIDTH, Picture, between, lasts, svg, time_axis
from models.report.scale import Scale

#: Times the usual step time from which on the next level counts; levels get darker (lighter on a dark page), so that they show in print.
LEVELS = (0.9, 1.1, 1.25, 1.5, 2.0, 3.0)
_TOP = 26
_LABELS = 8


def heat_map(picture: Picture) -> Markup | None:
    """The picture with legend and numbers; None with fewer than two ranks."""
    ranks = [one for one in picture.series if one.name == "rank" and one.entity_kind == "rank"]
    if len(ranks) < 2:
        return None
    usual = median(value for one in ranks for value in one.values)
    if usual <= 0:
        return None
    row = max(min(320 // len(ranks), 22), 5)
    bottom = _TOP + row * len(ranks)
    across = picture.across()
    paths: dict[int, list[str]] = {}
    for number, one in enumerate(ranks):
        y = _TOP + number * row
        for left, right, level in _runs(one, usual, across):
            paths.setdefault(level, []).append(f"M{left:g} {y}H{right:g}v{row}H{left:g}z")
    cells = [tag("path", d="".join(paths[level]), class_=f"h{level}") for level in sorted(paths)]
    worst = sorted(ranks, key=lambda one: -max(one.values))[:_LABELS]
    first = ranks.index(worst[0])
    every = max(-(-14 // row), -(-len(ranks) // 24))
    # the slowest rank always has its number; others that would touch it go without
    labels = [tag("text", one.entity_id, x=LEFT - 6, y=_TOP + number * row + row / 2 + 4, text_anchor="end",
                  class_="row-name" if number == first else None)
              for number, one in enumerate(ranks) if number == first or (number % every == 0 and abs(number - first) >= every)]
    label = f"Own step time of {len(ranks)} ranks over time, as multiples of the median {in_unit(usual, 's')}"
    drawn = svg(label, bottom + 26, cells, labels, time_axis(picture, _TOP, bottom),
                tag("text", "rank", x=LEFT - 6, y=_TOP - 6, text_anchor="end", class_="row-name"), class_="chart heat",
                data_chart="heat", data_ranks=" ".join(one.entity_id for one in ranks), data_top=_TOP, data_row=row, data_left=LEFT,
                data_right=WIDTH - RIGHT, **between(picture))
    names = [f"under {LEVELS[0]:g}×", *(f"{low:g}–{high:g}×" for low, high in itertools.pairwise(LEVELS)),
             f"over {LEVELS[-1]:g}×"]
    legend = tag("ul", [tag("li", tag("span", "", class_=f"swatch s-h{level}", aria_hidden="true"), name)
                        for level, name in enumerate(names)], class_="legend")
    rows = [[f"rank {one.entity_id}", one.host or "-", *_before_during(one, picture)] for one in worst]
    return join(tag("p", f"A rank's own step time, without waiting for the others, as multiples of the median {in_unit(usual, 's')}.",
                    class_="note"),
                legend, tag("div", drawn, class_="scroll wide", tabindex="0", role="region", aria_label="Heat map of ranks over time"),
                instead("The slowest ranks as a table", table("Own step time of the slowest ranks", ["rank", "host", "before", "during"],
                                                              rows, (2, 3))))


def _runs(one: Series, usual: float, across: Scale) -> list[tuple[float, float, int]]:
    """Neighbouring stretches of one level as one box: left, right, level."""
    ends, found = lasts(one.times), list[tuple[float, float, int]]()
    for time, value in zip(one.times, one.values, strict=True):
        level = bisect.bisect_right(LEVELS, value / usual)
        left, right = across(time), across(ends[time])
        if found and found[-1][2] == level and abs(found[-1][1] - left) < 0.2:
            found[-1] = (found[-1][0], right, level)
        else:
            found.append((left, right, level))
    return found


def _before_during(one: Series, picture: Picture) -> list[str]:
    parts = ([value for time, value in zip(one.times, one.values, strict=True) if time < picture.start],
             [value for time, value in zip(one.times, one.values, strict=True) if picture.start <= time < picture.end])
    return [in_unit(sum(part) / len(part), "s") if part else "-" for part in parts]
