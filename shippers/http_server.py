"""Answer HTTP/1.1 on loopback with a thread per connection, within limits of memory, connections and time."""

import contextlib
import dataclasses
import hmac
import io
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, cast

from pinchpoint.clock import Clock
from pinchpoint.errors import UsageError
from shippers.http_bodies import Budget, Limits, RefusedError, declared_length, inflate, read_chunks, read_length, too_large

_MOST_LINE_BYTES = 1 << 16
_LINGER_S = 1.0
_RETRY_AFTER_S = 5
_FULL = (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


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


class HttpServer:
    """A server that runs from its making until `close`.

    Args:
        listen: `127.0.0.1:4318` or `[::1]:4318`; port 0 takes a free one, see `port`.
        routes: by method and path.
        token: where given, every request must carry it as `Authorization: Bearer TOKEN`.
        signed: the routes check a signature themselves, so that listening beyond loopback is allowed without a token.
    Raises: UsageError for an address that cannot be listened on, or beyond loopback without a token or signatures.
    """

    def __init__(self, listen: str, routes: Mapping[tuple[str, str], Route], *, clock: Clock, limits: Limits | None = None,
                 token: bytes | None = None, signed: bool = False) -> None:
        host, port = parse_listen(listen)
        if token is None and not signed and not ipaddress.ip_address(host).is_loopback:
            raise UsageError(f"{listen} can be reached from other hosts, and nothing would check who sends. "
                             "Listen on 127.0.0.1, or set a token file")
        self.routes, self.clock, self.limits, self.token = routes, clock, limits or Limits(), token
        self.methods: dict[str, list[str]] = {}
        for method, path in routes:
            self.methods.setdefault(path, []).append(method)
        self.budget = Budget(self.limits.held_bytes)
        self.work = threading.Semaphore(self.limits.at_work)
        self.answered: Counter[int] = Counter()
        """Answers by status since the start; connections turned away count as 503."""
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closing = False
        try:
            self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)
        except OSError as error:
            raise UsageError(f"cannot listen on {listen}: {error.strerror or error}. Another program may have the port") from error
        self.port: int = self._listener.getsockname()[1]
        self._accepter = threading.Thread(target=self._accept, name=f"http-{self.port}", daemon=True)
        self._accepter.start()

    def count(self, status: int) -> None:
        with self._lock:
            self.answered[status] += 1

    def counters(self) -> dict[str, float]:
        """Answers by class of status."""
        with self._lock:
            answered = dict(self.answered)
        return {f"http.answers_{each}xx": float(sum(count for status, count in answered.items() if status // 100 == each))
                for each in (2, 4, 5)}

    def close(self, grace_s: float = 5.0) -> None:
        """Answer what has arrived, take no more, and end within about `grace_s`."""
        with self._lock:
            self._closing = True
            connections = dict(self._connections)
        # wakes accept, which closing the descriptor does not
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepter.join(grace_s)
        _shut(connections, socket.SHUT_RD)
        until_s = self.clock.monotonic_s() + grace_s
        for thread in connections.values():
            thread.join(max(until_s - self.clock.monotonic_s(), 0.0))
        _shut(connections, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closing:
                    return
                self.clock.sleep(0.1)  # out of descriptors: the connection waits in the backlog meanwhile
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                full = self._closing or len(self._connections) >= self.limits.connections
                if not full:
                    self._connections[connection] = thread
            if full:
                self.count(HTTPStatus.SERVICE_UNAVAILABLE)
                with connection, contextlib.suppress(OSError):
                    connection.setblocking(False)
                    connection.send(_FULL)
                continue
            try:
                thread.start()
            except RuntimeError:  # no more threads
                self._forget(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            # it says what is wrong to whoever it can; what is left here is a client that went away
            with contextlib.suppress(OSError):
                _Connection(connection, self)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()


def _shut(connections: Iterable[socket.socket], how: int) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(how)


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of an address.

    Raises: UsageError for anything else than an IP address with a port.

    >>> parse_listen("127.0.0.1:4318"), parse_listen("[::1]:4318")
    (('127.0.0.1', 4318), ('::1', 4318))
    """
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        number = int(port)
        if ("[" in host) != (":" in bare) or not 0 <= number < 1 << 16:
            raise ValueError(listen)
        return str(ipaddress.ip_address(bare)), number
    except ValueError as error:
        raise UsageError(f"expected an IP address with a port, such as 127.0.0.1:4318, got {listen!r}") from error


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


class _Connection(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "pinchpoint"
    sys_version = ""

    def __init__(self, connection: socket.socket, owner: HttpServer) -> None:
        self._owner = owner
        self._stream = _DeadlineStream(connection, owner.clock)
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
        self._stream.due_in(self._owner.limits.idle_s)
        if not self._reader.peek(1):
            return
        self._stream.due_in(self._owner.limits.request_s)
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
        route = self._owner.routes.get((self.command, path))
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
            self._owner.budget.give_back(held)
        self._send(response, closes=closes)

    def _checked(self, route: Route | None, path: str, content_type: str) -> Route:
        owner = self._owner
        if owner.token is not None:
            scheme, _, given = self.headers.get("Authorization", "").strip().partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(errors="replace"), owner.token):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "expected Authorization: Bearer with the token of this receiver")
        if path not in owner.methods:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing is here; there is {', '.join(owner.methods)}")
        if route is None:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {' or '.join(owner.methods[path])}")
        if route.content_types and content_type not in route.content_types:
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type {' or '.join(route.content_types)}")
        return route

    def _body(self) -> tuple[bytes, int]:
        limits, budget = self._owner.limits, self._owner.budget
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
        owner = self._owner
        if not owner.work.acquire(timeout=owner.limits.request_s):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too much work, try again later", closes=False)
        try:
            encoding = self.headers.get("Content-Encoding", "").strip().lower()
            body = inflate(body, encoding, owner.limits.inflated_bytes)
            return route.handle(Request(self.headers, content_type, body, query))
        except RefusedError:
            raise
        except Exception as error:
            # A request must not end the agent; the client is told, and the answer is counted.
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, f"failed: {type(error).__name__}", closes=False) from error
        finally:
            owner.work.release()

    def _send(self, response: Response, *, closes: bool) -> None:
        closes = closes or self._wants_close()
        headers = {"Content-Type": response.content_type, "Content-Length": str(len(response.body)), **(response.headers or {})}
        if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers.setdefault("Retry-After", str(_RETRY_AFTER_S))
        if response.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if closes:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}", *(f"{key}: {value}" for key, value in headers.items())]
        self._owner.count(response.status)
        self.connection.settimeout(self._owner.limits.request_s)
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
            left = self._owner.limits.body_bytes
            while left > 0 and (data := self.rfile.read1(1 << 16)):
                left -= len(data)
