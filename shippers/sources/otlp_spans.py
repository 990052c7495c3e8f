"""Turn spans of OpenTelemetry into records of kind span, their events into records of kind log."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shippers.sources.documents import TimeText, place_fields
from shippers.sources.otlp_values import resource_fields, split, texts, with_labels

_LONGEST_NS = 1_000_000_000 * 1_000_000_000
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_STATUS = {0: "unset", 1: "ok", 2: "error"}
_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}

#: Kind of record, its identity, the record.
Made = tuple[str, str | None, dict[str, Any]]


def span_records(request: ExportTraceServiceRequest, host: str) -> tuple[list[Made], int, str]:
    """The records of a request, how many spans were rejected, and why the last one was."""
    made: list[Made] = []
    rejected, why = 0, ""
    utc = TimeText()
    for group in request.resource_spans:
        base = resource_fields("span", group.resource, host)
        shared = base.pop("labels", {})
        # spans of one kind share the object, which is looked through for secrets once
        labels = {number: {**shared, "span.kind": name} for number, name in _KINDS.items()} | {0: shared}
        log_base = resource_fields("log", group.resource, host)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                trace, identity = span.trace_id.hex(), span.span_id.hex()
                if reason := _refused(span, trace, identity):
                    rejected, why = rejected + 1, reason
                    continue
                made.append(("span", f"{trace}-{identity}", _record(span, trace, identity, base, labels.get(span.kind, shared), utc)))
                if span.events:
                    made += _events(span, trace, identity, log_base, utc)
    return made, rejected, why


def _refused(span: Span, trace: str, identity: str) -> str:
    if len(trace) != 32 or trace == _NO_TRACE or len(identity) != 16 or identity == _NO_SPAN:
        return "a span without a valid trace_id of 16 bytes and span_id of 8"
    if not 0 < span.start_time_unix_nano < 1 << 62:
        return "a span without a start time"
    return ""


def _record(span: Span, trace: str, identity: str, base: dict[str, Any], labels: dict[str, str], utc: TimeText) -> dict[str, Any]:
    start_ns, status = span.start_time_unix_nano, span.status
    record = {"@timestamp": utc(start_ns), **base, "trace.id": trace, "span.id": identity, "name": span.name,
              "status": _STATUS.get(status.code, "unset")}
    if parent := span.parent_span_id:
        record["parent.id"] = parent.hex()
    # an end before the start, or none, is no duration of 0: it is not known
    if 0 <= (duration_ns := span.end_time_unix_nano - start_ns) < _LONGEST_NS:
        record["duration_s"] = duration_ns / 1e9
    attributes = texts(span.attributes)
    if "run.id" in attributes:
        record["run.id"] = attributes.pop("run.id")
    if attributes:
        record["attributes"] = attributes
    if status.message:
        labels = {**labels, "status.message": status.message}
    if labels:
        record["labels"] = labels
    return record


def _events(span: Span, trace: str, identity: str, base: dict[str, Any], utc: TimeText) -> list[Made]:
    made: list[Made] = []
    for number, event in enumerate(span.events):
        found, left = split(texts(event.attributes))
        message = left.pop("exception.message", "") or event.name
        record = {"@timestamp": utc(event.time_unix_nano or span.start_time_unix_nano), **base, **place_fields("log", found),
                  "message": message}
        if event.name == "exception":
            record["log.level"] = "error"
        with_labels(record, {**left, "event.name": event.name, "trace.id": trace, "span.id": identity})
        made.append(("log", f"{trace}-{identity}-{number}", record))
    return made
