"""The OTLP receiver, against the exporters of the OpenTelemetry SDK and against hand-made requests."""

import contextlib
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import Compression, OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from source_spool import Spool

from pinchpoint.clock import NS, SYSTEM_CLOCK
from shippers.http_bodies import Limits
from shippers.redact import Redactor
from shippers.sources.otlp import OtlpReceiver

TIME_NS = 1_790_000_000 * NS
RESOURCE = Resource({"service.name": "trainer", "host.name": "node-7", "run.id": "run-1", "rank": 3, "k8s.pod.name": "train-3"})


@contextlib.contextmanager
def receiving(token: bytes | None = None, limits: Limits | None = None) -> Iterator[tuple[OtlpReceiver, Spool]]:
    spool = Spool()
    receiver = OtlpReceiver("127.0.0.1:0", push=spool.push, is_full=lambda: spool.full, redact=Redactor(), host="h", clock=SYSTEM_CLOCK,
                            token=token, limits=limits)
    try:
        yield receiver, spool
    finally:
        receiver.close()


def url(receiver: OtlpReceiver, signal: str) -> str:
    return f"http://127.0.0.1:{receiver.port}/v1/{signal}"


def send(receiver: OtlpReceiver, signal: str, body: bytes, content_type: str = "application/x-protobuf",
         **headers: str) -> urllib3.BaseHTTPResponse:
    given = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return urllib3.request("POST", url(receiver, signal), body=body, headers=given, retries=False)


def spans(count: int = 1, **fields: Any) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(count):
        given = {"trace_id": b"t" * 16, "span_id": number.to_bytes(7, "big") + b"s", "name": "step", "start_time_unix_nano": TIME_NS,
                 "end_time_unix_nano": TIME_NS + NS // 2, **fields}
        scope.spans.add(**given)
    return request


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_of_the_sdk_become_records(compression: Compression) -> None:
    """Identity, parent, times, status, attributes and resource of a span are in the fields of the table."""
    with receiving(b"secret") as (receiver, spool):
        provider = TracerProvider(resource=RESOURCE)
        exporter = OTLPSpanExporter(url(receiver, "traces"), headers={"Authorization": "Bearer secret"}, compression=compression)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("step", start_time=TIME_NS, end_on_exit=False) as parent:
            child = tracer.start_span("load", kind=SpanKind.CLIENT, start_time=TIME_NS + 1,
                                      attributes={"batch": 4, "ratio": 0.5, "cold": True, "shape": [2, 3]})
            child.record_exception(ValueError("bad batch"), timestamp=TIME_NS + 2)
            child.set_status(Status(StatusCode.ERROR, "bad batch"))
            child.end(TIME_NS + NS // 4)
            parent.end(TIME_NS + NS)
        provider.shutdown()
        found = {document["name"]: document for document in spool.documents("span")}
        logs = spool.documents("log")

    trace, identity = format(parent.get_span_context().trace_id, "032x"), format(child.get_span_context().span_id, "016x")
    load = found["load"]
    labels = load.pop("labels")
    assert {
        "event.id": f"{trace}-{identity}", "@timestamp": "2026-09-21T14:13:20.000000001Z", "host.name": "node-7", "run.id": "run-1",
        "service.name": "trainer", "trace.id": trace, "span.id": identity, "parent.id": found["step"]["span.id"], "name": "load",
        "status": "error", "duration_s": (NS // 4 - 1) / NS,
        "attributes": {"batch": "4", "ratio": "0.5", "cold": "true", "shape": "[2,3]"}} == load
    assert {"rank": "3", "k8s.pod.name": "train-3", "span.kind": "client", "status.message": "bad batch"}.items() <= labels.items()
    assert (found["step"]["status"], found["step"]["duration_s"]) == ("unset", 1.0)
    assert [("bad batch", "error", f"{trace}-{identity}-0", "ValueError", 3)] == [
        (log["message"], log["log.level"], log["event.id"], log["labels"]["exception.type"], log["rank"]) for log in logs]


def test_logs_of_the_sdk_become_records() -> None:
    """The level is in our words, the trace is a label, and what the program named is kept."""
    with receiving() as (receiver, spool):
        provider = LoggerProvider(resource=RESOURCE)
        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(url(receiver, "logs"))))
        logger = provider.get_logger("train")
        logger.emit(LogRecord(timestamp=TIME_NS, severity_number=SeverityNumber.WARN, body="loss is 0.5, password=abc",
                              attributes={"epoch": 2}))
        logger.emit(LogRecord(observed_timestamp=TIME_NS, severity_text="FATAL", body={"gone": True}))
        provider.shutdown()
        warning, fatal = spool.documents("log")

    assert warning["message"] == "loss is 0.5, password=[redacted]"
    assert [warning[name] for name in ("log.level", "host.name", "run.id", "rank")] == ["warning", "node-7", "run-1", 3]
    assert (warning["labels"]["epoch"], warning["labels"]["service.name"]) == ("2", "trainer")
    assert ('{"gone":true}', "critical", warning["@timestamp"]) == (fatal["message"], fatal["log.level"], fatal["@timestamp"])


def test_metrics_of_the_sdk_become_records() -> None:
    """Points of the same attributes share a record; a histogram becomes sum, count and cumulative buckets."""
    with receiving() as (receiver, spool):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(url(receiver, "metrics")), export_interval_millis=3_600_000)
        provider = MeterProvider([reader], resource=RESOURCE)
        meter = provider.get_meter("test")
        meter.create_counter("samples").add(7, {"split": "train"})
        meter.create_gauge("queue").set(2.5, {"split": "train"})
        histogram = meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[0.1, 1])
        for value in (0.05, 0.5, 0.6, 7):
            histogram.record(value)
        provider.shutdown()
        documents = spool.documents("metric")

    by_label = {document["labels"].get("split") or document["labels"].get("le", ""): document for document in documents}
    assert {"train", "", "0.1", "1", "+Inf"} == set(by_label)
    assert by_label["train"]["metrics"] == {"samples": 7, "queue": 2.5}
    assert {"latency_sum": pytest.approx(8.15), "latency_count": 4} == by_label[""]["metrics"]
    assert [by_label[le]["metrics"]["latency_bucket"] for le in ("0.1", "1", "+Inf")] == [1, 3, 4]
    assert {("service", "trainer", "node-7", "run-1", 3)} == {
        tuple(document[name] for name in ("entity.kind", "entity.id", "host.name", "run.id", "rank")) for document in documents}


def test_json_is_the_same_as_protobuf() -> None:
    """Ids are hexadecimal, 64-bit numbers texts, and keys nobody knows are left out."""
    body = json.dumps({"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]},
                                          "scopeSpans": [{"spans": [{
                                              "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
                                              "parentSpanId": "EEE19B7EC3C1B173", "name": "step", "kind": 2, "later": 1,
                                              "startTimeUnixNano": str(TIME_NS), "endTimeUnixNano": str(TIME_NS + NS),
                                              "attributes": [{"key": "batch", "value": {"intValue": "4"}}], "status": {}}]}]}]})
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "a"
    span = group.scope_spans.add().spans.add(
        trace_id=bytes.fromhex("5B8EFFF798038103D269B633813FC60C"), span_id=bytes.fromhex("EEE19B7EC3C1B174"),
        parent_span_id=bytes.fromhex("EEE19B7EC3C1B173"), name="step", kind=2, start_time_unix_nano=TIME_NS,
        end_time_unix_nano=TIME_NS + NS)
    span.attributes.add(key="batch").value.int_value = 4
    with receiving() as (receiver, spool):
        answer = send(receiver, "traces", body.encode(), "application/json; charset=utf-8")
        send(receiver, "traces", request.SerializeToString())

    assert (answer.status, answer.headers["Content-Type"], answer.data) == (200, "application/json", b"{}")
    assert len(spool.items) == 2
    assert spool.items[0] == spool.items[1]


def test_a_part_that_is_wrong_is_answered_as_partial_success() -> None:
    """What is right is kept, what is wrong counted and named, in the encoding of the request; it is not sent again."""
    request = spans(2)
    request.resource_spans[0].scope_spans[0].spans[1].span_id = b""
    with receiving() as (receiver, spool):
        answer = send(receiver, "traces", request.SerializeToString())
        reply = ExportTraceServiceResponse.FromString(answer.data)
        in_json = send(receiver, "traces", b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x"}]}]}]}', "application/json")
        counters = receiver.counters()

    assert (answer.status, reply.partial_success.rejected_spans, len(spool.items)) == (200, 1, 1)
    assert "span_id" in reply.partial_success.error_message
    assert in_json.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert (counters["otlp.items"], counters["otlp.rejected"]) == (1.0, 2.0)


def test_a_counter_of_differences_is_rejected_with_the_setting_that_mends_it() -> None:
    """A difference kept as if it were cumulative would be read as a counter that restarts all the time."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="samples")
    metric.sum.aggregation_temporality = 1
    metric.sum.data_points.add(as_int=3, time_unix_nano=TIME_NS)
    with receiving() as (receiver, spool):
        reply = ExportMetricsServiceResponse.FromString(send(receiver, "metrics", request.SerializeToString()).data)

    assert (reply.partial_success.rejected_data_points, spool.items) == (1, [])
    assert "TEMPORALITY_PREFERENCE=cumulative" in reply.partial_success.error_message


def test_points_without_a_value_are_left_out() -> None:
    """NaN, infinity and a series that ended are no readings; an exponential histogram has its sum and count."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    points = metrics.add(name="a").gauge.data_points
    points.add(as_double=float("nan"), time_unix_nano=TIME_NS)
    points.add(as_double=float("inf"), time_unix_nano=TIME_NS)
    points.add(as_double=1.0, time_unix_nano=TIME_NS, flags=1)
    points.add(as_double=2.0, time_unix_nano=TIME_NS)
    exponential = metrics.add(name="b").exponential_histogram
    exponential.aggregation_temporality = 2
    exponential.data_points.add(count=3, sum=4.5, time_unix_nano=TIME_NS)
    summary = metrics.add(name="c").summary.data_points.add(count=2, sum=3.0, time_unix_nano=TIME_NS)
    summary.quantile_values.add(quantile=0.99, value=2.5)
    with receiving() as (receiver, spool):
        send(receiver, "metrics", request.SerializeToString())
        plain, quantile = spool.documents("metric")

    assert plain["metrics"] == {"a": 2.0, "b_sum": 4.5, "b_count": 3, "c_sum": 3.0, "c_count": 2}
    assert (quantile["metrics"], quantile["labels"]) == ({"c": 2.5}, {"quantile": "0.99"})


def test_secrets_are_taken_out_before_anything_is_pushed() -> None:
    """A value is looked at with its key; neighbours of a secret stay as they are."""
    request = spans()
    (span,) = request.resource_spans[0].scope_spans[0].spans
    for key, value in (("password", "a b c"), ("query", "select 1"), ("header", "Bearer 0123456789abcdef")):
        span.attributes.add(key=key).value.string_value = value
    request.resource_spans[0].resource.attributes.add(key="dsn").value.string_value = "pg://u:hunter2@h"
    with receiving() as (receiver, spool):
        send(receiver, "traces", request.SerializeToString())
        (document,) = spool.documents("span")

    assert document["attributes"] == {"password": "[redacted]", "query": "select 1", "header": "Bearer [redacted]"}
    assert document["labels"] == {"dsn": "pg://[redacted]@h"}


def test_the_same_request_sent_again_has_the_same_ids() -> None:
    """A client that got no answer sends again; equal records inside one request stay different ones."""
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": str(TIME_NS), "body": {"stringValue": text}} for text in ("same", "same", "other")]}]}]}).encode()
    with receiving() as (receiver, spool):
        for _ in range(2):
            send(receiver, "logs", body, "application/json")

    identities = [item.id for item in spool.items]
    assert identities[:3] == identities[3:]
    assert len(set(identities)) == 3


@pytest.mark.parametrize("fault", ["full", "broken"])
def test_a_spool_that_takes_nothing_makes_the_client_come_again(fault: str) -> None:
    """503 with Retry-After, after which the SDK sends the same again; nothing of it is kept twice."""
    with receiving() as (receiver, spool):
        setattr(spool, fault, True)
        answer = send(receiver, "traces", spans().SerializeToString())
        setattr(spool, fault, False)
        again = send(receiver, "traces", spans().SerializeToString())

    assert (answer.status, answer.data[:2]) == (503, b"\x08\x0e")
    assert int(answer.headers["Retry-After"]) > 0
    assert (again.status, len(spool.items)) == (200, 1)


def too_deep() -> bytes:
    value: dict[str, Any] = {}
    for _ in range(300):
        value = {"arrayValue": {"values": [value]}}
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": value}]}]}]}).encode()


@pytest.mark.parametrize(("body", "content_type", "headers", "expected"), [
    (b"\xff\xff\xff", "application/x-protobuf", {}, 400),
    (b"{", "application/json", {}, 400),
    (b"[]", "application/json", {}, 400),
    (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}', "application/json", {}, 400),
    (b'{"resourceSpans": 3}', "application/json", {}, 400),
    (too_deep(), "application/json", {}, 400),
    (b"", "text/plain", {}, 415),
    (b"", "", {}, 415),
    (b"", "application/x-protobuf", {"Content_Encoding": "zstd"}, 415),
    (gzip.compress(b"x" * (4 << 20)), "application/x-protobuf", {"Content_Encoding": "gzip"}, 413),
    (b"x" * (2 << 20), "application/x-protobuf", {}, 413),
])
def test_hostile_requests_are_refused_by_status(body: bytes, content_type: str, headers: dict[str, str], expected: int) -> None:
    """The receiver goes on, and nothing of the request is kept."""
    with receiving(limits=Limits(body_bytes=1 << 20, inflated_bytes=1 << 20)) as (receiver, spool):
        answer = send(receiver, "traces", body, content_type, **headers)
        assert spool.items == []
        assert send(receiver, "traces", b"").status == 200

    assert expected == answer.status


def test_without_the_token_nothing_is_taken() -> None:
    """The SDK is told 401, which it does not try again."""
    with receiving(b"secret") as (receiver, spool):
        assert send(receiver, "traces", spans().SerializeToString()).status == 401
        assert send(receiver, "traces", spans().SerializeToString(), Authorization="Bearer x").status == 401
        assert spool.items == []


@pytest.mark.parametrize("fields", [{"end_time_unix_nano": TIME_NS - 1}, {"end_time_unix_nano": 0}, {"end_time_unix_nano": (1 << 64) - 1}])
def test_a_span_with_a_broken_end_has_no_duration(fields: dict[str, int]) -> None:
    """Unknown is not 0."""
    with receiving() as (receiver, spool):
        send(receiver, "traces", spans(**fields).SerializeToString())

    assert ["duration_s" not in span for span in spool.documents("span")] == [True]


def test_a_record_with_huge_texts_is_cut() -> None:
    """Long texts are cut and say so; what is too large even then is rejected and counted."""
    request = spans(2)
    cut, rejected = request.resource_spans[0].scope_spans[0].spans
    cut.attributes.add(key="query").value.string_value = "x" * 100_000
    for number in range(20):
        rejected.attributes.add(key=f"query{number}").value.string_value = "x" * 10_000
    with receiving() as (receiver, spool):
        reply = ExportTraceServiceResponse.FromString(send(receiver, "traces", request.SerializeToString()).data)
        (document,) = spool.documents("span")

    assert reply.partial_success.rejected_spans == 1
    assert (len(document["attributes"]["query"]), "cut" in document["labels"]) == (8192, True)
