"""The fishbone: a bone for each category, a rib for each cause, as wide as the time that is lost to it."""

from typing import Any

from kibana.vega import FIELD, GREY, SCHEMA, mark, spec_text
from kibana.views import COLOURS, VIEWS

_RIBS = 4
_BONES = [{"cat": category, "col": place % 2, "side": -1 if place < 2 else 1} for place, category in enumerate(COLOURS)]


def spec() -> str:
    """The specification."""
    view = VIEWS["cause"]
    category, name, lost = FIELD(view, "cause.category"), FIELD(view, "cause.name"), FIELD(view, "lost_seconds")
    lose: dict[str, Any] = {"lost": {"sum": {"field": lost}}}
    request = {"%context%": True, "%timefield%": "@timestamp", "index": view.title, "body": {"size": 0, "aggs": {
        "categories": {"terms": {"field": category, "size": len(COLOURS)}, "aggs": {
            **lose, "causes": {"terms": {"field": name, "size": _RIBS, "order": {"lost": "desc"}}, "aggs": lose}}}}}}
    data = [
        {"name": "raw", "format": {"property": "aggregations.categories.buckets"}, "url": request},
        {"name": "bones", "values": _BONES, "transform": [
            {"type": "lookup", "from": "raw", "key": "key", "fields": ["cat"], "values": ["lost.value"], "as": ["n"], "default": 0},
            {"type": "formula", "as": "jx", "expr": "headX * (datum.col == 0 ? 0.48 : 0.94)"},
            {"type": "formula", "as": "tx", "expr": "datum.jx - headX * 0.16"},
            {"type": "formula", "as": "ty", "expr": "midY + datum.side * boneH"}]},
        {"name": "ribs", "source": "raw", "transform": [
            {"type": "flatten", "fields": ["causes.buckets"], "as": ["cause"]},
            {"type": "window", "ops": ["row_number"], "as": ["rank"], "groupby": ["key"]},
            {"type": "lookup", "from": "bones", "key": "cat", "fields": ["key"], "values": ["jx", "tx", "ty", "side"]},
            {"type": "filter", "expr": "isValid(datum.jx)"},
            {"type": "formula", "as": "f", "expr": f"(datum.rank - 0.35) / {_RIBS + 0.6}"},
            {"type": "formula", "as": "x", "expr": "datum.jx + (datum.tx - datum.jx) * (1 - datum.f)"},
            {"type": "formula", "as": "y", "expr": "midY + (datum.ty - midY) * (1 - datum.f)"},
            {"type": "formula", "as": "lost", "expr": "datum.cause.lost.value"},
            {"type": "formula", "as": "label", "expr": "datum.cause.key + '  ' + " + _span("datum.lost")}]},
        {"name": "most", "source": "ribs", "transform": [{"type": "aggregate", "fields": ["lost"], "ops": ["max"], "as": ["n"]}]}]
    return spec_text({
        "$schema": SCHEMA,
        "description": "One bone for each category of cause, one rib for each cause, as wide as the time that is lost to it.",
        "padding": 8,
        "signals": [{"name": "headX", "update": "width - 150"}, {"name": "midY", "update": "height / 2"},
                    {"name": "boneH", "update": "height / 2 - 34"}],
        "data": data,
        "scales": [
            {"name": "color", "type": "ordinal", "domain": list(COLOURS), "range": list(COLOURS.values())},
            # an empty answer has no maximum, and Kibana prints the warning over the panel
            {"name": "w", "type": "sqrt", "domain": [0, {"signal": "length(data('most')) ? data('most')[0].n || 1 : 1"}], "range": [1, 9]}],
        "marks": [
            mark("rule", x=0, x2={"signal": "headX"}, y={"signal": "midY"}, stroke=GREY, strokeWidth=4),
            mark("rect", x={"signal": "headX"}, width=146, yc={"signal": "midY"}, height=46, cornerRadius=6, fill="#BD271E"),
            mark("text", x={"signal": "headX + 73"}, y={"signal": "midY"}, align="center", baseline="middle", fill="white", fontSize=14,
                 fontWeight="bold", text="Lost time"),
            mark("rule", "bones", x={"field": "tx"}, y={"field": "ty"}, x2={"field": "jx"}, y2={"signal": "midY"},
                 stroke={"scale": "color", "field": "cat"}, strokeWidth=3, strokeOpacity={"signal": "datum.n > 0 ? 1 : 0.35"}),
            mark("text", "bones", x={"field": "tx"}, y={"signal": "datum.ty + datum.side * 14"}, align="center", baseline="middle",
                 fill={"scale": "color", "field": "cat"}, fontSize=14, fontWeight="bold",
                 text={"signal": "datum.cat + '  ' + " + _span("datum.n")}),
            mark("rule", "ribs", x={"signal": "datum.x - 240"}, x2={"field": "x"}, y={"field": "y"},
                 stroke={"scale": "color", "field": "key"}, strokeWidth={"scale": "w", "field": "lost"},
                 tooltip={"signal": "{cause: datum.cause.key, incidents: datum.cause.doc_count, lost: " + _span("datum.lost") + "}"}),
            mark("text", "ribs", x={"signal": "datum.x - 242"}, y={"signal": "datum.y - 10"}, align="left", limit=236, fontSize=12,
                 fill=GREY, text={"field": "label"})]})


def _span(value: str) -> str:
    """A Vega expression: seconds as people read them."""
    return (f"({value} >= 3600 ? format({value} / 3600, '.1f') + ' h' : {value} >= 60 ? format({value} / 60, '.1f') + ' min' : "
            f"format({value}, '.0f') + ' s')")
