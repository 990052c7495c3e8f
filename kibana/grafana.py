"""The same boards as dashboards of Grafana, for a data source of Elasticsearch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kibana.boards import ids
from kibana.model import Board, Chart, Control, Donut, Drawing, Heat, Is, Layer, Listing, Metric, Number, Panel, Table, Terms, View, Where
from kibana.views import COLOURS, SEARCHES, VIEWS, types
from pinchpoint import fields

Body = dict[str, Any]

FOLDER = Path("kibana") / "grafana"
_SCHEMA = 39
#: Grafana's grid has half as many columns, and its rows are a bit higher.
_COLUMNS = 2
_SOURCE = {"type": "elasticsearch", "uid": "${source}"}
_KIND = {"unique_count": "cardinality", "average": "avg", "sum": "sum", "min": "min", "max": "max", "count": "count",
         "median": "percentiles", "percentile": "percentiles"}
_UNITS = {"s": "s", "span": "s", "ratio": "percentunit", "bytes": "bytes", "bytes/s": "Bps", "W": "watt", "°C": "celsius", "Hz": "hertz",
          "h": "h", "count": "short", "per_s": "cps", "": "short"}
_MOST_ROWS = 500


def dashboards(boards: Sequence[Board]) -> dict[Path, str]:
    """A file for each board."""
    return {FOLDER / f"{board.id.removeprefix('pinchpoint-board-')}.json":
            json.dumps(_dashboard(board, boards), indent=1, ensure_ascii=False) + "\n" for board in boards}


def lucene(where: Where) -> str:
    """Conditions in the query language of Lucene.

    >>> lucene((Is("entity.kind", "gpu"), Is(("a", "b"), ">0"), Is("c"), Is("d", ("x", "y"))))
    'entity.kind:"gpu" AND (a:>0 OR b:>0) AND _exists_:c AND d:("x" OR "y")'
    """
    return " AND ".join(_condition(one) for one in where)


def _condition(one: Is) -> str:
    if isinstance(one.fields, tuple):
        return "(" + " OR ".join(_condition(Is(name, one.value)) for name in one.fields) + ")"
    if isinstance(one.value, tuple):
        return f"{one.fields}:({' OR '.join(json.dumps(each) for each in one.value)})"
    if one.value == "*":
        return f"_exists_:{one.fields}"
    return f"{one.fields}:{one.value if one.value[0] in '<>' else json.dumps(one.value)}"


def _dashboard(board: Board, boards: Sequence[Board]) -> Body:
    panels: list[Body] = []
    y = 0
    for row in board.rows:
        x, height = 0, max(row.height - 1, 3)
        shown = [(panel, width) for panel, width in row.panels if not isinstance(panel, Drawing) or panel.key == "timeline"]
        for panel, width in shown:
            wide = width // _COLUMNS if len(shown) == len(row.panels) else 24 // len(shown)
            made = _panel(panel, board)
            panels.append({"id": len(panels) + 1, "title": panel.title, "gridPos": {"x": x, "y": y, "w": wide, "h": height},
                           "datasource": _SOURCE, **made})
            x += wide
        y += height if shown else 0
    return {
        "uid": board.id, "title": board.title, "description": board.question, "tags": ["pinchpoint"], "schemaVersion": _SCHEMA,
        "version": 1, "editable": True, "timezone": "browser", "refresh": "", "time": {"from": board.since, "to": "now"},
        "graphTooltip": 1, "templating": {"list": [
            {"name": "source", "type": "datasource", "query": "elasticsearch", "label": "Elasticsearch", "hide": 0, "includeAll": False,
             "multi": False, "refresh": 1, "regex": ""}, *(_variable(control) for control in board.controls)]},
        "links": [{"type": "link", "title": other.short, "url": f"/d/{other.id}", "keepTime": True, "includeVars": False,
                   "targetBlank": False, "asDropdown": False, "icon": "dashboard", "tags": [], "tooltip": other.question}
                  for other in boards],
        "annotations": {"list": []}, "panels": panels}


def _variable(control: Control) -> Body:
    types(control.view)[control.field]
    query = json.dumps({"find": "terms", "field": control.field, "size": 500, "query": _index(control.view)})
    return {"name": control.key, "label": control.title, "type": "query", "datasource": _SOURCE, "query": query, "definition": query,
            "refresh": 2, "sort": 1, "multi": not control.single, "includeAll": not control.single,
            # documents without the field stay where nothing is chosen
            **({} if control.single else {"allValue": f"(* OR (NOT _exists_:{control.field}))",
                                             "current": {"text": ["All"], "value": ["$__all"]}}), "hide": 0, "regex": ""}


def _index(view: View) -> str:
    """A condition for the documents of a view, where the data source reads all of pinchpoint's indices."""
    names = view.title.split(",")
    if view.kind in fields.SHIPPED:
        # the indices behind a data stream; a star at the beginning of a name finds nothing here
        names = [f".ds-{name}" for name in names]
    return f"_index:{names[0]}" if len(names) == 1 else "(" + " OR ".join(f"_index:{name}" for name in names) + ")"


def _query(view: View, where: Where, board: Board, *, unfiltered: bool = False) -> str:
    """What a panel asks for: its view, its conditions, and what was chosen above."""
    parts = [_index(view)]
    if where:
        parts.append(lucene(where))
    known = types(view)
    for control in board.controls:
        if control.field in known and not unfiltered:
            parts.append(f"{control.field}:${{{control.key}:lucene}}")
    return " AND ".join(parts)


def _panel(panel: Panel, board: Board) -> Body:
    match panel:
        case Number():
            return _number(panel, board)
        case Chart():
            return _chart(panel, board)
        case Donut():
            target = _target("A", panel.view, (panel.group,), (panel.metric,), panel.where, board)
            return {"type": "piechart", "targets": [target], "fieldConfig": _config(panel.metric, categories=True),
                    "options": {"pieType": "donut", "legend": {"displayMode": "list", "placement": "right"},
                                "reduceOptions": {"calcs": ["lastNotNull"], "values": True}}}
        case Heat():
            target = _target("A", panel.view, (panel.rows, None), (panel.metric,), panel.where, board)
            return {"type": "status-history", "targets": [target], "options": {"showValue": "never", "legend": {"showLegend": False}},
                    "fieldConfig": _config(panel.metric, colours={"mode": "continuous-BlPu"})}
        case Table():
            return _table(panel, board)
        case Drawing():  # the timeline: its points as lines
            target = _target("A", panel.view, (Terms("series", "Fact", 12, by=None), None), (Metric("average", "value", "Value"),),
                             (Is("cause.id"),), board)
            return {"type": "timeseries", "targets": [target], "fieldConfig": _config(Metric("average", "value", "Value")), "options": {}}
        case Listing():
            return _listing(panel, board)
    raise TypeError(f"no such panel: {panel}")


def _number(panel: Number, board: Board) -> Body:
    kind = types(panel.view).get(str(panel.metric.field))
    config = _config(panel.metric)
    if kind in ("date", "date_nanos"):
        config["defaults"]["unit"] = "dateTimeFromNow"
    if panel.alarm:
        config["defaults"]["thresholds"] = _thresholds(panel.alarm)
    # one group for all, as Grafana asks for a group
    target = _target("A", panel.view, (), (panel.metric,), panel.where, board)
    return {"type": "stat", "targets": [target], "fieldConfig": config, "description": panel.subtitle,
            "options": {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"], "values": False}}}


def _chart(panel: Chart, board: Board) -> Body:
    targets = []
    for place, layer in enumerate(panel.layers):
        groups = (panel.over,) if panel.over else (*((layer.split,) if layer.split else ()), None)
        targets += [_target(f"{chr(65 + place)}{number or ''}", layer.view, groups, (metric,), layer.where, board,
                            alias=_alias(layer, metric, panel)) for number, metric in enumerate(layer.metrics)]
    metric = panel.layers[0].metrics[0]
    config = _config(metric, categories=panel.categories)
    if panel.over:
        return {"type": "barchart", "targets": targets, "fieldConfig": config,
                "options": {"orientation": "horizontal", "legend": {"showLegend": False}}}
    custom = {"line": {"fillOpacity": 0, "drawStyle": "line"},
              "bar_stacked": {"fillOpacity": 80, "drawStyle": "bars", "stacking": {"mode": "normal"}},
              "area_percentage_stacked": {"fillOpacity": 60, "drawStyle": "line", "stacking": {"mode": "percent"}}}[panel.shape]
    config["defaults"]["custom"] = custom
    if panel.limits:
        config["defaults"] |= {"min": panel.limits[0], "max": panel.limits[1]}
    return {"type": "timeseries", "targets": targets, "fieldConfig": config,
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}}


def _alias(layer: Layer, metric: Metric, panel: Chart) -> str:
    if panel.over:
        return ""
    split = f"{{{{term {layer.split.field}}}}}" if layer.split else ""
    return split if split and len(layer.metrics) == 1 else f"{split} {metric.label}".strip()


def _table(panel: Table, board: Board) -> Body:
    """Documents where the rows of Kibana's table are documents, else groups with their numbers."""
    texts = [metric for metric in panel.metrics if metric.operation == "last_value" or metric.field == "@timestamp"]
    numbers = tuple(metric for metric in panel.metrics if metric not in texts)
    if not numbers or (panel.view in (VIEWS["incident"], VIEWS["cause"]) and panel.groups[0].field in ("incident.id", "cause.name")):
        names = ["@timestamp", *(group.field for group in panel.groups), *(str(metric.field) for metric in panel.metrics
                                                                          if metric.field != "@timestamp")]
        return _documents(_query(panel.view, panel.where, board, unfiltered=panel.unfiltered), names, panel)
    target = _target("A", panel.view, panel.groups, numbers, panel.where, board)
    overrides = [{"matcher": {"id": "byRegexp", "options": f"(?i).*{metric.field}.*"},
                  "properties": [{"id": "unit", "value": _UNITS[metric.unit]}]} for metric in numbers if metric.field]
    return {"type": "table", "targets": [target], "options": {"showHeader": True},
            "fieldConfig": {"defaults": {}, "overrides": overrides}}


def _documents(query: str, names: Sequence[str], panel: Table | None = None) -> Body:
    target = {"refId": "A", "datasource": _SOURCE, "query": query, "timeField": "@timestamp", "bucketAggs": [],
              "metrics": [{"id": "1", "type": "raw_data", "settings": {"size": str(_MOST_ROWS)}}]}
    overrides: list[Body] = []
    labels = {group.field: group.label for group in panel.groups} if panel else {}
    for metric in panel.metrics if panel else ():
        labels[str(metric.field)] = metric.label
        if metric.unit:
            overrides.append({"matcher": {"id": "byName", "options": metric.label},
                              "properties": [{"id": "unit", "value": _UNITS[metric.unit]}]})
    if panel and panel.drill:
        overrides.append({"matcher": {"id": "byName", "options": panel.groups[0].label}, "properties": [{"id": "links", "value": [
            {"title": "Open it",
             "url": f"/d/{ids.INCIDENT}?${{__url_time_range}}&var-incident=${{__value.raw}}&var-source=${{source}}"}]}]})
    return {"type": "table", "targets": [target], "options": {"showHeader": True}, "fieldConfig": {"defaults": {}, "overrides": overrides},
            "transformations": [
                {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}},
                {"id": "organize", "options": {"excludeByName": {}, "indexByName": {name: place for place, name in enumerate(names)},
                                               "renameByName": labels}}]}


def _listing(panel: Listing, board: Board) -> Body:
    """The documents of a saved search; its query asks for values of one field."""
    _, kind, columns, kuery = SEARCHES[panel.search]
    field, _, values = kuery.partition(": ")
    where = (Is(field, tuple(values.strip("()").split(" or "))),) if kuery else ()
    return _documents(_query(VIEWS[kind], where, board), ["@timestamp", *columns])


def _target(ref: str, view: View, groups: Sequence[Terms | None], metrics: Sequence[Metric], where: Where, board: Board, *,
            alias: str = "") -> Body:
    """A query as Grafana keeps it: numbers and groups have ids by which they refer to each other."""
    known = types(view)
    asked, by = [], []
    for place, metric in enumerate(metrics):
        one: Body = {"id": str(place + 1), "type": _KIND[metric.operation]}
        if metric.field is not None:
            known[metric.field]
            one["field"] = metric.field
        if metric.operation in ("median", "percentile"):
            one["settings"] = {"percents": ["50" if metric.operation == "median" else str(metric.percentile)]}
        asked.append(one)
    for place, group in enumerate(groups):
        number = str(place + 10)
        if group is None:
            by.append({"id": number, "type": "date_histogram", "field": "@timestamp",
                       "settings": {"interval": "auto", "min_doc_count": "0", "trimEdges": "0"}})
            continue
        known[group.field]
        # percentiles have no single number to order by
        ordered = group.by is not None and group.by < len(metrics) and metrics[group.by].operation not in ("median", "percentile", "count")
        order = str((group.by or 0) + 1) if ordered else "_key" if group.by is None else "_count"
        by.append({"id": number, "type": "terms", "field": group.field, "settings": {
            "size": str(group.size), "order": "asc" if group.by is None else "desc", "orderBy": order, "min_doc_count": "1"}})
    if not groups:
        # without a group Grafana asks for documents; the whole time is one bar
        by.append({"id": "10", "type": "date_histogram", "field": "@timestamp", "settings": {"interval": "36500d", "min_doc_count": "0"}})
    return {"refId": ref, "datasource": _SOURCE, "query": _query(view, where, board), "timeField": "@timestamp", "alias": alias,
            "metrics": asked, "bucketAggs": by}


def _config(metric: Metric, *, categories: bool = False, colours: Body | None = None) -> Body:
    overrides = [{"matcher": {"id": "byName", "options": category}, "properties": [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]} for category, colour in COLOURS.items()] if categories else []
    return {"defaults": {"unit": _UNITS[metric.unit], **({"color": colours} if colours else {})}, "overrides": overrides}


def _thresholds(limits: tuple[float, float]) -> Body:
    return {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "yellow", "value": limits[0]},
                                          {"color": "red", "value": limits[1]}]}
