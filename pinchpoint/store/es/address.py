"""Where Elasticsearch is, what of it is meant, and how we say who we are."""

import dataclasses
import os
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from pinchpoint.config import Elasticsearch
from pinchpoint.errors import UsageError
from pinchpoint.store.es.names import DEFAULT_NAMESPACE, check_namespace

_PARTS = ("namespace", "index", "mapping")
PREFIX = "PINCHPOINT_ES_"
#: Elasticsearch takes more than this; nothing of it can lead out of the path of a request.
_PATTERN = re.compile(r"-?[^\s/\\?\"<>|#,%&_+-][^\s/\\?\"<>|#,%&]*")
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A store URL taken apart; it holds no secret, so it may travel to workers and stand in logs.

    `https://es.example:9200?namespace=team-a&index=filebeat-*` : what is meant stands in the URL, how to get in does not.
    """

    server: str
    namespace: str = DEFAULT_NAMESPACE
    indices: tuple[str, ...] = ()
    """Patterns of what others shipped, read besides pinchpoint's own records."""
    mapping: str | None = None
    """A file that says how other documents become records; None for the built-in mappings alone."""

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Take a URL apart.

        Raises: UsageError for a user or password in it, an unknown part, or a name that Elasticsearch cannot have.

        >>> Address.parse("https://es:9200/?namespace=a&index=x-*&index=y")
        Address(server='https://es:9200', namespace='a', indices=('x-*', 'y'), mapping=None)
        """
        try:
            parts = urllib.parse.urlsplit(url)
            host, port, wrong = parts.hostname, parts.port, ""
        except ValueError as error:
            host, port, wrong = None, None, f" ({error})"
        if not host:
            raise UsageError(f"no server in the store URL{wrong}: expected such as https://es.example:9200")
        if parts.username is not None or parts.password is not None:
            raise UsageError("a user or password in the store URL would show in process lists and logs: take it out of "
                             f"{parts.scheme}://…@{host} and set {PREFIX}USERNAME and {PREFIX}PASSWORD_FILE, or {PREFIX}API_KEY_FILE")
        given = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        for name in given:
            if name not in _PARTS:
                raise UsageError(f"the store URL says {name!r}: expected {', '.join(_PARTS)}. "
                                 "How to connect stands in the settings file under [elasticsearch]")
        indices = tuple(pattern for text in given.get("index", []) for pattern in text.split(",") if pattern)
        for pattern in indices:
            if not _PATTERN.fullmatch(pattern):
                raise UsageError(f"index pattern {pattern!r}: expected the name of an index, data stream or alias, * in it for anything")
        mapping = given.get("mapping", [None])[-1]
        if mapping and not indices:
            raise UsageError("a mapping says what documents of others mean: name where they lie too, such as index=filebeat-*")
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{shown}:{port or (443 if parts.scheme == 'https' else 9200)}{parts.path.rstrip('/')}",
                   check_namespace(given.get("namespace", [DEFAULT_NAMESPACE])[-1]),
                   indices, mapping)

    def __str__(self) -> str:
        """The URL, whole again."""
        query = [("namespace", self.namespace)] if self.namespace != DEFAULT_NAMESPACE else []
        query += [("index", pattern) for pattern in self.indices] + ([("mapping", self.mapping)] if self.mapping else [])
        return self.server + ("?" + urllib.parse.urlencode(query, safe="*/,") if query else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """How to get in. Secrets never show in its repr."""

    api_key: str | None = dataclasses.field(default=None, repr=False)
    basic: tuple[str, str] | None = dataclasses.field(default=None, repr=False)
    ca_file: str | None = None
    ca_fingerprint: str | None = None
    """SHA-256, lower case, without colons."""

    @classmethod
    def read(cls, settings: Elasticsearch, environ: Mapping[str, str] = os.environ) -> "Access":
        """Keys, passwords and certificates from the environment (`PINCHPOINT_ES_…`), else from the settings file.

        Raises: UsageError for a file that cannot be read or a user without a password; never with the secret in it.
        """
        ca_file = environ.get(f"{PREFIX}CA_FILE") or (str(settings.ca_file) if settings.ca_file else None)
        if ca_file is not None:
            _content(Path(ca_file), "the file of the certificate authority")
        trust = (ca_file, _fingerprint(environ.get(f"{PREFIX}CA_FINGERPRINT") or settings.ca_fingerprint))
        key = _secret(environ, "API_KEY", settings.api_key_file, "the API key")
        if key is not None:
            return cls(key, None, *trust)
        user = environ.get(f"{PREFIX}USERNAME") or settings.username
        if user is None:
            return cls(None, None, *trust)
        password = _secret(environ, "PASSWORD", settings.password_file, "the password")
        if password is None:
            raise UsageError(f"user {user!r} has no password: set {PREFIX}PASSWORD_FILE, or password_file under [elasticsearch]")
        return cls(None, (user, password), *trust)


def _fingerprint(given: str | None) -> str | None:
    if given is None:
        return None
    bare = given.strip().replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(bare):
        raise UsageError(f"{given!r} is no SHA-256 fingerprint of a certificate: expected 64 hexadecimal digits, as printed by "
                         "openssl x509 -noout -fingerprint -sha256 -in ca.crt")
    return bare


def _secret(environ: Mapping[str, str], name: str, file: Path | None, what: str) -> str | None:
    if environ.get(f"{PREFIX}{name}"):
        return environ[f"{PREFIX}{name}"].strip()
    if environ.get(f"{PREFIX}{name}_FILE"):
        file = Path(environ[f"{PREFIX}{name}_FILE"])
    if file is None:
        return None
    text = _content(file, f"the file of {what}").strip()
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{file}: expected {what} alone in one line")
    return text


def _content(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: {what} is no text") from error
