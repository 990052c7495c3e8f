"""Evidence over time: a line for each fact, with its limit, and the onset through all of them."""

from kibana.vega import FIELD, GREY, SCHEMA, mark, source, spec_text
from kibana.views import COLOURS, VIEWS

_MOST_ROWS = 8


def spec() -> str:
    """The specification."""
    evidence, incidents = VIEWS["evidence"], VIEWS["incident"]
    columns = ("@timestamp", "series", "value", "limit", "unit", "cause.id", "cause.name", "entity.id")
    points = {"%context%": True, "%timefield%": "@timestamp", "index": evidence.title, "body": {
        "size": 8000, "_source": [FIELD(evidence, name) for name in columns], "sort": [{"@timestamp": "asc"}],
        # of the ranks one line is enough here: the worst; as a query this may not stand beside the context of the dashboard
        "post_filter": {"bool": {"must_not": [{"terms": {FIELD(evidence, "series"): ["rank", "rank.min", "rank.median"]}}]}}}}
    onsets = {"%context%": True, "%timefield%": "@timestamp", "index": incidents.title, "body": {
        "size": 1, "_source": [FIELD(incidents, name) for name in ("@timestamp", "incident.end")],
        "sort": [{FIELD(incidents, "lost_seconds"): "desc"}]}}
    series, limit = source(evidence, "series"), source(evidence, "limit")
    cause, end = source(evidence, "cause.id"), source(incidents, "incident.end")
    # the first letter of a cause's number is that of its category
    letters = " : ".join(f"slice(datum.cause, 0, 1) == '{category[0].upper()}' ? '{category}'" for category in COLOURS) + " : 'run'"
    data = [
        {"name": "raw", "url": points, "format": {"property": "hits.hits"}, "transform": [
            {"type": "formula", "as": "series", "expr": series},
            {"type": "formula", "as": "t", "expr": f"toNumber(toDate({source(evidence, '@timestamp')}))"},
            {"type": "formula", "as": "value", "expr": source(evidence, "value")},
            {"type": "formula", "as": "limit", "expr": limit},
            {"type": "formula", "as": "unit", "expr": f"{source(evidence, 'unit')} || ''"},
            {"type": "formula", "as": "cause", "expr": f"{cause} || ''"},
            {"type": "formula", "as": "category", "expr": letters},
            {"type": "filter", "expr": "isValid(datum.value) && isValid(datum.t)"}]},
        {"name": "rows", "source": "raw", "transform": [
            {"type": "aggregate", "groupby": ["series", "category", "unit"], "fields": ["value", "limit", "t"],
             "ops": ["max", "max", "min"], "as": ["most", "limit", "first"]},
            {"type": "formula", "as": "order", "expr": "datum.series == 'step_time' ? 0 : datum.category == 'run' ? 2 : 1"},
            {"type": "collect", "sort": {"field": ["order", "series"]}},
            {"type": "window", "ops": ["row_number"], "as": ["row"]},
            {"type": "filter", "expr": f"datum.row <= {_MOST_ROWS}"},
            {"type": "formula", "as": "top", "expr": "max(datum.most, isValid(datum.limit) ? datum.limit : 0) || 1"}]},
        {"name": "points", "source": "raw", "transform": [
            {"type": "lookup", "from": "rows", "key": "series", "fields": ["series"], "values": ["row", "top"]},
            {"type": "filter", "expr": "isValid(datum.row)"},
            {"type": "formula", "as": "x", "expr": "left + (datum.t - from) / (to - from) * (width - left)"},
            {"type": "formula", "as": "y", "expr": "datum.row * tall - 6 - max(datum.value, 0) / datum.top * (tall - 26)"}]},
        {"name": "span", "source": "raw", "transform": [
            {"type": "aggregate", "fields": ["t", "t"], "ops": ["min", "max"], "as": ["from", "to"]}]},
        {"name": "onset", "url": onsets, "format": {"property": "hits.hits"}, "transform": [
            {"type": "formula", "as": "t", "expr": f"toNumber(toDate({source(incidents, '@timestamp')}))"},
            {"type": "formula", "as": "end", "expr": f"toNumber(toDate({end} || {source(incidents, '@timestamp')}))"},
            {"type": "filter", "expr": "length(data('raw')) > 0 && datum.t >= from && datum.t <= to"}]},
        {"name": "ticks", "values": [{"f": 0}, {"f": 0.5}, {"f": 1}]}]
    lines = {"type": "group", "from": {"facet": {"name": "line", "data": "points", "groupby": "series"}}, "marks": [
        mark("line", "line", x={"field": "x"}, y={"field": "y"}, strokeWidth=1.5, stroke={"scale": "color", "field": "category"})]}
    x_of_onset = "left + (datum.t - from) / (to - from) * (width - left)"
    return spec_text({
        "$schema": SCHEMA,
        "description": "A line for each fact that was measured, its limit dashed; a red line through all where the incident begins.",
        "padding": 6,
        "signals": [
            {"name": "left", "update": "min(210, width * 0.36)"},
            {"name": "count", "update": "max(1, length(data('rows')))"},
            {"name": "tall", "update": "min(80, (height - 26) / count)"},
            # an empty answer has no first and last time
            {"name": "from", "update": "length(data('span')) ? data('span')[0].from || 0 : 0"},
            {"name": "to", "update": "length(data('span')) && data('span')[0].to > from ? data('span')[0].to : from + 1"},
            {"name": "zoom", "on": [{"events": "@zoom:click", "update": "kibanaSetTimeFilter(from, to)"}]}],
        "data": data,
        "scales": [{"name": "color", "type": "ordinal", "domain": [*COLOURS, "run"], "range": [*COLOURS.values(), GREY]}],
        "marks": [
            mark("rule", "rows", x={"signal": "left"}, x2={"signal": "width"}, y={"signal": "datum.row * tall - 6"}, stroke=GREY,
                 strokeOpacity=0.4),
            mark("rule", "rows", x={"signal": "left"}, x2={"signal": "width"}, stroke={"scale": "color", "field": "category"},
                 strokeDash={"value": [4, 3]}, strokeOpacity={"signal": "isValid(datum.limit) ? 0.8 : 0"},
                 y={"signal": "datum.row * tall - 6 - (isValid(datum.limit) ? datum.limit : 0) / datum.top * (tall - 26)"}),
            lines,
            mark("text", "rows", x=0, y={"signal": "datum.row * tall - tall / 2 - 8"}, fontSize=12, fontWeight="bold", baseline="middle",
                 limit={"signal": "left - 8"}, fill={"scale": "color", "field": "category"}, text={"field": "series"},
                 tooltip={"signal": "{fact: datum.series, most: datum.most, limit: datum.limit, unit: datum.unit}"}),
            mark("text", "rows", x=0, y={"signal": "datum.row * tall - tall / 2 + 8"}, fontSize=11, baseline="middle", fill=GREY,
                 limit={"signal": "left - 8"},
                 text={"signal": "'up to ' + format(datum.most, '.3~g') + ' ' + datum.unit + "
                                 "(isValid(datum.limit) ? ', limit ' + format(datum.limit, '.3~g') : '')"}),
            mark("rule", "onset", x={"signal": x_of_onset}, y=0, y2={"signal": "count * tall"}, stroke="#BD271E", strokeWidth=2),
            mark("text", "onset", x={"signal": f"{x_of_onset} + 4"}, y=2, baseline="top", fontSize=11, fill="#BD271E", text="onset"),
            mark("text", "ticks", x={"signal": "left + datum.f * (width - left)"}, y={"signal": "count * tall + 6"}, baseline="top",
                 fontSize=11, fill=GREY, align={"signal": "datum.f == 0 ? 'left' : datum.f == 1 ? 'right' : 'center'"},
                 text={"signal": "length(data('rows')) ? utcFormat(from + datum.f * (to - from), '%H:%M:%S') + ' UTC' : ''"}),
            {**mark("text", x=0, y={"signal": "count * tall + 6"}, baseline="top", fontSize=11, fill="#0077CC", cursor="pointer",
                    text={"signal": "length(data('rows')) ? 'Show only this time' : ''"}), "name": "zoom"},
            mark("text", x=0, y=20, fontSize=12, fill=GREY,
                 text={"signal": "length(data('rows')) ? '' : 'No evidence was recorded of the incidents chosen.'"})]})
