"""Answer the requests of one HTTP/1.1 connection, within limits of memory and time."""

import contextlib
import dataclasses
import hmac
import io
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, cast

from pinchpoint.clock import Clock
from shippers.http_bodies import Budget, Limits, RefusedError, declared_length, inflate, read_chunks, read_length, too_large

_MOST_LINE_BYTES = 1 << 16
_LINGER_S = 1.0
_RETRY_AFTER_S = 5


class Request(NamedTuple):
    """A request whose body is read and inflated."""

    headers: Message
    content_type: str
    """Lower case, without parameters; empty where there is none."""
    body: bytes
    query: str


class Response(NamedTuple):
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] | None = None


def plain_error(status: int, message: str, content_type: str) -> Response:
    """An error as a line of text; `content_type` is that of the request."""
    return Response(status, message.encode() + b"\n")


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    handle: Callable[[Request], Response]
    content_types: tuple[str, ...] = ()
    """What a body may be, else 415; no entry means anything."""
    error: Callable[[int, str, str], Response] = plain_error
    """Makes the answer of a refused request: status, message, content type of the request."""


class Service:
    """What the connections of a server share: what they serve, and what they may hold together."""

    def __init__(self, routes: Mapping[tuple[str, str], Route], clock: Clock, limits: Limits, token: bytes | None) -> None:
        self.routes, self.clock, self.limits, self.token = routes, clock, limits, token
        self.methods: dict[str, list[str]] = {}
        for method, path in routes:
            self.methods.setdefault(path, []).append(method)
        self.budget = Budget(limits.held_bytes)
        self.work = threading.Semaphore(limits.at_work)
        self.is_crowded = False
        """Whether most connections are taken: each is closed after its answer then, so that many patient clients take turns."""
        self._answered: Counter[int] = Counter()
        self._lock = threading.Lock()

    def count(self, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self._answered[status] += 1

    def answered(self) -> dict[int, int]:
        """Answers by status since the start."""
        with self._lock:
            return dict(self._answered)


class _DeadlineStream(io.RawIOBase):
    """A socket that is read until a deadline: a byte now and then does not keep a connection for ever."""

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._due_s = 0.0

    def due_in(self, seconds: float) -> None:
        self._due_s = self._clock.monotonic_s() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._due_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)


class Connection(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "pinchpoint"
    sys_version = ""

    def __init__(self, connection: socket.socket, service: Service) -> None:
        self._service = service
        self._stream = _DeadlineStream(connection, service.clock)
        self._waits_for_100 = False
        super().__init__(connection, connection.getpeername(), cast("Any", None))

    def setup(self) -> None:
        self.connection = self.request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = io.BufferedReader(self._stream, 1 << 16)
        self.rfile = self._reader

    def finish(self) -> None:
        self.rfile.close()

    def handle_one_request(self) -> None:
        self.close_connection = True
        self._stream.due_in(self._service.limits.idle_s)
        if not self._reader.peek(1):
            return
        self._stream.due_in(self._service.limits.request_s)
        self.command, self.request_version, self.requestline = "", self.protocol_version, ""
        try:
            self.raw_requestline = self.rfile.readline(_MOST_LINE_BYTES + 1)
            if len(self.raw_requestline) > _MOST_LINE_BYTES:
                raise RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")
            if self.parse_request():
                self._answer()
        except RefusedError as refused:
            self._send(plain_error(refused.status, str(refused), ""), closes=True)
        except TimeoutError:
            self._send(plain_error(HTTPStatus.REQUEST_TIMEOUT, "the request took too long", ""), closes=True)

    def handle_expect_100(self) -> bool:
        # only once the request is known to be wanted: else the client sends a body for nothing
        self._waits_for_100 = True
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._send(plain_error(code, message or HTTPStatus(code).phrase, ""), closes=True)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name it has above
        """Nothing: requests are counted, and may hold secrets."""

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        content_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        route = self._service.routes.get((self.command, path))
        error = route.error if route is not None else plain_error
        held = 0
        try:
            wanted = self._checked(route, path, content_type)
            body, held = self._body() if self.command != "GET" else (b"", 0)
            response = self._work(wanted, body, content_type, query)
            closes = False
        except RefusedError as refused:
            response, closes = error(refused.status, str(refused), content_type), refused.closes
        except TimeoutError:
            response, closes = error(HTTPStatus.REQUEST_TIMEOUT, "the request took too long", content_type), True
        finally:
            self._service.budget.give_back(held)
        self._send(response, closes=closes)

    def _checked(self, route: Route | None, path: str, content_type: str) -> Route:
        service = self._service
        if service.token is not None:
            scheme, _, given = self.headers.get("Authorization", "").strip().partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(errors="replace"), service.token):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "expected Authorization: Bearer with the token of this receiver")
        if path not in service.methods:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing is here; there is {', '.join(service.methods)}")
        if route is None:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {' or '.join(service.methods[path])}")
        if route.content_types and content_type not in route.content_types:
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type {' or '.join(route.content_types)}")
        return route

    def _body(self) -> tuple[bytes, int]:
        limits, budget = self._service.limits, self._service.budget
        length = declared_length(self.headers)
        if length is not None and length > limits.body_bytes:
            raise too_large(limits.body_bytes)
        if self._waits_for_100:
            self._waits_for_100 = False
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length is None:
            return read_chunks(self._reader, limits.body_bytes, budget)
        return read_length(self._reader, length, budget), length

    def _work(self, route: Route, body: bytes, content_type: str, query: str) -> Response:
        service = self._service
        if not service.work.acquire(timeout=service.limits.request_s):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too much work, try again later", closes=False)
        try:
            encoding = self.headers.get("Content-Encoding", "").strip().lower()
            body = inflate(body, encoding, service.limits.inflated_bytes)
            return route.handle(Request(self.headers, content_type, body, query))
        except RefusedError:
            raise
        except Exception as error:
            # A request must not end the agent; the client is told, and the answer is counted.
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, f"failed: {type(error).__name__}", closes=False) from error
        finally:
            service.work.release()

    def _send(self, response: Response, *, closes: bool) -> None:
        closes = closes or self._wants_close() or self._service.is_crowded
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body)), **(response.headers or {})}
        if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers.setdefault("Retry-After", str(_RETRY_AFTER_S))
        if response.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if closes:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", *(f"{key}: {value}" for key, value in headers.items())]
        self._service.count(response.status)
        self.connection.settimeout(self._service.limits.request_s)
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + response.body)
        self.close_connection = closes
        if closes:
            self._linger()

    def _wants_close(self) -> bool:
        headers = getattr(self, "headers", None)
        given = "" if headers is None else headers.get("Connection", "").lower()
        return "close" in given or (self.request_version != "HTTP/1.1" and "keep-alive" not in given)

    def _linger(self) -> None:
        """Take what is still on its way for a moment: closing on unread bytes resets the connection before the answer is read."""
        self._stream.due_in(_LINGER_S)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            left = self._service.limits.body_bytes
            while left > 0 and (data := self.rfile.read1(1 << 16)):
                left -= len(data)
