"""What a dashboard shows, said once for Kibana and for Grafana."""

import dataclasses
from typing import Literal

Operation = Literal["count", "sum", "average", "min", "max", "median", "percentile", "unique_count", "last_value"]
Shape = Literal["line", "area_percentage_stacked", "bar_stacked", "bar_horizontal"]

#: How numbers are shown, by what they are. Readings have the unit of their field.
Unit = Literal["s", "span", "ratio", "bytes", "bytes/s", "W", "°C", "Hz", "h", "count", "per_s", ""]


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One index or stream as Kibana knows it."""

    id: str
    title: str
    """The index pattern."""
    name: str
    kind: str
    """The kind of record, or the index of what a store keeps besides; it says which fields there are."""


@dataclasses.dataclass(frozen=True, slots=True)
class Is:
    """A condition: one of the fields has the value; `*` any value, `>0` and the like a range; several values mean one of them."""

    fields: str | tuple[str, ...]
    value: str | tuple[str, ...] = "*"


Where = tuple[Is, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One number of a group of documents."""

    operation: Operation
    field: str | None
    label: str
    unit: Unit = ""
    percentile: int = 95
    per_s: bool = False
    """Divided by the seconds of its bar."""
    alarm: tuple[float, float] | None = None
    """From the first number on a cell is yellow, from the second on red."""


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """Groups by the values of a field, those first that have most of a metric."""

    field: str
    label: str
    size: int
    by: int | None = 0
    """Which metric decides the order; None for the values themselves."""
    click: bool = False
    """Whether a cell is a link that filters."""


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """What all panels have."""

    key: str
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Number(Panel):
    """One number, large."""

    view: View
    metric: Metric
    where: Where = ()
    subtitle: str = ""
    alarm: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """Lines or bars of one view."""

    view: View
    metrics: tuple[Metric, ...]
    split: Terms | None = None
    where: Where = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Chart(Panel):
    """Lines or bars over time, or over the values of a field."""

    layers: tuple[Layer, ...]
    shape: Shape = "line"
    over: Terms | None = None
    """None for time."""
    limits: tuple[float, float] | None = None
    """Of the axis; None for those of the data."""
    marks: bool = False
    """Whether incidents are marked."""
    categories: bool = False
    """Whether the split is by category of cause, which has colours of its own."""
    discover: bool = False
    """Whether a click may lead to the documents."""


@dataclasses.dataclass(frozen=True, slots=True)
class Donut(Panel):
    """Shares of a whole, by category of cause."""

    view: View
    group: Terms
    metric: Metric
    where: Where = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Heat(Panel):
    """A number by the values of a field and time."""

    view: View
    rows: Terms
    metric: Metric
    where: Where = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Table(Panel):
    """A row for each group."""

    view: View
    groups: tuple[Terms, ...]
    metrics: tuple[Metric, ...]
    where: Where = ()
    sort: int = 0
    """Which metric sorts."""
    drill: str | None = None
    """The board that a click on a group opens."""
    discover: bool = False
    tall: bool = False
    """Whether cells may have several lines."""
    unfiltered: bool = False
    """Whether controls do not reach it, since its documents lack their fields."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drawing(Panel):
    """A Vega specification."""

    view: View
    spec: str


@dataclasses.dataclass(frozen=True, slots=True)
class Listing(Panel):
    """The documents of a saved search."""

    search: str


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """A field that a reader can choose a value of."""

    key: str
    title: str
    view: View
    field: str
    single: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, with their widths in 48ths."""

    height: int
    panels: tuple[tuple[Panel, int], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    id: str
    title: str
    short: str
    """Its name in the row of links."""
    question: str
    controls: tuple[Control, ...]
    rows: tuple[Row, ...]
    since: str = "now-7d"
