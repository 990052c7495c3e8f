"""One kept connection to an Elasticsearch server, over http.client: half the memory and start-up time of urllib3."""

import base64
import http.client
import ipaddress
import socket
import ssl
import urllib.parse
import zlib
from collections.abc import Callable

from pinchpoint.delivery import Answer, NoAnswer
from pinchpoint.delivery.answers import FILTER_PATH
from pinchpoint.errors import StoreRefused
from pinchpoint.store.es import trust
from pinchpoint.store.es.address import PREFIX, Access
from shippers.outputs.packing import pack
from shippers.readable import is_readable

_CONNECT_S = 10.0
_ANSWER_S = 60.0
_ALIVE_S = 5.0
_LEAST_PACKED_BYTES = 1 << 10
_MOST_ANSWER_BYTES = 64 << 20


class HttpDoor:
    """The way to one server, for one thread."""

    def __init__(self, server: str, read_access: Callable[[], Access]) -> None:
        """server: scheme, host, port and path; read_access: reads key and certificates anew, so that a new key is found.

        Raises: UsageError for settings that cannot be meant.
        """
        parts = urllib.parse.urlsplit(server)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 9200)
        self._path = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._server = server
        self._packs = not _is_loopback(self._host)
        self._read_access = read_access
        self._connection: http.client.HTTPConnection | None = None
        self.bytes_sent = 0
        self.enter_again()

    def enter_again(self) -> None:
        """Read key and certificates anew and connect with them from the next request on. Raises: UsageError."""
        self.close()
        access = self._read_access()
        self._access = access
        self._context: ssl.SSLContext | None = None
        self._headers = {"Accept": "application/json", "Content-Type": "application/x-ndjson", "User-Agent": "pinchpoint-agent"}
        if self._packs:
            self._headers["Accept-Encoding"] = "gzip"
        if access.api_key is not None:
            self._headers["Authorization"] = f"ApiKey {access.api_key}"
        elif access.basic is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(":".join(access.basic).encode()).decode()

    def post_bulk(self, target: str, body: bytes) -> Answer:
        """As `pinchpoint.delivery.answers.Door` has it; also raises StoreRefused for a certificate that is not trusted."""
        headers = self._headers
        if self._packs and len(body) >= _LEAST_PACKED_BYTES:
            body = pack(body)
            headers = {**headers, "Content-Encoding": "gzip"}
        path = f"{self._path}/{target}/_bulk?require_data_stream=true&filter_path={FILTER_PATH}"
        return self._ask("POST", path, body, headers, _ANSWER_S)

    def is_alive(self) -> bool:
        """Whether the server answers at all."""
        try:
            self._ask("GET", f"{self._path}/", b"", self._headers, _ALIVE_S)
        except NoAnswer:
            return False
        return True

    def abort(self) -> None:
        """Let the request that another thread waits for fail now."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        sent = False
        try:
            connection = self._connected()
            if connection.sock is not None:
                connection.sock.settimeout(timeout_s)
            try:
                connection.request(method, path, body, headers)
                sent = True
                self.bytes_sent += len(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server that finds the body too large may have answered, and closed before it had read all of it
            answer = connection.getresponse()
            data = _unpacked(answer.read(_MOST_ANSWER_BYTES), answer.getheader("Content-Encoding", ""))
            if not answer.isclosed():
                raise http.client.HTTPException("the answer is too long")
        except ssl.SSLError as error:
            self.close()
            if isinstance(error, ssl.SSLCertVerificationError) or not sent:
                raise self._untrusted(error) from error
            raise NoAnswer(_said(error), sent=sent) from error
        except (OSError, http.client.HTTPException, zlib.error) as error:
            # what the kernel took of a large body says nothing of what the server read
            self.close()
            raise NoAnswer(_said(error), sent=sent) from error
        return Answer(answer.status, data, _retry_after_s(answer.getheader("Retry-After", "")))

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            if self._secure:
                if self._context is None:
                    self._context = trust.context(self._server, self._access) or ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT_S, context=self._context)
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
            self._connection.connect()
        return self._connection

    def _untrusted(self, error: ssl.SSLError) -> StoreRefused:
        said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason or str(error)
        if not isinstance(error, ssl.SSLCertVerificationError):
            return StoreRefused(f"no TLS with {self._server} ({said}). If it speaks none, use "
                                f"{self._server.replace('https:', 'http:', 1)}")
        return StoreRefused(f"the certificate of {self._server} is not trusted ({said}). Name the authority that signed it: "
                            f"{PREFIX}CA_FILE=ca.crt or {PREFIX}CA_FINGERPRINT")


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the server closed a connection while nothing was asked."""
    return connection.sock is None or is_readable(connection.sock.fileno(), 0.0)


def _unpacked(data: bytes, encoding: str) -> bytes:
    if encoding != "gzip":
        return data
    unpacker = zlib.decompressobj(31)
    whole = unpacker.decompress(data, _MOST_ANSWER_BYTES)
    if not unpacker.eof:
        raise zlib.error("the answer is cut off or too long")
    return whole


def _retry_after_s(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) < 6 else None


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:200]


def _is_loopback(host: str) -> bool:
    """Whether packing would only cost: both ends are this host.

    >>> _is_loopback("localhost"), _is_loopback("127.0.0.1"), _is_loopback("es.example")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
