"""Files of OpenTelemetry: a request of logs, metrics or spans as JSON on each line, as the collector's file exporter writes them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pinchpoint import records
from pinchpoint.rows import Row, parse_row, to_batch
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import read_lines

#: Collectors write thousands of spans in a line.
_MOST_LINE_BYTES = 16 << 20
_BEGINS = re.compile(rb'\s{0,8}\{\s{0,8}"resource(Logs|Metrics|Spans)"\s{0,8}:\s{0,8}\[')

#: The records of one line, how many of its items were rejected, and why.
Turned = tuple[list[tuple[str, str | None, dict[str, Any]]], int, str]


def recognises(head: bytes) -> bool:
    """Whether its first line begins like such a request."""
    return _BEGINS.match(head) is not None


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Log, metric and span records as `pinchpoint ship` makes them of the same requests; what has no time is of when the file was written.

    Raises: InputError when nothing can be read.
    """
    turn, count = _turning(path.stat().st_mtime_ns), 0
    waiting: dict[str, list[Row]] = {}
    for line, whole in read_lines(path, reading.notes, most_bytes=_MOST_LINE_BYTES):
        if not line.strip():
            continue
        found = _BEGINS.match(line) if len(line) <= _MOST_LINE_BYTES else None
        try:
            made, rejected, why = turn[found[1]](line) if found is not None else ([], 1, "no request of OpenTelemetry, or too long")
        except ValueError as error:
            if not whole:
                reading.notes.append("the last line is incomplete: it was being written when the file was taken")
                continue
            made, rejected, why = [], 1, f"no request of OpenTelemetry: {error}"
        for _ in range(rejected):
            reading.reject(line, why)
        for kind, _, record in made:
            count += 1
            row = _row(kind, record, records.content_id("otlp", path.name, count), reading)
            if row is not None:
                waiting.setdefault(kind, []).append(row)
        for kind, rows in waiting.items():
            if len(rows) >= MOST_ROWS:
                yield kind, to_batch(kind, rows)
                rows.clear()
    for kind, rows in waiting.items():
        if rows:
            yield kind, to_batch(kind, rows)


def _row(kind: str, record: dict[str, Any], identity: str, reading: Reading) -> Row | None:
    """A record as a row; one that names no host has none."""
    line = msgspec.json.encode({**{name: value for name, value in record.items() if value != ""}, "kind": kind, "event.id": identity})
    try:
        return parse_row(line)
    except ValueError as error:
        reading.reject(line, str(error))
        return None


def _turning(otherwise_ns: int) -> dict[bytes, Callable[[bytes], Turned]]:
    """How a line of each sort is read; all errors are ValueErrors."""
    # protobuf and its descriptors take long to load, and no other input needs them
    from google.protobuf.message import DecodeError, EncodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from shippers.sources.otlp_json import decode_json
    from shippers.sources.otlp_logs import log_records
    from shippers.sources.otlp_metrics import metric_records
    from shippers.sources.otlp_spans import span_records
    from shippers.sources.otlp_wire import Attributes, SpansRequest

    attributes = Attributes()

    def spans(line: bytes) -> Turned:
        try:
            request = SpansRequest.FromString(decode_json(line, ExportTraceServiceRequest()).SerializeToString())
            return span_records(request, "", attributes)
        except (DecodeError, EncodeError) as error:
            raise ValueError(str(error)) from error

    return {b"Logs": lambda line: log_records(decode_json(line, ExportLogsServiceRequest()), "", otherwise_ns),
            b"Metrics": lambda line: metric_records(decode_json(line, ExportMetricsServiceRequest()), "", otherwise_ns),
            b"Spans": spans}


FORMAT = Format("otlp_json", recognises, read)
