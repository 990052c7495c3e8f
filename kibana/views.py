"""Data views, saved searches and the tag, made of the table of fields."""

import json
from typing import Any

from kibana.model import View
from pinchpoint import fields
from pinchpoint.metrics import METRICS
from pinchpoint.store.es import links, mappings, names

CORE_VERSION, VERSION = "8.8.0", "8.0.0"
#: Colours by category, the same wherever pinchpoint draws.
COLOURS = dict(zip(fields.CATEGORIES, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))
TAG = "pinchpoint-tag"

_PLURALS = {"evidence": "evidence"}
VIEWS: dict[str, View] = {
    kind: View(f"pinchpoint-{_PLURALS.get(kind, kind + 's')}", f"{names.STREAMS.get(kind) or names.INDICES[kind]}-*",
               f"pinchpoint {_PLURALS.get(kind, kind + 's')}", kind)
    for kind in fields.KINDS
}
VIEWS["metric"] = View("pinchpoint-metrics", f"{names.STREAMS['metric']}-*,{names.LATE_METRICS}-*", "pinchpoint metrics", "metric")
VIEWS |= {index: View(f"{index}s", f"{index}-*", index.replace("-", " ") + "s", index) for index in (names.LABELS, names.WATERMARKS)}

#: Saved searches: what is shown of which kind, and which of it.
SEARCHES: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "pinchpoint-raw-logs": ("Log lines", "log", ("log.level", "host.name", "run.id", "rank", "message"), ""),
    "pinchpoint-changes": ("Changes", "event", ("event.action", "event.reason", "run.id", "host.name"),
                           "event.action: (deploy or config or push or restart or preempt or scale or data_quality)"),
    "pinchpoint-said": ("What changed and what the logs say", "evidence", ("event.action", "host.name", "message"),
                        "series: (log_line or event)"),
    "pinchpoint-errors": ("Errors of GPUs and hosts", "event", ("event.action", "event.reason", "host.name", "rank"),
                          "event.action: (gpu_error or oom)"),
}


def types(view: View) -> dict[str, str]:
    """The type of each field of a view, as Elasticsearch indexes it."""
    whole = mappings.of_kind(view.kind) if view.kind in fields.KINDS else mappings.of_kept(view.kind)
    found: dict[str, str] = {}
    for name, about in whole["properties"].items():
        if about["type"] == "object":
            found |= {f"{name}.{below}": one["type"] for below, one in about.get("properties", {}).items()}
        else:
            found[name] = about["type"]
    return found


def objects() -> list[dict[str, Any]]:
    """The tag, all data views and all saved searches."""
    return [tag(), *(data_view(view) for view in VIEWS.values()), *(search(name) for name in SEARCHES)]


def saved(kind: str, name: str, attributes: dict[str, Any], references: list[dict[str, str]], version: str = VERSION) -> dict[str, Any]:
    """A saved object as it is imported."""
    return {"type": kind, "id": name, "attributes": attributes, "references": references, "managed": False,
            "coreMigrationVersion": CORE_VERSION, "typeMigrationVersion": version}


def text(value: Any) -> str:
    """What Kibana keeps as a string of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tag() -> dict[str, Any]:
    """The tag that all dashboards carry."""
    return saved("tag", TAG, {"name": "pinchpoint", "description": "Why AI workloads are slow", "color": COLOURS["data"]}, [])


def data_view(view: View) -> dict[str, Any]:
    """A data view with what its fields mean and in which units they are shown."""
    known = types(view)
    formats = {name: found for name in known if (found := _format(name))}
    about = {name: {"customDescription": said} for name in known if (said := _meaning(name))}
    return saved("index-pattern", view.id, {
        "title": view.title, "name": view.name, "timeFieldName": "@timestamp", "allowNoIndex": True, "sourceFilters": "[]", "fields": "[]",
        "fieldAttrs": text(about), "runtimeFieldMap": "{}", "typeMeta": "{}", "fieldFormatMap": text(formats)}, [])


def search(name: str) -> dict[str, Any]:
    """A saved search; its columns must be fields of its view."""
    title, kind, columns, query = SEARCHES[name]
    known = types(VIEWS[kind])
    for column in columns:
        known[column]  # a name that is no field ends the build
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": reference}
    return saved("search", name, {
        "title": f"[pinchpoint] {title}", "description": "", "columns": list(columns), "sort": [["@timestamp", "desc"]], "grid": {},
        "hideChart": False, "isTextBasedQuery": False, "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)}},
        [{"type": "index-pattern", "id": VIEWS[kind].id, "name": reference}])


def _unit(name: str) -> str | None:
    below = name.partition(".")[2]
    if name.startswith(("metrics.", "features.")) and below in METRICS:
        metric = METRICS[below]
        # a counter as a feature is what it rises by in a second
        return f"{metric.unit}/s" if name.startswith("features.") and metric.kind == "counter" else metric.unit
    return fields.FIELDS[name].unit if name in fields.FIELDS else None


def _meaning(name: str) -> str | None:
    below = name.partition(".")[2]
    if name.startswith(("metrics.", "features.")):
        if below in METRICS:
            return f"{METRICS[below].meaning} ({_unit(name)})"
        return next((of[below] for of in fields.FEATURES.values() if below in of), None)
    return fields.FIELDS[name].meaning if name in fields.FIELDS else None


def _format(name: str) -> dict[str, Any] | None:
    if name.startswith("incident.links."):
        label = {"logs": "Log lines", "events": "Changes and errors"}[name.rpartition(".")[2]]
        return {"id": "url", "params": {"type": "a", "urlTemplate": "../app/{{rawValue}}", "labelTemplate": label,
                                        "openLinkInCurrentTab": True}}
    if name == "lost_seconds":
        return {"id": "duration", "params": {"inputFormat": "seconds", "outputFormat": "humanizePrecise", "outputPrecision": 1,
                                             "includeSpaceWithSuffix": True, "useShortSuffix": True}}
    return {"ratio": {"id": "percent", "params": {"pattern": "0,0.[0]%"}}, "bytes": {"id": "bytes", "params": {"pattern": "0,0.[0]b"}},
            "bytes/s": {"id": "bytes", "params": {"pattern": "0,0.[0]b"}}}.get(_unit(name) or "")


def check_links() -> None:
    """The links that documents carry lead to views that there are. Raises: ValueError."""
    for kind, name in links.VIEWS.items():
        if VIEWS[kind].id != name:
            raise ValueError(f"pinchpoint/store/es/links.py leads to {name}, the data view of {kind} is {VIEWS[kind].id}")
