"""Where each step's time went, over time: of the run, of its worst ranks and of some in the middle."""

from models.causes.engine import in_unit
from models.evidence import Series
from models.report.html import Markup, instead, join, table, tag
from models.report.phases import GROUPS, PATTERNS
from models.report.picture import LEFT, RIGHT, WIDTH, Picture, behind, lasts, svg, time_axis
from models.report.scale import Scale

#: Bars in a row, at most.
_COLUMNS = 100
_RUN_HEIGHT, _RANK_HEIGHT, _BETWEEN, _TOP = 110, 44, 20, 30


def timeline(picture: Picture) -> Markup | None:
    """The picture with its legend and numbers; None where no phases were kept."""
    rows = _rows(picture)
    if not rows:
        return None
    shown = [group for group in GROUPS if any(group[0] in columns for _, columns in rows)]
    most = [max((sum(values) for values in _stacked(columns)), default=0.0) for _, columns in rows]
    parts, y = [], float(_TOP)
    for number, ((name, columns), high) in enumerate(zip(rows, most, strict=True)):
        height = _RUN_HEIGHT if not number else _RANK_HEIGHT
        down = Scale(0.0, max(high if not number else max(most[1:]), 1e-9), y + height, y)
        parts.append(_row(picture, name, columns, down, y, height))
        y += height + _BETWEEN
    bottom = y - _BETWEEN
    label = "Seconds of a step by phase over time: " + ", ".join(name for name, _ in rows)
    drawn = svg(label, bottom + 26, patterns(), behind(picture, _TOP, bottom), parts, time_axis(picture, _TOP, bottom))
    legend = tag("ul", [tag("li", tag("span", "", class_=f"swatch s-{look}", aria_hidden="true"), name) for name, look, _ in shown],
                 class_="legend")
    return join(legend, tag("div", drawn, class_="scroll wide", tabindex="0", role="region", aria_label="Timeline of phases"),
                instead("The same as a table", _table(picture, rows, [group[0] for group in shown])))


def _rows(picture: Picture) -> list[tuple[str, dict[str, list[tuple[int, int, float]]]]]:
    """Name of a row, and of each group in it (begin, end, seconds a step) of each stretch."""
    entities: dict[tuple[str, str], list[Series]] = {}
    for one in picture.series:
        if one.name.startswith("phase.") and one.cause_id is None and one.entity_kind in ("run", "rank"):
            entities.setdefault((one.entity_kind, one.entity_id), []).append(one)
    found = []
    order = sorted(entities, key=lambda key: (key[0] != "run", int(key[1]) if key[1].isdigit() else 0))
    for kind, name in order:
        if kind == "rank" and sum(key[0] == "rank" for key in order) < 2:
            continue  # one rank is the run
        host = next((one.host for one in entities[kind, name] if one.host), None)
        found.append(("run" if kind == "run" else f"rank {name}" + (f" on {host}" if host else ""), _columns(entities[kind, name])))
    return found


def _columns(series: list[Series]) -> dict[str, list[tuple[int, int, float]]]:
    times = sorted({time for one in series for time in one.times})
    ends = lasts(times)
    every = -(-len(times) // _COLUMNS)
    buckets = [times[place:place + every] for place in range(0, len(times), every)]
    found = {}
    for name, _, phases in GROUPS:
        sums: dict[int, float] = {}
        for one in series:
            if one.name.removeprefix("phase.") in phases:
                for time, value in zip(one.times, one.values, strict=True):
                    sums[time] = sums.get(time, 0.0) + value
        if any(sums.values()):
            found[name] = [(bucket[0], ends[bucket[-1]], sum(sums.get(time, 0.0) for time in bucket) / len(bucket))
                           for bucket in buckets]
    return found


def _stacked(columns: dict[str, list[tuple[int, int, float]]]) -> list[list[float]]:
    return [[stretch[2] for stretch in stretches] for stretches in zip(*columns.values(), strict=True)]


def _row(picture: Picture, name: str, columns: dict[str, list[tuple[int, int, float]]], down: Scale, top: float, height: float) -> Markup:
    across = picture.across()
    below = [0.0] * max((len(stretches) for stretches in columns.values()), default=0)
    areas = []
    for group, look, _ in GROUPS:
        if group not in columns:
            continue
        path = []
        for place, (begin, end, seconds) in enumerate(columns[group]):
            if seconds > 0:
                left, right = across(begin), across(end)
                low, high = down(below[place]), down(below[place] + seconds)
                path.append(f"M{left:g} {low:g}H{right:g}V{high:g}H{left:g}z")
            below[place] += seconds
        shape = "".join(path)
        areas.append(tag("path", d=shape, class_=f"f-{look}"))
        if look in PATTERNS:
            areas.append(tag("path", d=shape, fill=f"url(#{PATTERNS[look]})"))
    text = tag("text", name, x=LEFT, y=top - 3, class_="row-name") if name != "run" else None
    most = tag("text", in_unit(down.high, "s"), x=LEFT - 6, y=top + 10, text_anchor="end")
    none = tag("text", "0", x=LEFT - 6, y=top + height, text_anchor="end") if name == "run" else None
    title = tag("text", "run (critical path)", x=LEFT, y=top - 14, class_="row-name") if name == "run" else None
    return join(areas, tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=top + height, y2=top + height, class_="grid"), text, title, most, none)


def patterns() -> Markup:
    """Patterns over the colours, so that the areas differ in print and for who sees no colours."""
    def pattern(name: str, size: int, *inside: Markup) -> Markup:
        return tag("pattern", *inside, id=name, width=size, height=size, patternUnits="userSpaceOnUse")

    return tag("defs", pattern("dots", 6, tag("circle", cx=2, cy=2, r=1, class_="ink")),
               pattern("slashes", 6, tag("path", d="M0 6L6 0", class_="ink-line")),
               pattern("bars", 5, tag("path", d="M0 2H5", class_="ink-line")),
               pattern("checks", 6, tag("path", d="M0 0L6 6M0 6L6 0", class_="ink-line")))


def _table(picture: Picture, rows: list[tuple[str, dict[str, list[tuple[int, int, float]]]]], groups: list[str]) -> Markup:
    cells = []
    for name, columns in rows:
        for when, inside in (("before", False), ("during", True)):
            values = {group: [seconds for begin, _, seconds in stretches if (begin >= picture.start) == inside and begin < picture.end]
                      for group, stretches in columns.items()}
            if any(values.values()):
                cells.append([f"{name}, {when}", *(in_unit(sum(values[group]) / len(values[group]), "s") if values.get(group) else "-"
                                                   for group in groups)])
    return table("Seconds of a step by phase, before the incident and during it", ["", *groups], cells, tuple(range(1, len(groups) + 1)))
