"""Bring saved objects into a space of Kibana through its API, and turn each refusal into a sentence."""

import base64
import dataclasses
import http.client
import importlib.resources
import json
import os
import re
import ssl
import urllib.parse
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinchpoint.errors import StoreError, StoreRefused, StoreUnreachable, UsageError
from pinchpoint.store.es import trust
from pinchpoint.store.es.address import Access

#: The oldest version that reads what we write.
OLDEST = (8, 17)
PREFIX = "PINCHPOINT_KIBANA_"
_TIMEOUT_S = 60.0
_SPACE = re.compile(r"[a-z0-9_-]{1,255}")
_MOST_ANSWER_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A space of a Kibana; it holds no secret."""

    server: str
    """Without a slash at its end; a base path belongs to it."""
    space: str = "default"

    @classmethod
    def parse(cls, url: str, space: str) -> "Place":
        """Check a URL and the name of a space.

        Raises: UsageError.

        >>> Place.parse("https://kibana:5601/base/", "team-a").path("/api/status")
        '/base/s/team-a/api/status'
        """
        try:
            parts = urllib.parse.urlsplit(url)
            parts.port  # noqa: B018 (a port that is no number raises)
        except ValueError as error:
            raise UsageError(f"{url!r} is no address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"{url!r} is no address of Kibana: expected such as https://kibana.example:5601")
        if parts.username is not None or parts.password is not None:
            raise UsageError(f"a user or password in the address would show in process lists and logs: set {PREFIX}API_KEY_FILE, or "
                             f"{PREFIX}USERNAME and {PREFIX}PASSWORD_FILE")
        if not _SPACE.fullmatch(space):
            raise UsageError(f"space {space!r}: expected lower-case letters, digits, _ and -; it is the end of /s/… in Kibana's address")
        return cls(url.rstrip("/"), space)

    def path(self, below: str) -> str:
        """The path of a request in the space."""
        base = urllib.parse.urlsplit(self.server).path
        return base + ("" if self.space == "default" else f"/s/{self.space}") + below

    def __str__(self) -> str:
        return self.server if self.space == "default" else f"{self.server}/s/{self.space}"


def access(environ: Mapping[str, str] = os.environ, fallback: Access | None = None) -> Access:
    """How to get in: `PINCHPOINT_KIBANA_…` of the environment, else what is set for Elasticsearch, whose users are Kibana's.

    Raises: UsageError for a file that cannot be read, or a user without a password.
    """
    fallback = fallback or Access()
    ca_file = environ.get(f"{PREFIX}CA_FILE") or fallback.ca_file
    key = _secret(environ, "API_KEY", "the API key")
    if key is not None:
        return Access(key, None, ca_file, fallback.ca_fingerprint)
    user = environ.get(f"{PREFIX}USERNAME")
    if user is None:
        return Access(fallback.api_key, fallback.basic, ca_file, fallback.ca_fingerprint)
    password = _secret(environ, "PASSWORD", "the password")
    if password is None:
        raise UsageError(f"user {user!r} has no password: set {PREFIX}PASSWORD_FILE")
    return Access(None, (user, password), ca_file, fallback.ca_fingerprint)


def _secret(environ: Mapping[str, str], name: str, what: str) -> str | None:
    if environ.get(f"{PREFIX}{name}"):
        return environ[f"{PREFIX}{name}"].strip()
    file = environ.get(f"{PREFIX}{name}_FILE")
    if not file:
        return None
    try:
        text = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the file of {what} {file}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{file}: expected {what} alone in one line")
    return text


def saved_objects() -> bytes:
    """What is imported, an object a line."""
    return importlib.resources.files("pinchpoint.kibana").joinpath("objects.ndjson").read_bytes()


def listing(objects: bytes) -> list[dict[str, str]]:
    """What is in a file of saved objects: kind, id and title of each."""
    found = map(json.loads, objects.decode().splitlines())
    return [{"what": _WORDS.get(one["type"], one["type"]), "id": one["id"],
             "name": one["attributes"].get("title") or one["attributes"]["name"]} for one in found]


_WORDS = {"index-pattern": "data view", "search": "saved search"}


class Kibana:
    """Requests to one space."""

    def __init__(self, place: Place, access: Access) -> None:
        self._place, self._access = place, access

    def version(self) -> str:
        """The version of the server.

        Raises: StoreUnreachable, StoreRefused for a version that is too old or a server that is no Kibana.
        """
        answer = self._call("GET", "/api/status")
        found = answer.get("version", {}).get("number") if isinstance(answer.get("version"), dict) else None
        if not isinstance(found, str):
            raise StoreRefused(f"{self._place.server} answers, and not as Kibana does: is it Elasticsearch, or a proxy? "
                               "Kibana listens on port 5601 unless told otherwise")
        match = re.match(r"(\d+)\.(\d+)", found)
        if match is None or (int(match[1]), int(match[2])) < OLDEST:
            raise StoreRefused(f"{self._place.server} is Kibana {found}: the dashboards need {OLDEST[0]}.{OLDEST[1]} or later. "
                               "Update Kibana, or look at the same with Grafana (kibana/grafana)")
        return found

    def there(self, objects: bytes) -> set[tuple[str, str]]:
        """Which of the objects the space has, by kind and id. Raises: as `version`."""
        asked = [{"type": one["type"], "id": one["id"]} for one in map(json.loads, objects.decode().splitlines())]
        answer = self._call("POST", "/api/saved_objects/_bulk_get", json.dumps(asked).encode(), "application/json")
        return {(one["type"], one["id"]) for one in answer.get("saved_objects", ()) if "error" not in one}

    def bring(self, objects: bytes) -> dict[str, Any]:
        """Import objects over those that are there; the answer says of each whether it worked.

        Raises: StoreUnreachable, StoreRefused.
        """
        boundary = uuid.uuid4().hex
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="pinchpoint.ndjson"\r\n'
                f"Content-Type: application/ndjson\r\n\r\n").encode() + objects + f"\r\n--{boundary}--\r\n".encode()
        return self._call("POST", "/api/saved_objects/_import?overwrite=true", body, f"multipart/form-data; boundary={boundary}")

    def _call(self, method: str, below: str, body: bytes | None = None, kind: str | None = None) -> dict[str, Any]:
        path = self._place.path(below)
        headers = {"kbn-xsrf": "true", "Accept": "application/json"}
        if kind is not None:
            headers["Content-Type"] = kind
        if self._access.api_key is not None:
            headers["Authorization"] = f"ApiKey {self._access.api_key}"
        elif self._access.basic is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self._access.basic).encode()).decode()
        connection = None
        try:
            connection = self._connection()
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            status, whole = answer.status, answer.read(_MOST_ANSWER_BYTES)
        except ssl.SSLCertVerificationError as error:
            raise StoreRefused(f"the certificate of {self._place.server} is not trusted ({error.verify_message}). Name the authority that "
                               f"signed it: {PREFIX}CA_FILE=ca.crt") from error
        except ssl.SSLError as error:
            raise StoreRefused(f"{self._place.server} does not speak TLS ({error.reason}). Is it http://?") from error
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or error or "no answer"
            raise StoreUnreachable(f"cannot reach Kibana at {self._place.server} ({said}). "
                                   "Is the address right, and does Kibana run?") from error
        finally:
            if connection is not None:
                connection.close()
        return self._read(method, below, status, whole)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self._place.server)
        host = str(parts.hostname)
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port or 80, timeout=_TIMEOUT_S)
        context = trust.context(self._place.server, self._access) or ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port or 443, timeout=_TIMEOUT_S, context=context)

    def _read(self, method: str, below: str, status: int, whole: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(whole)
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        said = str(answer.get("message") or "")[:300]
        because = f": {said}" if said else ""
        where = below.partition("?")[0]
        if status == 200:
            return answer
        if 300 <= status < 400:
            raise StoreRefused(f"{self._place.server} sends elsewhere ({status}): name the address at which Kibana itself answers, with "
                               "its base path")
        if status == 401:
            raise StoreRefused(f"Kibana does not know who asks (401). Set {PREFIX}API_KEY_FILE, or {PREFIX}USERNAME and "
                               f"{PREFIX}PASSWORD_FILE, or correct them")
        if status == 403:
            raise StoreRefused(f"the user or key may not do this in space {self._place.space} (403{because}). It needs the "
                               "Kibana privileges all on Saved Objects Management, Dashboard, Discover and Data View Management there")
        if status == 404:
            raise StoreRefused(f"{self._place} has no {where} (404). Is the base path right, and is there a space {self._place.space}?")
        if status in (502, 503, 504):
            raise StoreUnreachable(f"Kibana at {self._place.server} is not ready ({status}{because}). Try again in a minute")
        raise StoreError(f"Kibana refuses {method} {where}: {status}{' ' + said if said else ''}")


def outcome(answer: Mapping[str, Any], objects: bytes, there: set[tuple[str, str]]) -> tuple[list[dict[str, str]], list[str]]:
    """What became of each object as rows, and a sentence for each that failed.

    >>> line = b'{"type": "tag", "id": "t", "attributes": {"name": "n"}}'
    >>> outcome({"successResults": [{"type": "tag", "id": "t"}]}, line, set())
    ([{'what': 'tag', 'id': 't', 'name': 'n', 'change': 'created'}], [])
    """
    kinds = [json.loads(line)["type"] for line in objects.decode().splitlines()]
    done = {(one.get("type"), one.get("id")): one for one in answer.get("successResults") or ()}
    failed = {(one.get("type"), one.get("id")): one for one in answer.get("errors") or ()}
    rows, sentences = [], []
    for kind, row in zip(kinds, listing(objects), strict=True):
        key = (kind, row["id"])
        if key in failed:
            rows.append({**row, "change": "failed"})
            sentences.append(_why(row, failed[key].get("error") or {}))
        elif key in done:
            elsewhere = done[key].get("destinationId")
            change = "updated" if key in there or (elsewhere and not done[key].get("createNewCopy")) else "created"
            rows.append({**row, "change": f"{change} as {elsewhere}" if elsewhere else change})
        else:
            rows.append({**row, "change": "failed"})
            sentences.append(f"{row['what']} {row['id']}: Kibana does not say what became of it. Run the same again")
    return rows, sentences


def _why(row: Mapping[str, str], error: Mapping[str, Any]) -> str:
    begin = f"{row['what']} {row['id']}"
    match error.get("type"):
        case "conflict":
            return f"{begin}: another object has its id in another space. Delete that one, or share it with this space"
        case "ambiguous_conflict":
            return f"{begin}: there are several copies of it in this space. Delete all but one under Stack Management, Saved Objects"
        case "missing_references":
            names = ", ".join(f"{one.get('type')} {one.get('id')}" for one in error.get("references") or ())
            return f"{begin}: it needs {names}, which could not be imported. Mend that first and run the same again"
        case "unsupported_type":
            return f"{begin}: this Kibana does not know its kind, or the user may not write it. Use a user who may"
        case kind:
            said = error.get("message") or error.get("reason") or kind or "no reason was given"
            return f"{begin}: {said}"
