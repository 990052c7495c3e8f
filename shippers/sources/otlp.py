"""Receive logs, metrics and traces of OpenTelemetry over HTTP."""

import functools
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from pinchpoint.clock import Clock
from shippers.http_bodies import Limits, RefusedError
from shippers.http_connection import Request, Response, Route
from shippers.http_server import HttpServer
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, without_secrets
from shippers.sources.otlp_json import decode_json
from shippers.sources.otlp_logs import log_records
from shippers.sources.otlp_metrics import metric_records
from shippers.sources.otlp_spans import Made, span_records
from shippers.sources.otlp_wire import Attributes, SpansRequest

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_GRPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 415: 3, 503: 14}

_PUBLISHED: dict[str, type[Message]] = {each.DESCRIPTOR.name: each for each in (
    traces.ExportTraceServiceRequest, metrics.ExportMetricsServiceRequest, logs.ExportLogsServiceRequest)}

#: Records of a request, how many of its points were rejected, and why.
Turned = tuple[list[Made], int, str]


class OtlpReceiver:
    """A server at /v1/traces, /v1/metrics and /v1/logs that answers 200 once `push` has taken the items.

    Args:
        listen: address and port, such as 127.0.0.1:4318; beyond loopback only with a token.
        push: takes items to the spool; an OSError of it is answered 503, so that the client sends again.
        is_full: whether the spool would have to drop something; requests are answered 503 while it would.
        host: `host.name` of what names none.
        token: what clients must send as bearer token.
    Raises: UsageError when it cannot listen there.
    """

    def __init__(self, listen: str, *, push: Callable[[list[Item]], None], is_full: Callable[[], bool], redact: Redact, host: str,
                 clock: Clock, token: bytes | None = None, limits: Limits | None = None) -> None:
        self._push, self._is_full, self._redact, self._host, self._clock = push, is_full, redact, host, clock
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._attributes = Attributes()
        routes = {("POST", path): Route(handle, (_PROTOBUF, _JSON), error_status) for path, handle in (
            ("/v1/traces", functools.partial(self._receive, SpansRequest, self._spans, _trace_reply)),
            ("/v1/metrics", functools.partial(self._receive, metrics.ExportMetricsServiceRequest, self._points, _metrics_reply)),
            ("/v1/logs", functools.partial(self._receive, logs.ExportLogsServiceRequest, self._logs, _logs_reply)))}
        self._server = HttpServer(listen, routes, clock=clock, limits=limits, token=token)
        self.port = self._server.port

    def counters(self) -> dict[str, float]:
        """What was received since the start."""
        return {"otlp.items": float(self._counts["items"]), "otlp.rejected": float(self._counts["rejected"]),
                **{f"otlp.{name}": value for name, value in self._server.counters().items()}}

    def close(self) -> None:
        """Answer what has arrived and end."""
        self._server.close()

    def _receive(self, kind: type[Any], turn: Callable[[Any], Turned], reply: Callable[[int, str], Message], request: Request) -> Response:
        if self._is_full():
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the spool is full, send again later", closes=False)
        try:
            made, rejected, why = turn(_decode(kind, request))
        except (DecodeError, ValueError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"no {kind.DESCRIPTOR.name}: {str(error)[:200]}", closes=False) from error
        without_secrets((record for _, _, record in made), self._redact)
        items, too_large = _items(made)
        if too_large:
            rejected, why = rejected + too_large, "a record is larger than 64 KiB with its texts cut"
        if items:
            try:
                self._push(items)
            except OSError as error:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the spool cannot be written, send again later", closes=False) from error
        with self._lock:
            self._counts["items"] += len(items)
            self._counts["rejected"] += rejected
        return _encode(reply(rejected, why), request.content_type)

    def _spans(self, request: Message) -> Turned:
        return span_records(request, self._host, self._attributes)

    def _points(self, request: metrics.ExportMetricsServiceRequest) -> Turned:
        return metric_records(request, self._host, self._clock.now_ns())

    def _logs(self, request: logs.ExportLogsServiceRequest) -> Turned:
        return log_records(request, self._host, self._clock.now_ns())


def _items(made: list[Made]) -> tuple[list[Item], int]:
    """The items of the records, and how many were too large.

    Equal records of one request are different ones and get different ids; the same request sent again gets the same ids again.
    """
    items: list[Item] = []
    seen: Counter[str] = Counter()
    for kind, identity, record in made:
        item = make_item(kind, record, identity)
        if item is None:
            continue
        if identity is None:
            seen[item.id] += 1
            if seen[item.id] > 1:
                item = make_item(kind, record, salt=b"%d" % seen[item.id]) or item
        items.append(item)
    return items, len(made) - len(items)


def _decode(kind: type[Any], request: Request) -> Any:
    """Raises: DecodeError or ValueError for what is no such request."""
    body = request.body
    if request.content_type == _JSON:
        body = decode_json(body, _PUBLISHED[kind.DESCRIPTOR.name]()).SerializeToString()
    given = kind()
    given.ParseFromString(body)
    return given


def _encode(reply: Message, content_type: str) -> Response:
    if content_type == _JSON:
        return Response(200, MessageToJson(reply, indent=None).encode(), _JSON)
    return Response(200, reply.SerializeToString(), _PROTOBUF)


def _trace_reply(rejected: int, why: str) -> Message:
    reply = traces.ExportTraceServiceResponse()
    if rejected:
        reply.partial_success.rejected_spans, reply.partial_success.error_message = rejected, why
    return reply


def _metrics_reply(rejected: int, why: str) -> Message:
    reply = metrics.ExportMetricsServiceResponse()
    if rejected:
        reply.partial_success.rejected_data_points, reply.partial_success.error_message = rejected, why
    return reply


def _logs_reply(rejected: int, why: str) -> Message:
    reply = logs.ExportLogsServiceResponse()
    if rejected:
        reply.partial_success.rejected_log_records, reply.partial_success.error_message = rejected, why
    return reply


def error_status(status: int, message: str, content_type: str) -> Response:
    """An error as google.rpc.Status in the encoding of the request.

    >>> error_status(503, "full", "application/x-protobuf").body
    b'\\x08\\x0e\\x12\\x04full'
    """
    code = _GRPC_CODES.get(status, 2)
    if content_type == _JSON:
        return Response(status, orjson.dumps({"code": code, "message": message}), _JSON)
    text = message.encode()[:100]
    # field 1, a number below 128, and field 2, a text of fewer than 128 bytes: not worth a dependency
    return Response(status, bytes((0x08, code, 0x12, len(text))) + text, _PROTOBUF)
