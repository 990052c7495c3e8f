"""Listen for HTTP/1.1 on loopback with a thread per connection."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from pinchpoint.clock import Clock
from pinchpoint.errors import UsageError
from shippers.http_bodies import Limits
from shippers.http_connection import Connection, Route, Service

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


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
        self._limits = limits or Limits()
        self._clock = clock
        self._service = Service(routes, clock, self._limits, token)
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

    def counters(self) -> dict[str, float]:
        """Answers by class of status; connections turned away count as 503."""
        answered = self._service.answered()
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
        until_s = self._clock.monotonic_s() + grace_s
        for thread in connections.values():
            thread.join(max(until_s - self._clock.monotonic_s(), 0.0))
        _shut(connections, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closing:
                    return
                self._clock.sleep(0.1)  # out of descriptors: the connection waits in the backlog meanwhile
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                full = self._closing or len(self._connections) >= self._limits.connections
                if not full:
                    self._connections[connection] = thread
                    self._note_crowd()
            if full:
                self._service.count(HTTPStatus.SERVICE_UNAVAILABLE)
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
                Connection(connection, self._service)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
            self._note_crowd()
        connection.close()

    def _note_crowd(self) -> None:
        self._service.is_crowded = len(self._connections) * 2 > self._limits.connections


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
