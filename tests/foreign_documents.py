"""Documents as other shippers write them, small ones, and the mappings that their templates bring."""

import uuid
from collections.abc import Iterable
from typing import Any

from pinchpoint.clock import NS
from pinchpoint.store.es.documents import time_texts
from pinchpoint.store.es.door import Door

START = 1_767_225_600 * NS

_KEYWORDS = [{"texts": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1024}}}]
_TIME = {"@timestamp": {"type": "date"}}
#: Elastic Agent and Beats: texts are keywords, save the line itself.
BEATS = {"dynamic_templates": _KEYWORDS, "date_detection": False, "properties": {
    **_TIME, "message": {"type": "match_only_text"}, "log": {"properties": {"offset": {"type": "long"}}}}}
#: The Collector's own form: attributes can be found under their bare names too.
OTEL = {"dynamic_templates": _KEYWORDS, "date_detection": False, "properties": {
    "@timestamp": {"type": "date_nanos"}, "body": {"properties": {"text": {"type": "match_only_text"}}},
    "attributes": {"type": "passthrough", "dynamic": True, "priority": 20, "time_series_dimension": True},
    "resource": {"properties": {"attributes": {"type": "passthrough", "dynamic": True, "priority": 10, "time_series_dimension": True}}},
    "metrics": {"type": "passthrough", "dynamic": True, "priority": 5}}}
TIME_SERIES = {"index.mode": "time_series", "index.routing_path": ["attributes.*", "resource.attributes.*"],
               "index.time_series.start_time": "2025-12-31T00:00:00Z", "index.time_series.end_time": "2026-01-03T00:00:00Z"}


def at(seconds: float) -> str:
    """A time of the test as text."""
    return time_texts([START + round(seconds * NS)])[0]


class Cluster:
    """What a team has in its cluster already, under names that no other test has."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.name = uuid.uuid4().hex[:12]

    def stream(self, start: str, mappings: dict[str, Any], settings: dict[str, Any] | None = None) -> str:
        """A data stream `<start>-<name>`, made with its template."""
        name = f"{start}-{self.name}"
        self.door.call("PUT", f"/_index_template/test-{name}", {
            "index_patterns": [name], "data_stream": {}, "priority": 500,
            "template": {"settings": {"index.number_of_shards": 1, **(settings or {})}, "mappings": mappings}})
        return name

    def index(self, start: str, mappings: dict[str, Any] | None = None) -> str:
        """A plain index `<start>-<name>`; without mappings as Elasticsearch guesses them."""
        name = f"{start}-{self.name}"
        self.door.call("PUT", f"/{name}", {"settings": {"index.number_of_shards": 1}, "mappings": mappings or {}})
        return name

    def put(self, target: str, documents: Iterable[dict[str, Any]]) -> None:
        """Write documents; a refused one fails the test."""
        import msgspec

        lines = [line for document in documents for line in ({"create": {}}, document)]
        answer = self.door.call("POST", f"/{target}/_bulk", b"".join(msgspec.json.encode(line) + b"\n" for line in lines), refresh="true")
        assert not answer["errors"], [item for item in answer["items"] if "error" in item["create"]][:3]


def metricbeat(seconds: float, dataset: str, host: str = "node-1", **values: Any) -> dict[str, Any]:
    """An event of Metricbeat; `values` are its own fields."""
    module, _, metricset = dataset.partition(".")
    return {"@timestamp": at(seconds), "agent": {"type": "metricbeat", "version": "9.2.0"}, "ecs": {"version": "8.0.0"},
            "event": {"dataset": dataset, "module": module, "duration": 115_000}, "host": {"name": host, "ip": ["10.0.0.1", "fe80::1"]},
            "metricset": {"name": metricset, "period": 10_000}, "service": {"type": module}, **values}


def filebeat(seconds: float, message: str, host: str = "node-1", **values: Any) -> dict[str, Any]:
    """An event of Filebeat."""
    return {"@timestamp": at(seconds), "agent": {"type": "filebeat", "version": "9.2.0"}, "ecs": {"version": "8.0.0"},
            "host": {"name": host}, "input": {"type": "filestream"}, "message": message, **values}


def otel(seconds: float, signal: str, attributes: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A document of the Collector's exporter in its own form."""
    return {"@timestamp": at(seconds), "data_stream": {"type": signal, "dataset": "test.otel", "namespace": "default"},
            "attributes": attributes, "resource": {"attributes": {"host.name": "node-1", "service.name": "trainer"}},
            "scope": {"name": "test"}, **values}
