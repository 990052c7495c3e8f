"""How Elasticsearch indexes the fields of each kind of document, made from the one table of fields."""

from typing import Any

from pinchpoint import __version__, fields
from pinchpoint.metrics import METRICS, Metric
from pinchpoint.store.es import names

Mapping = dict[str, Any]

#: The longest text that is indexed, in UTF-16 units: 8191 of them are 24,573 bytes at most, and Lucene takes 32,766.
#: A longer text stays in the document and can be read, only not searched for.
MOST_INDEXED = 8191

_KEYWORD: Mapping = {"type": "keyword", "ignore_above": MOST_INDEXED}
_TIME: Mapping = {"type": "date_nanos"}
_LONG: Mapping = {"type": "long"}

#: By the type of a field in `fields.FIELDS`, but for the maps of numbers.
_BY_TYPE: dict[str, Mapping] = {
    "time": _TIME,
    "text": _KEYWORD,
    "integer": _LONG,
    "number": {"type": "double"},
    # keys are anybody's: as fields of their own they would fill the mapping
    "texts": {"type": "flattened", "ignore_above": MOST_INDEXED},
    "slow_steps": {"type": "object", "enabled": False},
    "document": {"type": "keyword", "index": False, "doc_values": False},
}
#: Words are looked for in lines, and no table sorts by them.
_BY_NAME: dict[str, Mapping] = {"message": {"type": "match_only_text"}}

#: What tells two readings apart in time-series mode, where the server makes the `_id` of a document of its dimensions and its time.
#: `run.id`, `rank` and `process.pid` are among them although they make more series: ranks of two runs on one host are read in the same
#: nanosecond sooner or later, and of two documents with one id the server drops one. Series cost compression, never memory.
DIMENSIONS = ("entity.kind", "entity.id", "host.name", "run.id", "rank", "process.pid", "pinchpoint.metric_names")

#: A dashboard that asks for a feature finds it before the first document has it.
_FEATURES: dict[str, Mapping] = dict.fromkeys((*(name for of in fields.FEATURES.values() for name in of), *METRICS), _BY_TYPE["number"])

#: Our bookkeeping in records of every kind, and of some.
_OF_RECORDS: dict[str, Mapping] = {"pinchpoint.segment": _KEYWORD, "pinchpoint.nonfinite": _KEYWORD, "pinchpoint.time_ns": _LONG}
_OF_DERIVED: dict[str, Mapping] = {"pinchpoint.writing": _KEYWORD}
_OF_KIND: dict[str, dict[str, Mapping]] = {
    "metric": {"pinchpoint.metric_names": _KEYWORD},
    "incident": {"incident.end": _TIME, "pinchpoint.causes": _KEYWORD, "pinchpoint.categories": _KEYWORD, "pinchpoint.hosts": _KEYWORD,
                 "pinchpoint.rejected": _KEYWORD, "pinchpoint.missing": _KEYWORD},
}
#: What a store keeps besides records, by the name of its index.
_KEPT: dict[str, dict[str, Mapping]] = {
    names.LABELS: {"@timestamp": _TIME, "incident.id": _KEYWORD, "label": _KEYWORD, "note": _KEYWORD},
    names.WATERMARKS: {"@timestamp": _TIME, "job": _KEYWORD, "time_ns": _LONG},
    names.SEGMENTS: {"@timestamp": _TIME, "kind": _KEYWORD, "segment": _KEYWORD},
}


def of_kind(kind: str) -> Mapping:
    """The mapping of records of a kind.

    >>> of_kind("event")["properties"]["step"]
    {'type': 'long'}
    """
    properties = {name: _property(name) for name in fields.KINDS[kind]}
    properties |= _OF_RECORDS | (_OF_DERIVED if kind in fields.DERIVED else {}) | _OF_KIND.get(kind, {})
    if kind == "metric":
        properties |= {name: {**properties[name], "time_series_dimension": True} for name in DIMENSIONS}
    numbers = [name for name in fields.KINDS[kind] if fields.FIELDS[name].type == "numbers"]
    return _whole(properties, [{name: {"path_match": f"{name}.*", "mapping": {"type": "double"}}} for name in numbers])


def of_kept(index: str) -> Mapping:
    """The mapping of labels, watermarks or segments."""
    return _whole(_KEPT[index], [])


def _property(name: str) -> Mapping:
    field = fields.FIELDS[name]
    if field.type == "numbers":
        # dots in the names of readings are part of the names; without a mapping of its own a name can be neither charted nor averaged
        known = {metric.name: _metric(metric) for metric in METRICS.values()} if name == "metrics" else _FEATURES
        return {"type": "object", "subobjects": False, "dynamic": True, "properties": known}
    return _BY_NAME.get(name) or _BY_TYPE[field.type]


def _metric(metric: Metric) -> Mapping:
    return {"type": "double", "time_series_metric": metric.kind, "meta": {"unit": metric.unit}}


def _whole(properties: dict[str, Mapping], dynamic_templates: list[Mapping]) -> Mapping:
    # dynamic: what we did not name is kept and not indexed, so nobody's documents can fill the mapping
    about = {"dynamic": False, "date_detection": False, "_meta": {"pinchpoint": {"version": __version__, "managed": True}}}
    return about | ({"dynamic_templates": dynamic_templates} if dynamic_templates else {}) | {"properties": properties}
