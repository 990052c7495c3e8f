"""Turn log records of OpenTelemetry into records of kind log."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shippers.sources.documents import TimeText, place_fields
from shippers.sources.otlp_spans import Made
from shippers.sources.otlp_values import resource_fields, split, text_of, texts, with_labels

_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
_NAMED = {"warn": "warning", "fatal": "critical"}


def log_records(request: ExportLogsServiceRequest, host: str, now_ns: int) -> tuple[list[Made], int, str]:
    """The records of a request; none is ever rejected. One without any time gets the time it came."""
    made: list[Made] = []
    utc = TimeText()
    for group in request.resource_logs:
        base = resource_fields("log", group.resource, host)
        for scoped in group.scope_logs:
            for log in scoped.log_records:
                time_ns = log.time_unix_nano or log.observed_time_unix_nano
                found, left = split(texts(log.attributes))
                record = {"@timestamp": utc(time_ns if 0 < time_ns < 1 << 62 else now_ns), **base,
                          "message": log.body.string_value or text_of(log.body) or log.event_name}
                if level := _level(log):
                    record["log.level"] = level
                for name in [name for name in ("log.file.path",) if name in left]:
                    record[name] = left.pop(name)
                placed = place_fields("log", found)
                left.update(placed.pop("labels", {}))
                record.update(placed)
                with_labels(record, left | _context(log))
                made.append(("log", None, record))
    return made, 0, ""


def _context(log: LogRecord) -> dict[str, str]:
    given = {"event.name": log.event_name, "trace.id": log.trace_id.hex(), "span.id": log.span_id.hex()}
    return {name: value for name, value in given.items() if value}


def _level(log: LogRecord) -> str:
    """The level in our words: by number where there is one, since texts are free."""
    number = log.severity_number
    if 1 <= number <= 24:
        return _LEVELS[(number - 1) // 4]
    text = log.severity_text.lower()
    return _NAMED.get(text, text)
