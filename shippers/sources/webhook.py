"""Take change events that Git hosts and Jenkins post, and check that they come from there."""

import hashlib
import hmac
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from pinchpoint.clock import Clock, format_time
from pinchpoint.errors import ConfigError
from shippers.http_bodies import Limits, RefusedError
from shippers.http_connection import Request, Response, Route
from shippers.http_server import HttpServer
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, without_secrets
from shippers.sources.webhook_payloads import Change, github_change, gitlab_change, jenkins_change

#: GitHub sends 25 MB at most, and pushes with that many commits are not read here.
LIMITS = Limits(body_bytes=4 << 20, inflated_bytes=4 << 20, held_bytes=16 << 20, connections=16)
_SHORTEST_SECRET = 16


class WebhookReceiver:
    """A server at /github, /gitea, /gitlab and /jenkins, all with the same secret.

    GitHub and Gitea sign the body with it; GitLab sends it as X-Gitlab-Token, Jenkins as X-Jenkins-Token, as bearer token or, since
    its notification plugin can send no headers, as `?token=`.

    Args:
        listen: address and port, such as 127.0.0.1:4320.
        secret: at least 16 bytes.
        push: takes items to the spool; an OSError of it is answered 503.
    Raises: ConfigError for a short secret, UsageError when it cannot listen there.
    """

    def __init__(self, listen: str, *, secret: bytes, push: Callable[[list[Item]], None], redact: Redact, clock: Clock,
                 limits: Limits = LIMITS) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise ConfigError(f"ship.events.secret_file: expected at least {_SHORTEST_SECRET} bytes, got {len(secret)}. "
                              "Make one with: openssl rand -hex 32")
        self._secret, self._push, self._redact, self._clock = secret, push, redact, clock
        routes = {("POST", f"/{name}"): Route(handle, ("application/json",)) for name, handle in (
            ("github", self._github), ("gitea", self._gitea), ("gitlab", self._gitlab), ("jenkins", self._jenkins))}
        self._server = HttpServer(listen, routes, clock=clock, limits=limits, signed=True)
        self.port = self._server.port

    def counters(self) -> dict[str, float]:
        """Answers since the start."""
        return {f"events.{name}": value for name, value in self._server.counters().items()}

    def close(self) -> None:
        """Answer what has arrived and end."""
        self._server.close()

    def _github(self, request: Request) -> Response:
        self._check_signature(request, request.headers.get("X-Hub-Signature-256", "").removeprefix("sha256="))
        return self._take("github", request, github_change(request.headers.get("X-GitHub-Event", ""), _payload(request)))

    def _gitea(self, request: Request) -> Response:
        self._check_signature(request, request.headers.get("X-Gitea-Signature", ""))
        return self._take("gitea", request, github_change(request.headers.get("X-Gitea-Event", ""), _payload(request)))

    def _gitlab(self, request: Request) -> Response:
        self._check_token(request.headers.get("X-Gitlab-Token", ""))
        return self._take("gitlab", request, gitlab_change(request.headers.get("X-Gitlab-Event", ""), _payload(request)))

    def _jenkins(self, request: Request) -> Response:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        in_query = urllib.parse.parse_qs(request.query).get("token", [""])[0]
        self._check_token(request.headers.get("X-Jenkins-Token", "") or (bearer.strip() if scheme.lower() == "bearer" else "") or in_query)
        return self._take("jenkins", request, jenkins_change(_payload(request)))

    def _check_signature(self, request: Request, given: str) -> None:
        expected = hmac.new(self._secret, request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given.strip().lower().encode(errors="replace"), expected.encode()):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the signature is missing or wrong: is the secret the same on both sides?",
                               closes=False)

    def _check_token(self, given: str) -> None:
        if not hmac.compare_digest(given.encode(errors="replace"), self._secret):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong: is the secret the same on both sides?",
                               closes=False)

    def _take(self, sender: str, request: Request, change: Change | None) -> Response:
        if change is None:
            return Response(HTTPStatus.OK, b"nothing that counts as a change\n")
        now_ns = self._clock.now_ns()
        record: dict[str, Any] = {"@timestamp": format_time(change.time_ns or now_ns), "event.action": change.action,
                                  "event.reason": change.reason, "labels": {**change.labels, "event.source": sender}}
        without_secrets([record], self._redact)
        # what is posted again, or again and again by somebody who listened, stays one event
        same = "\x1f".join(change.identity).encode() if change.identity else request.body
        identity = hashlib.blake2b(sender.encode() + b"\x1f" + same, digest_size=10).hexdigest()
        item = make_item("event", record, identity)
        if item is None:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the event is too large", closes=False)
        try:
            self._push([item])
        except OSError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the spool cannot be written, post again later", closes=False) from error
        return Response(HTTPStatus.OK, b"taken\n")


def _payload(request: Request) -> dict[str, Any]:
    try:
        payload = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON", closes=False) from error
    if not isinstance(payload, dict):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON object", closes=False)
    return payload
