"""What Grafana's data source of Elasticsearch makes of a query of a panel, as its code and documentation say."""

from typing import Any

Body = dict[str, Any]

INTERVAL = "60s"


def interpolated(query: str, variables: dict[str, str]) -> str:
    """A query with the variables that stand in it, as text already in Lucene's language."""
    for name, value in variables.items():
        query = query.replace(f"${{{name}:lucene}}", value)
    assert "$" not in query
    return query


def body(target: Body, query: str, start_ms: int, end_ms: int) -> Body:
    """The body of a search."""
    about: Body = {"query": {"bool": {"filter": [
        {"range": {"@timestamp": {"gte": start_ms, "lte": end_ms, "format": "epoch_millis"}}},
        {"query_string": {"analyze_wildcard": True, "query": query}}]}}}
    [*metrics] = target["metrics"]
    if metrics[0]["type"] == "raw_data":
        return about | {"size": int(metrics[0]["settings"]["size"]), "fields": ["*"],
                        "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "boolean"}}, {"_doc": {"order": "desc"}}]}
    inner: Body = {one["id"]: {one["type"]: {"field": one["field"], **one.get("settings", {})}}
                   for one in metrics if one["type"] != "count"}
    for group in reversed(target["bucketAggs"]):
        settings = group["settings"]
        if group["type"] == "date_histogram":
            interval = INTERVAL if settings["interval"] == "auto" else settings["interval"]
            made: Body = {"date_histogram": {"field": group["field"], "fixed_interval": interval,
                                             "min_doc_count": int(settings["min_doc_count"]), "format": "epoch_millis"}}
        else:
            made = {"terms": {"field": group["field"], "size": int(settings["size"]), "min_doc_count": int(settings["min_doc_count"]),
                              "order": {settings["orderBy"]: settings["order"]}}}
            ordered = next((one for one in metrics if one["id"] == settings["orderBy"]), None)
            if ordered and ordered["id"] not in inner:  # it is nested, and the order needs it beside
                inner = {ordered["id"]: {ordered["type"]: {"field": ordered["field"]}}, **inner}
        inner = {group["id"]: made | ({"aggs": inner} if inner else {})}
    return about | {"size": 0, "aggs": inner}


def values(answer: Body, target: Body) -> list[Any]:
    """Every number of an answer, or every document."""
    if target["metrics"][0]["type"] == "raw_data":
        return list(answer["hits"]["hits"])
    return [value for value in _values(answer["aggregations"], target, 0) if value is not None]


def _values(level: Body, target: Body, depth: int) -> list[Any]:
    if depth == len(target["bucketAggs"]):
        return [level["doc_count"] or None if one["type"] == "count" else
                next(iter(level[one["id"]]["values"].values())) if one["type"] == "percentiles" else level[one["id"]]["value"]
                for one in target["metrics"]]
    found = []
    for bucket in level[target["bucketAggs"][depth]["id"]]["buckets"]:
        found += _values(bucket, target, depth + 1)
    return found
