"""The HTTP server of receivers: limits, deadlines, tokens, and what it answers to requests that are wrong."""

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.errors import UsageError
from shippers.http_bodies import Limits
from shippers.http_connection import Request, Response, Route
from shippers.http_server import HttpServer


def echo(request: Request) -> Response:
    if request.body == b"fail":
        raise KeyError("a fault of the handler")
    return Response(200, request.body, headers={"X-Query": request.query})


@contextlib.contextmanager
def serving(token: bytes | None = None, **limits: float) -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1:0", {("POST", "/echo"): Route(echo, ("text/plain",)), ("GET", "/"): Route(echo)},
                        clock=SYSTEM_CLOCK, token=token, limits=Limits(**{"idle_s": 5.0, "request_s": 5.0, **limits}))  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close(2.0)


def post(body: bytes = b"hello", *headers: str, path: str = "/echo", method: str = "POST", length: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: text/plain", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def talk(port: int, data: bytes, *, seconds: float = 10.0) -> bytes:
    """Send bytes, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_requests_of_one_connection_are_answered_one_after_the_other() -> None:
    """A connection is kept; a body may come whole, in chunks, or compressed, also in several gzip members."""
    chunked = post(b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: t\r\n\r\n", "Transfer-Encoding: chunked", length=False)
    members = gzip.compress(b"hel") + gzip.compress(b"lo")
    with serving() as server:
        answer = talk(server.port, post() + chunked + post(members, "Content-Encoding: gzip")
                      + post(zlib.compress(b"hello"), "Content-Encoding: deflate") + post(path="/echo?a=1"))

    assert 5 == answer.count(b"HTTP/1.1 200 OK") == answer.count(b"hello")
    assert b"X-Query: a=1" in answer


@pytest.mark.parametrize(("data", "expected"), [
    (b"nonsense\r\n\r\n", 400),
    (b"POST /echo HTTP/3.0\r\n\r\n", 505),
    (b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    (post(path="/other"), 404),
    (post(method="PUT"), 405),
    (post().replace(b"text/plain", b"text/html"), 415),
    (post(b"", length=False), 411),
    (post(b"", "Content-Length: 3", "Content-Length: 5", length=False), 400),
    (post(b"", "Content-Length: -3", length=False), 400),
    (post(b"hello", "Transfer-Encoding: chunked"), 400),
    (post(b"hello", "Transfer-Encoding: gzip, chunked", length=False), 400),
    (post(b"zz\r\n", "Transfer-Encoding: chunked", length=False), 400),
    (post(b"3\r\nhello\r\n", "Transfer-Encoding: chunked", length=False), 400),
    (post(b"ffffff\r\n", "Transfer-Encoding: chunked", length=False), 413),
    (post(b"x" * 2000), 413),
    (post(gzip.compress(b"x" * 50_000), "Content-Encoding: gzip"), 413),
    (post(gzip.compress(b"hello")[:-9], "Content-Encoding: gzip"), 400),
    (post(b"no gzip", "Content-Encoding: gzip"), 400),
    (post(b"hello", "Content-Encoding: br"), 415),
    (post(b"fail"), 500),
])
def test_a_wrong_request_is_refused_by_name(data: bytes, expected: int) -> None:
    """Each fault has its status, and the server answers the next client as ever."""
    with serving(body_bytes=1000, inflated_bytes=10_000) as server:
        answer = talk(server.port, data)
        assert status(talk(server.port, post())) == 200

    assert expected == status(answer)


def test_a_refused_request_does_not_end_a_connection_whose_next_request_can_be_told() -> None:
    """A handler that fails, or a compression nobody knows, costs that request alone."""
    with serving() as server:
        answer = talk(server.port, post(b"fail") + post(b"x", "Content-Encoding: br") + post())

    assert [status(b"HTTP/1.1 " + part) for part in answer.split(b"HTTP/1.1 ")[1:]] == [500, 415, 200]


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off() -> None:
    """The deadline counts from the first byte of a request, however lively its sender is."""
    with serving(request_s=0.5) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /echo HTTP/1.1\r\n")
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"X: y\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            answer = connection.recv(65536)
        finally:
            stop.set()
            thread.join()

    assert status(answer) == 408
    assert time.monotonic() - began < 4


def test_a_body_that_does_not_come_is_not_waited_for_longer_than_the_deadline() -> None:
    """Half a body holds its memory for as long as the deadline lasts only."""
    with serving(request_s=0.3) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(post(b"hel", "Content-Length: 5", length=False))
        assert status(connection.recv(65536)) == 408
        assert status(talk(server.port, post())) == 200


def test_a_quiet_connection_is_closed_without_a_word() -> None:
    """Between requests there is nothing to answer."""
    with serving(idle_s=0.2) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        assert connection.recv(1) == b""


def test_more_connections_than_allowed_are_told_to_come_again() -> None:
    """The one above the limit gets 503 with Retry-After at once; when another has ended there is room again."""
    with serving(connections=1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as first:
            first.sendall(post())
            assert status(first.recv(65536)) == 200
            answer = talk_politely(server.port)
        assert status(answer) == 503
        assert b"Retry-After: " in answer
        deadline = time.monotonic() + 10
        while (answer := talk_politely(server.port, post())) and status(answer) == 503:
            assert time.monotonic() < deadline
        assert status(answer) == 200


def test_in_a_crowd_clients_take_turns() -> None:
    """Clients that keep their connections do not keep the others out: they are asked to come again, and get an answer each time."""
    with serving(connections=4) as server, contextlib.ExitStack() as stack:
        answers = []
        for _ in range(4):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(post())
            answers.append(connection.recv(65536))

    assert [status(answer) for answer in answers] == [200] * 4
    assert [b"Connection: close" in answer for answer in answers] == [False, False, True, True]


def talk_politely(port: int, data: bytes = b"") -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(65536)
        return b"HTTP/1.1 503 reset before it was read"


def test_bodies_that_are_being_read_share_one_bound() -> None:
    """A request that would exceed the memory of all is told to come again, and the others go on."""
    with serving(held_bytes=8) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
        slow.sendall(post(b"hel", "Content-Length: 5", length=False))
        deadline = time.monotonic() + 10
        while status(answer := talk(server.port, post())) == 200:
            assert time.monotonic() < deadline
        slow.sendall(b"lo")
        assert status(slow.recv(65536)) == 200
        assert status(talk(server.port, post())) == 200

    assert status(answer) == 503
    assert b"Retry-After: " in answer


def test_a_body_is_asked_for_only_when_it_is_wanted() -> None:
    """A client that asks first is told to go on, or why not before it has sent anything."""
    with serving(b"secret") as server:
        refused = talk(server.port, post(b"", "Expect: 100-continue", "Content-Length: 5", length=False))
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(post(b"", "Expect: 100-continue", "Content-Length: 5", "Authorization: Bearer secret", length=False))
            assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"hello")
            assert status(connection.recv(65536)) == 200

    assert status(refused) == 401
    assert b"100 Continue" not in refused


@pytest.mark.parametrize("given", [[], ["Authorization: Bearer wrong"], ["Authorization: Basic secret"], ["Authorization: Bearer"]])
def test_a_request_without_the_token_is_refused(given: list[str]) -> None:
    """What is there is not told either: every path answers 401."""
    with serving(b"secret") as server:
        answer = talk(server.port, post(b"hello", *given, path="/nowhere"))
        right = talk(server.port, post(b"hello", "Authorization: bearer secret"))

    assert (status(answer), status(right)) == (401, 200)
    assert b"WWW-Authenticate: Bearer" in answer


def test_beyond_loopback_something_must_check_who_sends() -> None:
    """An open port without a token is refused at the door, as is an address that is none or is taken."""
    with pytest.raises(UsageError, match="can be reached from other hosts"):
        HttpServer("0.0.0.0:0", {}, clock=SYSTEM_CLOCK)
    for wrong in ("4318", "localhost:4318", "127.0.0.1:", "127.0.0.1:99999", "::1:4318"):
        with pytest.raises(UsageError, match="expected an IP address with a port"):
            HttpServer(wrong, {}, clock=SYSTEM_CLOCK)
    with serving() as server, pytest.raises(UsageError, match="cannot listen on"):
        HttpServer(f"127.0.0.1:{server.port}", {}, clock=SYSTEM_CLOCK)


def test_closing_answers_what_has_arrived() -> None:
    """A request that is being handled gets its answer; a quiet connection does not hold up the end."""
    began, go_on = threading.Event(), threading.Event()

    def slow(request: Request) -> Response:
        began.set()
        go_on.wait(10)
        return Response(200)

    server = HttpServer("127.0.0.1:0", {("POST", "/echo"): Route(slow)}, clock=SYSTEM_CLOCK)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as quiet, \
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as busy:
        busy.sendall(post())
        assert began.wait(10)
        threading.Timer(0.2, go_on.set).start()
        server.close(5.0)
        assert status(busy.recv(65536)) == 200
        assert quiet.recv(1) == b""
    assert server.counters() == {"http.answers_2xx": 1.0, "http.answers_4xx": 0.0, "http.answers_5xx": 0.0}
