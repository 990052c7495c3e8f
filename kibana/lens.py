"""Panels as Kibana's Lens keeps them: columns on data views, no formula, no ES|QL."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from kibana.model import Chart, Donut, Heat, Is, Metric, Number, Table, Terms, View, Where
from kibana.views import COLOURS, VIEWS, types

Body = dict[str, Any]

RED, YELLOW, GREEN = "#E7664C", "#D6BF57", "#54B399"
_DATE = ("date", "date_nanos")
_NUMBER = ("double", "long")


@dataclasses.dataclass(slots=True)
class Drawn:
    """The attributes of a Lens panel, and what its dashboard has to refer to."""

    attributes: Body
    references: list[Body]
    events: list[Body]


def kuery(where: Where) -> str:
    """Conditions in the query language of Kibana.

    >>> kuery((Is("entity.kind", "gpu"), Is(("a", "b"), ">0"), Is("c"), Is("d", ("x", "y"))))
    'entity.kind: "gpu" and (a > 0 or b > 0) and c: * and d: ("x" or "y")'
    """
    return " and ".join(_condition(one) for one in where)


def _condition(one: Is) -> str:
    if isinstance(one.fields, tuple):
        return "(" + " or ".join(_condition(Is(name, one.value)) for name in one.fields) + ")"
    if isinstance(one.value, tuple):
        return f"{one.fields}: ({' or '.join(_value(each) for each in one.value)})"
    if one.value[0] in "<>":
        return f"{one.fields} {one.value[0]} {one.value[1:]}"
    return f"{one.fields}: {one.value if one.value == '*' else _value(one.value)}"


def _value(text: str) -> str:
    return f'"{text}"'


def check_where(view: View, where: Where) -> None:
    """Every field that is asked for is one of the view. Raises: KeyError."""
    known = types(view)
    for one in where:
        for name in (one.fields,) if isinstance(one.fields, str) else one.fields:
            known[name]


def number(panel: Number) -> Drawn:
    """One number."""
    visualization: Body = {"layerId": "l", "layerType": "data", "metricAccessor": "m0", "subtitle": panel.subtitle}
    if panel.alarm:
        visualization["palette"] = _palette(panel.alarm)
    return _panel(panel.title, "lnsMetric", visualization, {"l": (panel.view, _columns(panel.view, (), (panel.metric,)))}, panel.where)


def donut(panel: Donut) -> Drawn:
    """Shares by category."""
    visualization = {"shape": "donut", "layers": [{
        "layerId": "l", "layerType": "data", "primaryGroups": ["b0"], "metrics": ["m0"], "numberDisplay": "value",
        "categoryDisplay": "default", "legendDisplay": "show", "legendPosition": "right", "nestedLegend": False,
        "colorMapping": _category_colours()}]}
    layers = {"l": (panel.view, _columns(panel.view, (panel.group,), (panel.metric,)))}
    return _panel(panel.title, "lnsPie", visualization, layers, panel.where)


def heat(panel: Heat) -> Drawn:
    """Rows over time."""
    columns = _columns(panel.view, (None, panel.rows), (panel.metric,))
    visualization = {
        "shape": "heatmap", "layerId": "l", "layerType": "data", "xAccessor": "b0", "yAccessor": "b1", "valueAccessor": "m0",
        "gridConfig": {"type": "heatmap_grid", "isCellLabelVisible": False, "isXAxisLabelVisible": True, "isXAxisTitleVisible": False,
                       "isYAxisLabelVisible": True, "isYAxisTitleVisible": False},
        "legend": {"type": "heatmap_legend", "isVisible": True, "position": "right"}}
    return _panel(panel.title, "lnsHeatmap", visualization, {"l": (panel.view, columns)}, panel.where)


def table(panel: Table) -> Drawn:
    """A row for each group."""
    shown: list[Body] = [{"columnId": f"b{place}", **({"oneClickFilter": True} if group.click else {})}
                         for place, group in enumerate(panel.groups)]
    known = types(panel.view)
    for place, metric in enumerate(panel.metrics):
        cell: Body = {"columnId": f"m{place}"}
        if metric.operation == "count" or known[str(metric.field)] in _NUMBER:
            cell["alignment"] = "right"
        if metric.alarm:
            cell |= {"colorMode": "cell", "palette": _palette(metric.alarm)}
        shown.append(cell)
    visualization = {"layerId": "l", "layerType": "data", "columns": shown, "paging": {"size": 20, "enabled": True},
                     "sorting": {"columnId": f"m{panel.sort}", "direction": "desc"}, "rowHeight": "auto" if panel.tall else "single",
                     "headerRowHeight": "single"}
    drawn = _panel(panel.title, "lnsDatatable", visualization,
                   {"l": (panel.view, _columns(panel.view, panel.groups, panel.metrics))}, panel.where, unfiltered=panel.unfiltered)
    if panel.drill is not None:
        event = f"{panel.key}-drill"
        drawn.events.append({"eventId": event, "triggers": ["FILTER_TRIGGER"], "action": {
            "factoryId": "DASHBOARD_TO_DASHBOARD_DRILLDOWN", "name": "Open it",
            # what was clicked goes along; other filters would empty panels whose documents lack their fields
            "config": {"useCurrentFilters": False, "useCurrentDateRange": True, "openInNewTab": False}}})
        drawn.references.append({"type": "dashboard", "id": panel.drill,
                                 "name": f"drilldown:DASHBOARD_TO_DASHBOARD_DRILLDOWN:{event}:dashboardId"})
    if panel.discover:
        drawn.events.append(_discover(panel.key))
    return drawn


def chart(panel: Chart) -> Drawn:
    """Lines or bars."""
    layers: dict[str, tuple[View, dict[str, Body]]] = {}
    shown: list[Body] = []
    for place, layer in enumerate(panel.layers):
        name = "l" if len(panel.layers) == 1 else f"l{place}"
        columns = _columns(layer.view, (panel.over, *((layer.split,) if layer.split else ())), layer.metrics)
        if len(panel.layers) > 1:
            columns = {f"{name}{key}": _renamed(column, name) for key, column in columns.items()}
        prefix = "" if len(panel.layers) == 1 else name
        layers[name] = (layer.view, columns)
        one: Body = {"layerId": name, "layerType": "data", "seriesType": panel.shape, "xAccessor": f"{prefix}b0",
                     "accessors": [f"{prefix}m{number}" for number in range(len(layer.metrics))]}
        if layer.split:
            one["splitAccessor"] = f"{prefix}b1"
        if panel.categories:
            one["colorMapping"] = _category_colours()
        shown.append(one)
    visualization: Body = {
        "legend": {"isVisible": panel.over is None, "position": "bottom"}, "valueLabels": "hide", "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "gridlinesVisibilitySettings": {"x": False, "yLeft": True, "yRight": False},
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0}, "preferredSeriesType": panel.shape, "layers": shown}
    if panel.limits:
        visualization["yLeftExtent"] = {"mode": "custom", "lowerBound": panel.limits[0], "upperBound": panel.limits[1], "enforce": True}
    for layer in panel.layers[1:]:
        check_where(layer.view, layer.where)
    drawn = _panel(panel.title, "lnsXY", visualization, layers, panel.layers[0].where)
    if panel.marks:
        view = VIEWS["incident"]
        shown.append({"layerId": "a", "layerType": "annotations", "persistanceType": "byValue", "ignoreGlobalFilters": False,
                      "annotations": [{
                          "id": "onset", "type": "query", "label": "Onset of an incident", "key": {"type": "point_in_time"},
                          "timeField": "@timestamp", "filter": {"type": "kibana_query", "query": "incident.id: *", "language": "kuery"},
                          "icon": "alert", "color": "#BD271E", "extraFields": _known(view, ("cause.name", "incident.summary")),
                          "isHidden": False, "outside": False}]})
        drawn.references.append({"type": "index-pattern", "id": view.id, "name": "xy-visualization-layer-a"})
        drawn.attributes["references"] = list(drawn.references)
    if panel.discover:
        drawn.events.append(_discover(panel.key))
    return drawn


def _known(view: View, columns: Sequence[str]) -> list[str]:
    known = types(view)
    for name in columns:
        known[name]
    return list(columns)


def _renamed(column: Body, prefix: str) -> Body:
    """A column of one layer of several, whose names must differ."""
    by = column.get("params", {}).get("orderBy")
    if by and by["type"] == "column":
        column = {**column, "params": {**column["params"], "orderBy": {**by, "columnId": prefix + by["columnId"]}}}
    return column


def _discover(key: str) -> Body:
    return {"eventId": f"{key}-discover", "triggers": ["FILTER_TRIGGER"], "action": {
        "factoryId": "OPEN_IN_DISCOVER_DRILLDOWN", "name": "Show the documents", "config": {"openInNewTab": True}}}


def _panel(title: str, kind: str, visualization: Body, layers: dict[str, tuple[View, dict[str, Body]]], where: Where, *,
           unfiltered: bool = False) -> Drawn:
    check_where(next(iter(layers.values()))[0], where)
    references = [{"type": "index-pattern", "id": view.id, "name": f"indexpattern-datasource-layer-{name}"}
                  for name, (view, _) in layers.items()]
    state = {
        "visualization": visualization, "query": {"query": kuery(where), "language": "kuery"}, "filters": [],
        "datasourceStates": {
            "formBased": {"layers": {name: {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}, "sampling": 1,
                                            "ignoreGlobalFilters": unfiltered} for name, (_, columns) in layers.items()}},
            "indexpattern": {"layers": {}}, "textBased": {"layers": {}}},
        "internalReferences": [], "adHocDataViews": {}}
    return Drawn({"title": title, "description": "", "visualizationType": kind, "type": "lens", "references": list(references),
                  "state": state}, references, [])


def _columns(view: View, groups: Sequence[Terms | None], metrics: Sequence[Metric]) -> dict[str, Body]:
    """Columns by name, groups outermost first; None is time."""
    found: dict[str, Body] = {}
    for place, group in enumerate(groups):
        found[f"b{place}"] = _time() if group is None else _terms(view, group)
    for place, metric in enumerate(metrics):
        found[f"m{place}"] = _metric(view, metric)
    return found


def _time() -> Body:
    return {"label": "@timestamp", "customLabel": False, "dataType": "date", "operationType": "date_histogram", "isBucketed": True,
            "scale": "interval", "sourceField": "@timestamp",
            "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}}


def _terms(view: View, group: Terms) -> Body:
    order = {"type": "alphabetical", "fallback": False} if group.by is None else {"type": "column", "columnId": f"m{group.by}"}
    return {"label": group.label, "customLabel": True, "dataType": _data_type(types(view)[group.field]), "operationType": "terms",
            "isBucketed": True, "scale": "ordinal", "sourceField": group.field, "params": {
                "size": group.size, "orderBy": order, "orderDirection": "asc" if group.by is None else "desc", "otherBucket": False,
                "missingBucket": False, "parentFormat": {"id": "terms"}, "include": [], "exclude": [], "includeIsRegex": False,
                "excludeIsRegex": False}}


def _metric(view: View, metric: Metric) -> Body:
    column: Body = {"label": metric.label, "customLabel": True, "dataType": "number", "operationType": metric.operation,
                    "isBucketed": False, "scale": "ratio"}
    params: Body = _format(metric)
    if metric.operation == "count":
        return {**column, "sourceField": "___records___", "params": {"emptyAsNull": True, **params}}
    name = str(metric.field)
    kind = types(view)[name]
    column["sourceField"] = name
    if metric.operation in ("last_value", "min", "max"):
        column["dataType"] = _data_type(kind)
    if metric.operation == "last_value":
        column |= {"scale": "ratio" if kind in _NUMBER else "ordinal", "filter": {"query": f'"{name}": *', "language": "kuery"}}
        params = {"sortField": "@timestamp", "showArrayValues": False, **params}
    if metric.operation in ("sum", "unique_count"):
        params = {"emptyAsNull": True, **params}
    if metric.operation == "percentile":
        params = {"percentile": metric.percentile, **params}
    if metric.per_s:
        column["timeScale"] = "s"
    return {**column, "params": params} if params else column


def _data_type(kind: str) -> str:
    return "number" if kind in _NUMBER else "date" if kind in _DATE else "string"


def _format(metric: Metric) -> Body:
    def plain(decimals: int, suffix: str) -> Body:
        return {"id": "number", "params": {"decimals": decimals, "suffix": suffix}}

    found: Body | None
    match metric.unit:
        case "span":
            found = {"id": "duration", "params": {"decimals": 0, "fromUnit": "seconds", "toUnit": "humanizePrecise", "compact": True}}
        case "ratio":
            found = {"id": "percent", "params": {"decimals": 1}}
        case "bytes":
            found = {"id": "bytes", "params": {"decimals": 1}}
        case "bytes/s":
            found = {"id": "bytes", "params": {"decimals": 1, "suffix": "/s"}}
        case "s":
            found = plain(3, " s")
        case "W" | "°C" | "h":
            found = plain(1, f" {metric.unit}")
        case "Hz":
            found = {"id": "number", "params": {"decimals": 2, "suffix": "Hz", "compact": True}}
        case "count":
            found = plain(0, "")
        case "per_s":
            found = plain(1, "/s")
        case _:
            found = None
    return {"format": found} if found else {}


def _palette(limits: tuple[float, float]) -> Body:
    some, many = limits
    return {"type": "palette", "name": "custom", "params": {
        "name": "custom", "reverse": False, "rangeType": "number", "rangeMin": 0, "rangeMax": None, "progression": "fixed",
        "continuity": "above", "maxSteps": 5, "steps": 3,
        "stops": [{"color": GREEN, "stop": some}, {"color": YELLOW, "stop": many}, {"color": RED, "stop": many + 1}],
        "colorStops": [{"color": GREEN, "stop": 0}, {"color": YELLOW, "stop": some}, {"color": RED, "stop": many}]}}


def _category_colours() -> Body:
    return {"assignments": [{"rule": {"type": "matchExactly", "values": [category]}, "color": {"type": "colorCode", "colorCode": colour},
                             "touched": True} for category, colour in COLOURS.items()],
            "specialAssignments": [{"rule": {"type": "other"}, "color": {"type": "loop"}, "touched": False}],
            "paletteId": "eui_amsterdam_color_blind", "colorMode": {"type": "categorical"}}
