"""What the pictures of one incident share: its time, its onset, its axis."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from models.evidence import Series
from models.report.html import Markup, join, tag
from models.report.scale import Scale, clock_text, ticks
from pinchpoint.clock import NS, parse_time

WIDTH = 880
LEFT = 64
RIGHT = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """One incident with its series, and the time that its pictures show."""

    incident: dict[str, Any]
    series: list[Series]

    @property
    def onset(self) -> int | None:
        """UTC ns at which it began; None when the run was slow all along."""
        return self.start if self.incident["symptom"]["compared_with"] == "own past" else None

    @property
    def start(self) -> int:
        return parse_time(self.incident["start"])

    @property
    def end(self) -> int:
        return parse_time(self.incident["end"])

    def span(self) -> tuple[int, int]:
        """First and last time of the pictures, UTC ns."""
        times = [time for one in self.series for time in (one.times[0], one.times[-1])]
        begin, end = min([*times, self.start]), max([*times, self.end])
        return begin, max(end, begin + NS // 10)

    def named(self, name: str, kind: str = "run") -> Series | None:
        """The series of that name of the run, or None."""
        return next((one for one in self.series if one.name == name and one.entity_kind == kind and one.cause_id is None), None)

    def across(self) -> Scale:
        """From time to the right."""
        begin, end = self.span()
        return Scale(begin, end, LEFT, WIDTH - RIGHT)


def step_ns(one: Series) -> int:
    """How long a point of a series lasts: the least distance between two."""
    return min((after - before for before, after in itertools.pairwise(one.times) if after > before), default=NS)


def lasts(times: Sequence[int]) -> dict[int, int]:
    """Until when each point lasts: to the next one, unless something is missing between them; stretches differ by one window."""
    least = min((after - before for before, after in itertools.pairwise(times) if after > before), default=NS)
    following = [*times[1:], times[-1] + least]
    return {time: after if after - time <= 2.1 * least else time + least for time, after in zip(times, following, strict=True)}


def behind(picture: Picture, top: float, bottom: float) -> Markup | None:
    """The stretch of the incident, to be drawn first; None where it is slow all along."""
    if picture.onset is None:
        return None
    across = picture.across()
    left, right = across(picture.start), across(picture.end)
    return tag("rect", x=left, y=top, width=round(max(right - left, 1.0), 1), height=bottom - top, class_="during")


def time_axis(picture: Picture, top: float, bottom: float) -> Markup:
    """Ticks of time under a picture, and a mark at the onset."""
    begin, end = picture.span()
    across = picture.across()
    marks = []
    for second in ticks(0.0, (end - begin) / NS, 5):
        x = across(begin + second * NS)
        anchor = "start" if x < LEFT + 20 else "end" if x > WIDTH - RIGHT - 40 else "middle"
        marks.append(join(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="tick"),
                          tag("text", clock_text(round(begin + second * NS), end - begin), x=x, y=bottom + 17, text_anchor=anchor)))
    left = across(picture.start)
    mark = None
    if picture.onset is not None:
        side = "end" if left > WIDTH * 0.8 else "start"
        mark = join(tag("line", x1=left, x2=left, y1=top - 12, y2=bottom, class_="onset"),
                    tag("text", "onset", x=left + (-4 if side == "end" else 4), y=top - 3, text_anchor=side, class_="onset-text"))
    return join(marks, tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"), mark)


def svg(label: str, height: float, *parts: Any, class_: str = "chart", **attributes: Any) -> Markup:
    """A picture with the sentence that says what it shows."""
    return tag("svg", tag("title", label), *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label, class_=class_,
               **attributes)


def between(picture: Picture) -> dict[str, str]:
    """First and last time of a picture in milliseconds, for what the pointer is at."""
    begin, end = picture.span()
    return {"data_begin": str(begin // 1_000_000), "data_end": str(end // 1_000_000)}
