"""Read the body of an HTTP/1.1 request within limits: framing, compression and the memory all requests share."""

import dataclasses
import email.message
import threading
import zlib
from http import HTTPStatus
from typing import Protocol

_INFLATED_AT_ONCE = 1 << 20
_MOST_LINE_BYTES = 1024
_MOST_TRAILERS = 20
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one server may be made to hold, and how long one client may keep it waiting."""

    body_bytes: int = 16 << 20
    """One body as it is sent."""
    inflated_bytes: int = 16 << 20
    """One body after decompression."""
    held_bytes: int = 32 << 20
    """All bodies that are being read or worked on, as they are sent."""
    connections: int = 128
    at_work: int = 2
    """Requests that are inflated and handled at once; the others wait with their body read."""
    request_s: float = 10.0
    """From the first byte of a request to the last byte of its body, and again for the answer to be taken."""
    idle_s: float = 60.0
    """Between two requests of one connection."""


class Readable(Protocol):
    """What a body is read from."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class RefusedError(Exception):
    """A request that is answered with an error; `closes` when the rest of its bytes cannot be told from a next request."""

    def __init__(self, status: HTTPStatus, message: str, *, closes: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.closes = closes

    def __reduce__(self) -> tuple[type["RefusedError"], tuple[HTTPStatus, str]]:
        return type(self), (self.status, str(self))


class Budget:
    """Bytes that all requests of a server may hold together."""

    def __init__(self, most_bytes: int) -> None:
        self._free = most_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Raises: RefusedError 503 when so many bytes are not free now."""
        with self._lock:
            if count > self._free:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are being read, try again later")
            self._free -= count

    def give_back(self, count: int) -> None:
        with self._lock:
            self._free += count


def declared_length(headers: email.message.Message) -> int | None:
    """The length of the body in bytes; None when it comes in chunks.

    Raises: RefusedError where two readers could disagree about where the body ends, which is how requests are smuggled.
    """
    lengths, encodings = headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", [])
    if encodings:
        if lengths or [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "expected Content-Length or Transfer-Encoding: chunked, once")
        return None
    if not lengths:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length or Transfer-Encoding: chunked")
    text = lengths[0].strip()
    if len(lengths) > 1 or not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "expected one Content-Length, a number")
    return int(text)


def read_chunks(stream: Readable, most_bytes: int, budget: Budget) -> tuple[bytes, int]:
    """A chunked body, and how many bytes of the budget it holds; what was taken is given back when it is refused."""
    parts, held = [], 0
    try:
        while size := _chunk_size(stream):
            if held + size > most_bytes:
                raise too_large(most_bytes)
            budget.take(size)
            held += size
            parts.append(_exactly(stream, size))
            if _exactly(stream, 2) != b"\r\n":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "a chunk does not end where it says")
        for _ in range(_MOST_TRAILERS):
            if stream.readline(_MOST_LINE_BYTES) in (b"\r\n", b"\n", b""):
                return b"".join(parts), held
        raise RefusedError(HTTPStatus.BAD_REQUEST, "too many trailers")
    except BaseException:
        budget.give_back(held)
        raise


def read_length(stream: Readable, length: int, budget: Budget) -> bytes:
    """A body of a known length, which the caller has compared with its limit; holds `length` bytes of the budget."""
    budget.take(length)
    try:
        return _exactly(stream, length)
    except BaseException:
        budget.give_back(length)
        raise


def _chunk_size(stream: Readable) -> int:
    line = stream.readline(_MOST_LINE_BYTES)
    digits = line.partition(b";")[0].strip()
    try:
        if not line.endswith(b"\n") or not digits.isalnum() or len(digits) > 8:
            raise ValueError(digits)
        return int(digits, 16)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "a chunk without its size") from error


def _exactly(stream: Readable, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ConnectionError("the client went away in the middle of a body")
    return data


def too_large(most_bytes: int) -> RefusedError:
    """What a body above the limit is answered with."""
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {most_bytes} bytes, send less at once")


def inflate(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The body without its compression; a small body that would become a huge one is refused before it is one.

    Raises: RefusedError 415 for an unknown encoding, 413 above most_bytes, 400 for a damaged body.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Encoding gzip, deflate or none", closes=False)
    parts, size = [], 0
    while body:
        # gzip allows several members one after the other
        inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
        while not inflater.eof:
            try:
                part = inflater.decompress(body, _INFLATED_AT_ONCE)
            except zlib.error as error:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the compressed body is damaged", closes=False) from error
            size += len(part)
            if size > most_bytes:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                                   f"the body inflates to more than {most_bytes} bytes, send less at once", closes=False)
            parts.append(part)
            body = inflater.unconsumed_tail
            if not part and not body and not inflater.eof:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the compressed body is cut off", closes=False)
        body = inflater.unused_data
    return b"".join(parts)
