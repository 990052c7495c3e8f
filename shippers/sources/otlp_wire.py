"""Read spans with their attributes left as bytes, since most of them were read before.

Making a Python object of each attribute is half of what a span costs, and attributes repeat: the method, the route, the host. Here
the request has the same bytes under a schema of our own, in which an attribute is a byte string; what it holds is looked up by that.
"""

from collections.abc import Iterable
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from shippers.sources.otlp_values import text_of

_BYTES, _STRING, _FIXED64 = (descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name}") for name in ("BYTES", "STRING", "FIXED64"))
_INT32, _MESSAGE = (descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name}") for name in ("INT32", "MESSAGE"))
_ONE, _MANY = (descriptor_pb2.FieldDescriptorProto.Label.Value(f"LABEL_{name}") for name in ("OPTIONAL", "REPEATED"))

#: Name, number and type of fields in opentelemetry/proto/trace/v1/trace.proto; what is not read stays out.
_SCHEMA: dict[str, tuple[tuple[str, int, int, int, str], ...]] = {
    "Span": (("trace_id", 1, _ONE, _BYTES, ""), ("span_id", 2, _ONE, _BYTES, ""), ("parent_span_id", 4, _ONE, _BYTES, ""),
             ("name", 5, _ONE, _STRING, ""), ("kind", 6, _ONE, _INT32, ""), ("start_time_unix_nano", 7, _ONE, _FIXED64, ""),
             ("end_time_unix_nano", 8, _ONE, _FIXED64, ""), ("attributes", 9, _MANY, _BYTES, ""), ("events", 11, _MANY, _BYTES, ""),
             ("status", 15, _ONE, _BYTES, "")),
    "ScopeSpans": (("spans", 2, _MANY, _MESSAGE, "Span"),),
    "ResourceSpans": (("resource", 1, _ONE, _BYTES, ""), ("scope_spans", 2, _MANY, _MESSAGE, "ScopeSpans")),
    "ExportTraceServiceRequest": (("resource_spans", 1, _MANY, _MESSAGE, "ResourceSpans"),),
}
_MOST_PAIRS = 8192
_MOST_PAIR_BYTES = 512


def _request_type() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="spans.proto", package="pinchpoint", syntax="proto3")
    for message, fields in _SCHEMA.items():
        made = file.message_type.add(name=message)
        for name, number, label, kind, below in fields:
            field = made.field.add(name=name, number=number, label=cast("Any", label), type=cast("Any", kind))
            if below:
                field.type_name = f".pinchpoint.{below}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pinchpoint.ExportTraceServiceRequest"))


SpansRequest: Any = _request_type()
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
