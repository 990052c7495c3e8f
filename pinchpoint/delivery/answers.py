"""What comes back for a bulk request, read without trusting that it is whole."""

import json
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from pinchpoint.errors import DeliveryRefused

#: What of a bulk answer is asked for. `status` stands in it for good items too: without it positions would be lost.
FILTER_PATH = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.failure_store"


class Answer(NamedTuple):
    """What came back for a request."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class NoAnswer(Exception):
    """A request whose outcome is unknown.

    `sent` says whether the whole request went out: only then can its content be why no answer came.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent

    def __reduce__(self) -> tuple[Callable[..., "NoAnswer"], tuple[str, bool]]:
        return _no_answer, (self.reason, self.sent)


def _no_answer(reason: str, sent: bool) -> NoAnswer:
    return NoAnswer(reason, sent=sent)


class Door(Protocol):
    """The way to the server."""

    def post_bulk(self, target: str, body: bytes) -> Answer:
        """Post a body to `/<target>/_bulk` with `FILTER_PATH`, and with `require_data_stream` for a data stream.

        Raises: NoAnswer.
        """

    def is_alive(self) -> bool:
        """Whether the server answers anything at all just now; asked after a bulk stayed without an answer."""


class Result(msgspec.Struct):
    """The answer to one document."""

    status: int = 0
    error: object = None
    failure_store: str | None = None


class _Results(msgspec.Struct):
    items: list[dict[str, Result]]


_RESULTS = msgspec.json.Decoder(_Results)
#: How an answer to a bulk begins; one that does and cannot be read was cut off.
_BEGINNINGS = (b'{"errors"', b'{"took"', b'{"items"')


def statuses_of(answer: Answer, expected: int) -> list[Result] | None:
    """The answers to the documents of a bulk in their order; None when all were simply stored.

    Raises: NoAnswer when the answer is torn, or speaks of fewer documents than were sent: a compressed body that was cut off on
        its way is answered so, with status 200. DeliveryRefused when it is no answer to a bulk at all.
    """
    if answer.status != 200:
        return None
    body = answer.body
    if body.startswith(b'{"errors":false') and b'"used"' not in body:
        answered = body.count(b'"status":')
        if answered == expected and body.endswith(b"}"):
            return None
        raise NoAnswer(f"the answer speaks of {answered} documents, {expected} were sent", sent=True)
    try:
        results = [result for item in _RESULTS.decode(body).items for result in item.values()]
    except (ValueError, RecursionError) as error:
        if not body.startswith(_BEGINNINGS):
            raise DeliveryRefused("what answers a bulk is not Elasticsearch: 200 with something else than results. "
                                  "Is there a proxy in between, or is the port wrong?") from error
        raise NoAnswer(f"the answer to a bulk cannot be read: {type(error).__name__}", sent=True) from error
    if len(results) != expected:
        raise NoAnswer(f"the answer speaks of {len(results)} documents, {expected} were sent", sent=True)
    return results


def error_of(body: bytes) -> tuple[str, str]:
    """Type and reason of an answer that is an error; empty texts where it says nothing."""
    try:
        return reasons_of(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", body[:200].decode("utf-8", "replace").strip()


def reasons_of(error: object) -> tuple[str, str]:
    """Type and reason of the error of one document; empty texts where it says nothing."""
    if isinstance(error, dict):
        return str(error.get("type") or ""), str(error.get("reason") or "")[:1000]
    return "", "" if error is None else str(error)[:1000]
