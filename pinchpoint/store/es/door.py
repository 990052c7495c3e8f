"""The one door to an Elasticsearch server: every request goes through here, and every failure becomes a sentence."""

import functools
import re
import ssl
import warnings
from collections.abc import Mapping
from typing import Any

import elastic_transport
import elasticsearch
import msgspec

from pinchpoint.delivery import Answer, NoAnswer
from pinchpoint.delivery.answers import FILTER_PATH
from pinchpoint.errors import StoreError, StoreRefused, StoreUnreachable
from pinchpoint.store.es import trust
from pinchpoint.store.es.address import PREFIX, Access

_TIMEOUT_S = 60.0
_ALIVE_TIMEOUT_S = 5.0
_JSON = {"accept": "application/json", "content-type": "application/json"}
_NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}

_OTHER_MEDIA = "media_type_header_exception"
_SSL_PLACE = re.compile(r"\s*\(_ssl\.c:\d+\)")
#: How OpenSSL calls an answer that is no TLS, and how Python calls a connection that just ends.
_NO_TLS = ("WRONG_VERSION", "RECORD_LAYER", "packet length")
_HUNG_UP = ("RemoteDisconnected", "BadStatusLine", "reset", "UNEXPECTED_EOF", "EOF occurred")

#: Answers that a caller may expect and look at.
Expected = tuple[int, ...]


class _Bytes(elastic_transport.Serializer):
    """Bodies pass as the bytes they are: an answer of 10,000 documents is never made into Python objects here."""

    mimetype = "application/json"

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)

    def loads(self, data: bytes) -> Any:
        return data


_AS_BYTES = {name: _Bytes() for name in ("application/json", "application/x-ndjson", "application/vnd.elasticsearch+json",
                                         "application/vnd.elasticsearch+x-ndjson", "text/plain", "text/*")}


class ServerError(StoreError):
    """An answer that is an error, with what a caller may want to tell apart."""

    def __init__(self, message: str, status: int, kind: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind

    def __reduce__(self) -> Any:
        return ServerError, (str(self), self.status, self.kind)


class Door:
    """Requests to one server."""

    def __init__(self, server: str, access: Access) -> None:
        self.server = server
        self._access = access
        if not server.startswith("https:") and (access.ca_file or access.ca_fingerprint):
            raise StoreRefused(f"{server} is plain HTTP, and an authority for TLS is configured: use https:// in the store URL, or take "
                               f"{PREFIX}CA_FILE and {PREFIX}CA_FINGERPRINT out of the environment and the settings file")

    def call(self, method: str, path: str, body: Any = None, *, expect: Expected = (), timeout_s: float | None = None,
             **params: Any) -> dict[str, Any]:
        """A request and its answer as an object; one with an expected error status is given back with that under `status`.

        Raises: StoreError, StoreUnreachable or StoreRefused with a sentence for people; ServerError for other answers.
        """
        try:
            answer: Any = msgspec.json.decode(self.raw(method, path, body, timeout_s=timeout_s, **params) or b"{}")
        except ServerError as error:
            if error.status in expect:
                return {"status": error.status, "error": {"type": error.kind}}
            raise
        except msgspec.DecodeError as error:
            raise StoreRefused(f"{self.server} does not answer as Elasticsearch does; is it the right port?") from error
        return answer if isinstance(answer, dict) else {"answer": answer}

    def raw(self, method: str, path: str, body: Any = None, *, timeout_s: float | None = None, **params: Any) -> bytes:
        """A request and its answer as bytes. Raises: as `call`."""
        try:
            return self._perform(method, path, body, _JSON, timeout_s, params)
        except elasticsearch.ApiError as error:
            raise self._explained(error) from error
        except elastic_transport.TransportError as error:
            raise self._unreachable(error) from error

    def post_bulk(self, target: str, body: bytes) -> Answer:
        """As `pinchpoint.delivery.answers.Door` has it."""
        params = {"filter_path": FILTER_PATH} | ({} if target.startswith("pinchpoint-") else {"require_data_stream": "true"})
        try:
            return Answer(200, self._perform("POST", f"/{target}/_bulk", body, _NDJSON, None, params))
        except elasticsearch.ApiError as error:
            # nothing that a later try could change
            if _is_other_product(error) or _error(error.body)[0] == _OTHER_MEDIA:
                raise self._explained(error) from error
            return Answer(error.meta.status, error.body if isinstance(error.body, bytes) else b"", _retry_after_s(error.meta.headers))
        except elastic_transport.TlsError as error:
            raise self._unreachable(error) from error
        except elastic_transport.TransportError as error:
            raise NoAnswer(_first_line(error), sent=_was_sent(error)) from error

    def is_alive(self) -> bool:
        """Whether the server answers at all."""
        try:
            self._perform("GET", "/", None, _JSON, _ALIVE_TIMEOUT_S, {})
        except elastic_transport.TransportError:
            return False
        except elasticsearch.ApiError:
            return True
        return True

    @functools.cached_property
    def version(self) -> tuple[int, int, int]:
        """Version of the server."""
        number = str((self.call("GET", "/").get("version") or {}).get("number") or "0.0.0")
        major, minor, patch, *_ = [*(int("".join(filter(str.isdigit, part)) or 0) for part in number.split(".")), 0, 0, 0]
        return major, minor, patch

    @functools.cached_property
    def _client(self) -> elasticsearch.Elasticsearch:
        """Made with the first request, which may have to ask the server for its certificates."""
        options: dict[str, Any] = {"api_key": self._access.api_key, "basic_auth": self._access.basic}
        try:
            options["ssl_context"] = trust.context(self.server, self._access)
            return elasticsearch.Elasticsearch(
                self.server, serializers=_AS_BYTES, max_retries=0, retry_on_timeout=False, request_timeout=_TIMEOUT_S,
                connections_per_node=16, **{name: value for name, value in options.items() if value is not None})
        except ssl.SSLError as error:
            raise elastic_transport.TlsError(str(error)) from error
        except TimeoutError as error:
            raise elastic_transport.ConnectionTimeout("the handshake took too long") from error
        except OSError as error:
            raise elastic_transport.ConnectionError(str(error)) from error
        except ValueError as error:
            raise StoreRefused(f"cannot use the settings for Elasticsearch at {self.server}: {error}") from error

    def _perform(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout_s: float | None,
                 params: Mapping[str, Any]) -> bytes:
        client = self._client if timeout_s is None else self._client.options(request_timeout=timeout_s)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", elasticsearch.ElasticsearchWarning)
            answer = client.perform_request(method, path, params=params or None, headers=headers, body=body)
        found = answer.body
        return found if isinstance(found, bytes) else b""

    def _explained(self, error: elasticsearch.ApiError) -> StoreError:
        kind, reason = _error(error.body)
        status = error.meta.status
        if _is_other_product(error):
            return StoreRefused(f"{self.server} is not Elasticsearch 8.19 or later; OpenSearch and other servers that look like it are not "
                                "supported. Correct the URL, or use a lake on disk: --store ./lake")
        if kind == _OTHER_MEDIA:
            client = ".".join(map(str, elasticsearch.__version__))
            return StoreRefused(f"{self.server} is older than the installed client: elasticsearch {client} cannot talk to a server of the "
                                "version before. Install the client that talks to both: pip install 'elasticsearch>=8.19,<9'")
        if status == 401:
            return StoreRefused(self._not_let_in())
        if kind == "cluster_block_exception":
            return StoreRefused(f"{self.server} lets nothing be written ({reason.rstrip(';')}). {_unblocking(reason)}")
        if status == 403:
            return StoreRefused(f"the user or API key may not do this at {self.server}: {reason or kind}. "
                                "Make a key that may: pinchpoint setup elasticsearch")
        if not kind:
            reason = f"{reason or 'nothing'}. Is there a proxy in between, or is it another port?"
        return ServerError(f"{self.server} answered {status} {kind}: {reason}".replace(" : ", ": "), status, kind)

    def _not_let_in(self) -> str:
        if self._access.api_key is not None:
            return (f"{self.server} does not take the API key that was given: it is wrong, has expired or was ended. Make a new one with "
                    f"pinchpoint setup elasticsearch --rotate, and name its file in {PREFIX}API_KEY_FILE")
        if self._access.basic is not None:
            return (f"{self.server} does not know the user {self._access.basic[0]!r} or the password is wrong: correct {PREFIX}USERNAME "
                    f"and {PREFIX}PASSWORD_FILE")
        return f"{self.server} wants to know who asks: set {PREFIX}API_KEY_FILE, or {PREFIX}USERNAME and {PREFIX}PASSWORD_FILE"

    def _unreachable(self, error: elastic_transport.TransportError) -> StoreError:
        said = _first_line(error)
        if isinstance(error, elastic_transport.ConnectionTimeout):
            return StoreUnreachable(f"Elasticsearch at {self.server} did not answer in time ({said}). "
                                    "Look at its load, or use a lake on disk: --store ./lake")
        if any(sign in said for sign in _NO_TLS):
            return StoreRefused(f"{self.server} speaks no TLS: use {self.server.replace('https:', 'http:', 1)}")
        if any(sign in said for sign in _HUNG_UP):
            other = self.server.replace("http:", "https:", 1)
            tls = f"If it speaks TLS, use {other}; if" if other != self.server else "If"
            return StoreUnreachable(f"{self.server} ended the connection without an answer. "
                                    f"{tls} this is the transport port, use the HTTP port, 9200 by default")
        if isinstance(error, elastic_transport.TlsError) or "SSL" in said:
            return StoreRefused(f"the certificate of {self.server} is not trusted: {_why_not_trusted(said)}")
        return StoreUnreachable(f"cannot reach Elasticsearch at {self.server} ({said}). Start it, correct the URL, "
                                "or use a lake on disk: --store ./lake")


def _is_other_product(error: elasticsearch.ApiError) -> bool:
    """Elasticsearch names itself in every answer but that to a request which is too large. 406: the media types of the client."""
    return isinstance(error, elasticsearch.UnsupportedProductError) or (
        error.meta.status == 406 and error.meta.headers.get("x-elastic-product") != "Elasticsearch")


def _unblocking(reason: str) -> str:
    if "flood-stage" in reason:
        return "The disk of a node is almost full: free space, and the server takes the block away by itself"
    if "cluster read-only" in reason:
        return 'Take the block away: PUT _cluster/settings {"persistent": {"cluster.blocks.read_only": null}}'
    return 'Take the block away: PUT <index>/_settings {"index.blocks.write": null, "index.blocks.read_only": null}'


def _why_not_trusted(said: str) -> str:
    why = _SSL_PLACE.sub("", said).rpartition("certificate verify failed: ")[2].strip()
    if "mismatch" in why:
        return f"{why.rstrip('.')}. Use a name in the store URL that the certificate is made out for"
    if "expired" in why or "not yet valid" in why:
        return f"{why}. Renew it on the server, or set the clock of this host"
    return f"{why}. Name the authority that signed it: {PREFIX}CA_FILE=ca.crt or {PREFIX}CA_FINGERPRINT"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _was_sent(error: elastic_transport.TransportError) -> bool:
    """Whether the request had gone out; the client's own errors say so only by what they wrap."""
    said = f"{error} {error.__cause__!r} {error.errors!r}"
    return not any(sign in said for sign in ("NewConnectionError", "ConnectTimeout", "refused", "NameResolution", "unreachable"))


def _first_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:300]


def _error(body: Any) -> tuple[str, str]:
    """Type and reason of an error answer."""
    try:
        error = msgspec.json.decode(body)["error"]
        if isinstance(error, str):
            return "", error
        cause = (error.get("root_cause") or [error])[0]
        reason = str(error.get("reason") or cause.get("reason") or "")
        if error.get("type") == "search_phase_execution_exception" and cause.get("reason"):
            reason = str(cause["reason"])
        return str(error.get("type") or ""), reason[:1000]
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError, IndexError):
        return "", body[:200].decode("utf-8", "replace") if isinstance(body, bytes) else ""
