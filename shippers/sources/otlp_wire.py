"""Read spans with their attributes left as bytes, since most of them were read before.

Making a Python object of each attribute is half of what a span costs, and attributes repeat: the method, the route, the host. Here
the request has the same bytes under a schema of our own, in which an attribute is a byte string; what it holds is looked up by that.
"""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from shippers.sources.otlp_values import text_of
from shippers.wire_types import Fields, message_type

#: What is read of opentelemetry/proto/trace/v1/trace.proto.
_SCHEMA: dict[str, Fields] = {
    "Span": (("trace_id", 1, "bytes"), ("span_id", 2, "bytes"), ("parent_span_id", 4, "bytes"), ("name", 5, "string"), ("kind", 6, "int32"),
             ("start_time_unix_nano", 7, "fixed64"), ("end_time_unix_nano", 8, "fixed64"), ("attributes", 9, "*bytes"),
             ("events", 11, "*bytes"), ("status", 15, "bytes")),
    "ScopeSpans": (("spans", 2, "*Span"),),
    "ResourceSpans": (("resource", 1, "bytes"), ("scope_spans", 2, "*ScopeSpans")),
    "ExportTraceServiceRequest": (("resource_spans", 1, "*ResourceSpans"),),
}
_MOST_PAIRS = 8192
_MOST_PAIR_BYTES = 512


SpansRequest: Any = message_type(_SCHEMA, "ExportTraceServiceRequest")
"""An ExportTraceServiceRequest whose attributes, events, status and resource are bytes."""


class _Pairs(dict[bytes, tuple[str, str]]):
    def __missing__(self, raw: bytes) -> tuple[str, str]:
        pair = KeyValue.FromString(raw)
        value = pair.value
        found = (pair.key, value.string_value or (str(number) if (number := value.int_value) else text_of(value)))
        if len(raw) <= _MOST_PAIR_BYTES:
            if len(self) >= _MOST_PAIRS:
                self.clear()
            self[raw] = found
        return found


class Attributes:
    """Reads attributes and remembers them; bounded in number and size."""

    def __init__(self) -> None:
        self._read = _Pairs().__getitem__

    def texts(self, raw: Iterable[bytes]) -> dict[str, str]:
        """Attributes as texts.

        Raises: DecodeError for bytes that are no attribute.
        """
        found = dict(map(self._read, raw))
        found.pop("", None)  # an empty key cannot be a field name of Elasticsearch
        return found
