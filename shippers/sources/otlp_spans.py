"""Turn spans of OpenTelemetry into records of kind span, their events into records of kind log."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from shippers.sources.documents import TimeText, place_fields
from shippers.sources.otlp_values import resource_fields, split, texts, with_labels
from shippers.sources.otlp_wire import Attributes

_LONGEST_NS = 1_000_000_000 * 1_000_000_000
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_STATUS = {0: "unset", 1: "ok", 2: "error"}
_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}

#: Kind of record, its identity, the record.
Made = tuple[str, str | None, dict[str, Any]]


def span_records(request: Any, host: str, attributes: Attributes) -> tuple[list[Made], int, str]:
    """The records of a `SpansRequest`, how many spans were rejected, and why the last one was.

    Raises: DecodeError where something in it is not what it should be.
    """
    made: list[Made] = []
    rejected, why = 0, ""
    utc = TimeText()
    for group in request.resource_spans:
        resource = Resource.FromString(group.resource)
        base = resource_fields("span", resource, host)
        shared = base.pop("labels", {})
        # spans of one kind share the object, which is looked through for secrets once
        labels = {number: {**shared, "span.kind": name} for number, name in _KINDS.items()} | {0: shared}
        log_base = resource_fields("log", resource, host)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                trace, identity = span.trace_id.hex(), span.span_id.hex()
                start_ns = span.start_time_unix_nano
                if reason := _refused(trace, identity, start_ns):
                    rejected, why = rejected + 1, reason
                    continue
                record = {"@timestamp": utc(start_ns), **base, "trace.id": trace, "span.id": identity, "name": span.name}
                _complete(record, span, start_ns, labels.get(span.kind, shared), attributes)
                made.append(("span", f"{trace}-{identity}", record))
                if events := span.events:
                    made += _events(events, trace, identity, start_ns, log_base, utc)
    return made, rejected, why


def _refused(trace: str, identity: str, start_ns: int) -> str:
    if len(trace) != 32 or trace == _NO_TRACE or len(identity) != 16 or identity == _NO_SPAN:
        return "a span without a valid trace_id of 16 bytes and span_id of 8"
    if not 0 < start_ns < 1 << 62:
        return "a span without a start time"
    return ""


def _complete(record: dict[str, Any], span: Any, start_ns: int, labels: dict[str, str], attributes: Attributes) -> None:
    if parent := span.parent_span_id:
        record["parent.id"] = parent.hex()
    # an end before the start, or none, is no duration of 0: it is not known
    if 0 <= (duration_ns := span.end_time_unix_nano - start_ns) < _LONGEST_NS:
        record["duration_s"] = duration_ns / 1e9
    if found := attributes.texts(span.attributes):
        if "run.id" in found:
            record["run.id"] = found.pop("run.id")
        record["attributes"] = found
    record["status"] = "unset"
    if raw := span.status:
        status = Status.FromString(raw)
        record["status"] = _STATUS.get(status.code, "unset")
        if status.message:
            labels = {**labels, "status.message": status.message}
    if labels:
        record["labels"] = labels


def _events(raw: Iterable[bytes], trace: str, identity: str, start_ns: int, base: dict[str, Any], utc: TimeText) -> list[Made]:
    made: list[Made] = []
    for number, each in enumerate(raw):
        event = Span.Event.FromString(each)
        found, left = split(texts(event.attributes))
        message = left.pop("exception.message", "") or event.name
        record = {"@timestamp": utc(event.time_unix_nano or start_ns), **base, **place_fields("log", found),
                  "message": message}
        if event.name == "exception":
            record["log.level"] = "error"
        with_labels(record, {**left, "event.name": event.name, "trace.id": trace, "span.id": identity})
        made.append(("log", f"{trace}-{identity}-{number}", record))
    return made
