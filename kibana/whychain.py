"""The chain from the symptom to the leading cause, the other causes, and what was ruled out."""

from kibana.vega import FIELD, GREY, SCHEMA, mark, source, spec_text
from kibana.views import COLOURS, VIEWS

_LINE = 15
#: Letters that fit into a pixel of width, at the size that is written in.
_LETTERS = "max(24, floor((width - 40) / 7.4))"


def spec() -> str:
    """The specification: first the incident's leading cause; of several incidents the one that lost most."""
    causes, incidents = VIEWS["cause"], VIEWS["incident"]
    columns = ("incident.id", "cause.name", "cause.category", "cause.why", "cause.position", "cause.confidence", "lost_seconds")
    request = {"%context%": True, "%timefield%": "@timestamp", "index": causes.title, "body": {
        "size": 20, "_source": [FIELD(causes, name) for name in columns],
        "sort": [{FIELD(causes, "lost_seconds"): "desc"}, {FIELD(causes, "cause.position"): "asc"}]}}
    ruled_out = {"%context%": True, "%timefield%": "@timestamp", "index": incidents.title, "body": {
        "size": 1, "_source": [FIELD(incidents, "pinchpoint.rejected")],
        "sort": [{FIELD(incidents, "lost_seconds"): "desc"}]}}
    name, why, category, lost = (source(causes, field) for field in ("cause.name", "cause.why", "cause.category", "lost_seconds"))
    data = [
        {"name": "raw", "url": request, "format": {"property": "hits.hits"}, "transform": [
            {"type": "window", "ops": ["row_number"], "as": ["place"]},
            {"type": "formula", "as": "category", "expr": category},
            {"type": "formula", "as": "incident", "expr": source(causes, "incident.id")}]},
        {"name": "first", "source": "raw", "transform": [{"type": "filter", "expr": "datum.place == 1"}]},
        {"name": "links", "source": "first", "transform": [
            {"type": "formula", "as": "parts", "expr": f"split({why}, '\\n')"},
            {"type": "flatten", "fields": ["parts"], "as": ["part"], "index": "number"},
            {"type": "formula", "as": "order", "expr": "datum.number"},
            {"type": "formula", "as": "kind", "expr": "'link'"},
            {"type": "formula", "as": "said", "expr": "(datum.number == 0 ? 'Symptom: ' : '') + datum.part"}]},
        {"name": "others", "source": "raw", "transform": [
            {"type": "filter", "expr": "datum.place > 1 && datum.incident == data('raw')[0].incident"},
            {"type": "formula", "as": "order", "expr": "100 + datum.place"},
            {"type": "formula", "as": "kind", "expr": "'other'"},
            {"type": "formula", "as": "said", "expr": f"'also: ' + {name} + ', ' + format({lost}, '.0f') + ' s'"}]},
        {"name": "rejected", "url": ruled_out, "format": {"property": "hits.hits"}, "transform": [
            {"type": "formula", "as": "all", "expr": f"{source(incidents, 'pinchpoint.rejected')} || []"},
            {"type": "flatten", "fields": ["all"], "as": ["one"], "index": "number"},
            {"type": "filter", "expr": "isString(datum.one) && datum.number < 8"},
            {"type": "formula", "as": "order", "expr": "1000 + datum.number"},
            {"type": "formula", "as": "kind", "expr": "'out'"},
            {"type": "formula", "as": "category", "expr": "''"},
            {"type": "formula", "as": "said", "expr": "'ruled out: ' + datum.one"}]},
        {"name": "rows", "source": ["links", "others", "rejected"], "transform": [
            {"type": "collect", "sort": {"field": "order"}},
            # lines break at spaces; a longer word stays whole
            {"type": "formula", "as": "lines",
             "expr": "split(replace(datum.said, regexp('(.{1,' + letters + '})(\\\\s+|$)', 'g'), '$1\\n'), '\\n')"},
            {"type": "formula", "as": "lines", "expr": "slice(datum.lines, 0, max(1, length(datum.lines) - 1))"},
            {"type": "formula", "as": "tall", "expr": f"length(datum.lines) * {_LINE} + 12"},
            {"type": "window", "ops": ["sum"], "fields": ["tall"], "as": ["below"], "frame": [None, 0]},
            {"type": "formula", "as": "y", "expr": "datum.below - datum.tall"}]},
        {"name": "arrows", "source": "rows", "transform": [{"type": "filter", "expr": "datum.kind == 'link' && datum.order > 0"}]}]
    colour = [{"test": "datum.kind == 'out'", "value": GREY}, {"scale": "color", "field": "category"}]
    return spec_text({
        "$schema": SCHEMA,
        "description": "From the symptom down to the leading cause, each box the reason of the one above; then other causes.",
        "padding": 6,
        "signals": [{"name": "letters", "update": _LETTERS}],
        "data": data,
        "scales": [{"name": "color", "type": "ordinal", "domain": list(COLOURS), "range": list(COLOURS.values())}],
        "marks": [
            mark("rect", "rows", x=14, x2={"signal": "width"}, y={"signal": "datum.y + 1"}, height={"signal": "datum.tall - 6"},
                 cornerRadius=4, fill=colour, fillOpacity={"signal": "datum.kind == 'out' ? 0.08 : 0.16"},
                 tooltip={"signal": "datum.said"}),
            mark("rect", "rows", x=14, width=4, y={"signal": "datum.y + 1"}, height={"signal": "datum.tall - 6"}, fill=colour),
            mark("text", "arrows", x=2, y={"field": "y"}, baseline="middle", fontSize=14, fill=GREY, text="↓"),
            mark("text", "rows", x=24, y={"signal": "datum.y + 5"}, baseline="top", fontSize=12, lineHeight=_LINE, fill=GREY,
                 text={"field": "lines"}, fontWeight={"signal": "datum.kind == 'link' ? 'bold' : 'normal'"}),
            mark("text", x=14, y=20, fontSize=12, fill=GREY,
                 text={"signal": "length(data('rows')) ? '' : 'No cause is known of the incidents chosen.'"})]})
