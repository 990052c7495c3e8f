"""Evidence over time: a value with the baseline and the limit it is held against."""

from models.causes.engine import in_unit
from models.evidence import Series
from models.facts import FACTS
from models.report.html import Markup, instead, join, table, tag
from models.report.picture import LEFT, RIGHT, WIDTH, Picture, behind, between, step_ns, svg, time_axis
from models.report.scale import Scale, ticks
from pinchpoint.clock import format_time

_HEIGHT, _TOP = 120, 26
_ROWS = 12


def symptom_chart(picture: Picture) -> Markup | None:
    """The step time with its baseline, and the spread over the ranks behind it; None where it was not kept."""
    one = picture.named("step_time")
    if one is None or not one.values:
        return None
    least, most = picture.named("rank.min"), picture.named("rank.max")
    return _chart(picture, one, "Step time", (least, most) if least is not None and most is not None else None)


def fact_charts(picture: Picture) -> list[Markup]:
    """Each fact that is evidence of a cause, once."""
    found, seen = [], set()
    for one in picture.series:
        if one.cause_id is not None and one.values and one.name not in seen and one.unit != "flag":
            seen.add(one.name)
            meaning = FACTS[one.name].meaning if one.name in FACTS else one.name
            found.append(_chart(picture, one, meaning, None))
    return found


def _chart(picture: Picture, one: Series, title: str, band: tuple[Series, Series] | None) -> Markup:
    across = picture.across()
    lines = [value for value in (one.baseline, one.limit) if value is not None]
    high = max([*one.values, *lines, *(band[1].values if band else ())])
    low = min(0.0, *one.values, *lines)
    high = high if high > low else low + 1.0
    down = Scale(low, high * 1.05 if high > 0 else high, _TOP + _HEIGHT, _TOP)
    grid = [join(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(value), y2=down(value), class_="grid"),
                 tag("text", in_unit(value, one.unit) if value else "0", x=LEFT - 6, y=down(value) + 4, text_anchor="end"))
            for value in ticks(low, high, 3)]
    spread = tag("path", d=_band(band, across, down), class_="band") if band else None
    held = [join(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(value), y2=down(value), class_=look),
                 tag("text", f"{name} {in_unit(value, one.unit)}", x=WIDTH - RIGHT - 2, y=down(value) - 4 if down(value) > _TOP + 14
                     else down(value) + 12, text_anchor="end", class_=f"{look}-text"))
            for value, name, look in ((one.baseline, "baseline", "baseline"), (one.limit, "limit", "limit")) if value is not None]
    label = f"{title} over time, from {in_unit(one.values[0], one.unit)} to {in_unit(one.values[-1], one.unit)}"
    drawn = svg(label, _TOP + _HEIGHT + 26, behind(picture, _TOP, _TOP + _HEIGHT), time_axis(picture, _TOP, _TOP + _HEIGHT), grid, spread,
                tag("path", d=_line(one, across, down), class_="line"), _dots(one, across, down), held, data_chart="line",
                data_series=f"{one.name}|{one.entity_kind}|{one.entity_id}|{one.cause_id or ''}", data_unit=one.unit, data_left=LEFT,
                data_right=WIDTH - RIGHT, **between(picture))
    about = f"{title}" + (f" (for {one.cause_name})" if one.cause_name else "")
    return tag("figure", tag("figcaption", about, tag("span", " grey band: fastest to slowest rank", class_="note") if band else None),
               tag("div", drawn, class_="scroll wide", tabindex="0", role="region", aria_label=about),
               instead("Numbers", _table(one, about)))


def _line(one: Series, across: Scale, down: Scale) -> str:
    """A line that breaks where nothing was measured."""
    most, path, before = 2.5 * step_ns(one), [], None
    for time, value in zip(one.times, one.values, strict=True):
        path.append(f"{'L' if before is not None and time - before <= most else 'M'}{across(time):g} {down(value):g}")
        before = time
    return "".join(path)


def _dots(one: Series, across: Scale, down: Scale) -> list[Markup]:
    """Few points would be no line."""
    if len(one.values) > 24:
        return []
    return [tag("circle", cx=across(time), cy=down(value), r=2.5, class_="dot") for time, value in zip(one.times, one.values, strict=True)]


def _band(band: tuple[Series, Series], across: Scale, down: Scale) -> str:
    least, most = band
    there = [f"{across(time):g} {down(value):g}" for time, value in zip(most.times, most.values, strict=True)]
    back = [f"{across(time):g} {down(value):g}" for time, value in zip(least.times, least.values, strict=True)]
    return f"M{'L'.join([*there, *reversed(back)])}z" if there else ""


def _table(one: Series, caption: str) -> Markup:
    every = -(-len(one.times) // _ROWS)
    rows = [[format_time(one.times[place])[:19].replace("T", " "), in_unit(one.values[place], one.unit)]
            for place in range(0, len(one.times), every)]
    return table(caption, ["time (UTC)", "value"], rows, (1,))
