"""What a Lens panel asks of Elasticsearch, and the rows that it draws of the answer."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]

_TOKEN = re.compile(r'\s*(?:("(?:\\.|[^"])*")|([()])|(<=|>=|<|>|:)|([^\s()<>:"]+))')
#: In the place of the interval that Kibana chooses by the time range.
INTERVAL = "60s"


def query(kuery: str) -> Body:
    """The few forms of Kibana's query language that our panels use, as Elasticsearch takes them."""
    tokens = [next(part for part in match if part) for match in _TOKEN.findall(kuery)]
    if not tokens:
        return {"match_all": {}}
    found, rest = _or(tokens)
    assert not rest, f"cannot read {kuery!r} from {rest} on"
    return found


def _or(tokens: list[str]) -> tuple[Body, list[str]]:
    parts, tokens = _several(tokens, "or", _and)
    return ({"bool": {"should": parts, "minimum_should_match": 1}} if len(parts) > 1 else parts[0]), tokens


def _and(tokens: list[str]) -> tuple[Body, list[str]]:
    parts, tokens = _several(tokens, "and", _one)
    return ({"bool": {"filter": parts}} if len(parts) > 1 else parts[0]), tokens


def _several(tokens: list[str], word: str, one: Any) -> tuple[list[Body], list[str]]:
    first, tokens = one(tokens)
    parts = [first]
    while tokens and tokens[0] == word:
        first, tokens = one(tokens[1:])
        parts.append(first)
    return parts, tokens


def _one(tokens: list[str]) -> tuple[Body, list[str]]:
    if tokens[0] == "(":
        found, rest = _or(tokens[1:])
        assert rest[0] == ")"
        return found, rest[1:]
    name, sign, *rest = tokens
    name = name.strip('"')
    if sign != ":":
        return {"range": {name: {{"<": "lt", ">": "gt", "<=": "lte", ">=": "gte"}[sign]: float(rest[0])}}}, rest[1:]
    if rest[0] == "*":
        return {"exists": {"field": name}}, rest[1:]
    if rest[0] != "(":
        return {"term": {name: rest[0].strip('"')}}, rest[1:]
    end = rest.index(")")
    return {"terms": {name: [value.strip('"') for value in rest[1:end] if value != "or"]}}, rest[end + 1:]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One layer of a panel as a search."""

    index: str
    body: Body
    columns: dict[str, Body]
    order: tuple[str, ...]
    """Columns, buckets outermost first."""


def requests(panel: Body, titles: dict[str, str], references: dict[str, str], span: Body) -> Iterator[Request]:
    """A search for each layer of a Lens panel.

    Args:
        panel: as it stands on its dashboard.
        titles: index patterns by id of the data view.
        references: ids by name, of the dashboard.
        span: the clause that says of which time.
    """
    state = panel["embeddableConfig"]["attributes"]["state"]
    for name, layer in state["datasourceStates"]["formBased"]["layers"].items():
        columns, order = layer["columns"], tuple(layer["columnOrder"])
        view = references[f"{panel['panelIndex']}:indexpattern-datasource-layer-{name}"]
        body = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": [span, query(state["query"]["query"])]}}}
        yield Request(titles[view], body | _aggregations(columns, order), columns, order)


def _aggregations(columns: dict[str, Body], order: tuple[str, ...]) -> Body:
    buckets = [name for name in order if columns[name]["isBucketed"]]
    found: Body = {name: made for name in order if not columns[name]["isBucketed"] and (made := _metric(columns[name]))}
    inner: Body = {"aggs": found} if found else {}
    for name in reversed(buckets):
        inner = {"aggs": {name: _bucket(columns[name], columns, name) | _needed(columns[name], inner, columns)}}
    return inner


def _needed(column: Body, inner: Body, columns: dict[str, Body]) -> Body:
    """What a group holds: the groups inside it, and the metric that it is ordered by."""
    by = column["params"].get("orderBy", {}).get("columnId")
    made = _metric(columns[by]) if by else None
    return {"aggs": {**inner.get("aggs", {}), **({by: made} if made else {})}} if inner or made else {}


def _bucket(column: Body, columns: dict[str, Body], name: str) -> Body:
    if column["operationType"] == "date_histogram":
        return {"date_histogram": {"field": column["sourceField"], "fixed_interval": INTERVAL, "min_doc_count": 1}}
    assert column["operationType"] == "terms", name
    by = column["params"]["orderBy"]
    if by["type"] == "alphabetical":
        key = "_key"
    else:
        decides = columns[by["columnId"]]
        key = {"count": "_count", "median": f"{by['columnId']}.50", "percentile": f"{by['columnId']}.95"}.get(
            decides["operationType"], by["columnId"])
    return {"terms": {"field": column["sourceField"], "size": column["params"]["size"], "order": {key: column["params"]["orderDirection"]}}}


def _metric(column: Body) -> Body | None:
    field, kind = column["sourceField"], column["operationType"]
    match kind:
        case "count":
            return None
        case "sum" | "min" | "max":
            return {kind: {"field": field}}
        case "average":
            return {"avg": {"field": field}}
        case "unique_count":
            return {"cardinality": {"field": field}}
        case "median":
            return {"percentiles": {"field": field, "percents": [50]}}
        case "percentile":
            return {"percentiles": {"field": field, "percents": [column["params"]["percentile"]]}}
        case "last_value":
            return {"filter": query(column["filter"]["query"]), "aggs": {"last": {"top_hits": {
                "size": 1, "sort": [{column["params"]["sortField"]: "desc"}], "docvalue_fields": [field], "_source": False}}}}
    raise AssertionError(f"no such operation: {kind}")


def rows(request: Request, answer: Body) -> list[Body]:
    """The rows of the answer, by label."""
    assert not answer.get("timed_out")
    assert answer["_shards"]["failed"] == 0, json.dumps(answer["_shards"])
    whole = {"doc_count": answer["hits"]["total"]["value"], **answer.get("aggregations", {})}
    return list(_rows(whole, request, request.order))


def shown(panel: Body, found: list[Body], request: Request) -> list[Body]:
    """Rows as a table sorts them, without a value last; other charts keep the order of the answer."""
    sorting = panel["embeddableConfig"]["attributes"]["state"]["visualization"].get("sorting")
    if sorting is None:
        return found
    label = request.columns[sorting["columnId"]]["label"]
    return sorted(found, key=lambda row: (row[label] is None, -(row[label] or 0)))


def _rows(level: Body, request: Request, order: tuple[str, ...]) -> Iterator[Body]:
    name = order[0]
    column = request.columns[name]
    if column["isBucketed"]:
        for bucket in level.get(name, {}).get("buckets", []):
            for row in _rows(bucket, request, order[1:]):
                yield {column["label"]: bucket["key"], **row}
        return
    yield {request.columns[each]["label"]: _value(level, each, request.columns[each]) for each in order}


def _value(level: Body, name: str, column: Body) -> Any:
    match column["operationType"]:
        case "count":
            return level["doc_count"] or None
        case "median" | "percentile":
            return next(iter(level[name]["values"].values()))
        case "last_value":
            hits = level[name]["last"]["hits"]["hits"]
            return hits[0]["fields"][column["sourceField"]][0] if hits else None
        case "unique_count":
            return level[name]["value"] or None
    return level[name]["value"]
