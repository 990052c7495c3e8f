"""Send documents in bulks until each is stored, was stored before, or is refused for good.

Nothing here opens a connection: `Sender` is given a function that posts bytes, so the agent (urllib3) and the store (the
Elasticsearch client) follow the same rules. The rules, with where they were learnt: docs/elasticsearch.md.
"""

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from pinchpoint.clock import Clock
from pinchpoint.delivery.counters import Counters
from pinchpoint.errors import DeliveryRefused, DeliveryTimeout

#: Bytes of a bulk, at most; 10 MB brought nothing over 1 MiB to 5 MB on Elasticsearch 9.2 (measured).
MOST_BYTES = 2 << 20
#: What of a bulk answer is asked for. `status` stands in it for good items too: without it positions would be lost.
FILTER_PATH = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.failure_store"

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 30.0
_UNANSWERED_TRIES = 3
#: So often are documents sent again at once while most of their bulk was taken.
_TRIES_AT_ONCE = 4

Operation = Literal["create", "index", "delete"]


class Document(Protocol):
    """What can be sent: `Outgoing`, or anything that has the same two attributes."""

    @property
    def id(self) -> str | None:
        """Its `_id`; None leaves that to the server, as time-series streams want it."""

    @property
    def document(self) -> bytes:
        """A JSON object in one line, or nothing for a deletion."""


class Outgoing(NamedTuple):
    """One document on its way."""

    id: str | None
    document: bytes


_D = TypeVar("_D", bound=Document, covariant=True)


class Encoded(Sequence[_D]):
    """Documents whose body of a bulk request that creates them is there; each by itself is made only when it is asked for."""

    body: bytes


class Rejected(NamedTuple):
    """A document that this server will never take as it is."""

    item: Document
    status: int
    type: str
    reason: str


def _never(rejected: Rejected) -> bool:
    return False


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


class _Part(NamedTuple):
    """Documents of one bulk."""

    items: Sequence[Document]
    unanswered: int = 0
    """How often they stayed without an answer that others got."""
    whole: int = 0
    """How many documents the bulk had whose refused ones these are; 0 for a bulk that was not answered yet."""
    tries: int = 0
    """How often they were sent again without a wait."""


@dataclasses.dataclass(slots=True)
class Settlement:
    """What became of the documents of one call."""

    stored: int = 0
    repeated: int = 0
    """409 on create: an earlier try stored them."""
    rejected: list[Rejected] = dataclasses.field(default_factory=list)
    elsewhere: list[Rejected] = dataclasses.field(default_factory=list)
    """Rejected here, and wanted by the caller for another target or in another form."""


class Sender:
    """Settles documents: those the server was too busy for are sent again, alone, with full jitter, without end or up to a patience."""

    def __init__(self, door: Door, counters: Counters, clock: Clock, *, patience_s: float | None = None,
                 jitter: Callable[[], float] = random.random) -> None:
        """patience_s: seconds without any progress after which to give up; None never does. jitter: gives 0..1."""
        self._door = door
        self._counters = counters
        self._clock = clock
        self._patience_s = patience_s
        self._jitter = jitter

    def send(self, target: str, items: Sequence[Document], operation: Operation = "create",
             elsewhere: Callable[[Rejected], bool] = _never) -> Settlement:
        """Send documents to a data stream or an index and return when each is settled; the order is kept within a bulk.

        Args:
            target: data stream or index.
            items: documents; those of a bulk are encoded as they are.
            operation: of each.
            elsewhere: whether the caller has another place for a document that is rejected here; it is not counted then.
        Raises: DeliveryRefused when the server takes nothing until a person acts (key, privilege, missing template, read-only
            index); DeliveryTimeout when the patience is over. Both leave every document to be sent again: ids make that harmless.
        """
        settlement = Settlement()
        rounds = _Rounds(self._clock, self._patience_s, self._jitter)
        waiting = [_Part(part) for part in cut(items, MOST_BYTES)][::-1]
        while waiting:
            part = waiting.pop()
            try:
                answer = self._door.post_bulk(target, encode(part.items, operation))
                statuses = _statuses(answer, len(part.items))
            except NoAnswer as gone:
                self._counters.add("unanswered", detail=gone.reason)
                # a server that is down says nothing of the documents; one that answers others may choke on one of these
                unanswered = part.unanswered + (gone.sent and self._door.is_alive())
                if unanswered < _UNANSWERED_TRIES:
                    waiting.append(part._replace(unanswered=unanswered))
                    rounds.wait(gone.reason)
                else:
                    self._halve(part.items, waiting, settlement, 0, "never_answered", f"no answer in {unanswered} tries: {gone.reason}")
                continue
            self._counters.add("bulks")
            if answer.status != 200:
                self._whole(answer, part.items, waiting, settlement, rounds, target)
                continue
            again = self._items(part.items, statuses, settlement, target, elsewhere)
            if len(again) < len(part.items):
                rounds.progress()
            if again:
                whole = part.whole or len(part.items)
                # most of the bulk were taken: the server is well, and waiting would only slow the rest
                if 2 * len(again) <= whole and part.tries < _TRIES_AT_ONCE:
                    waiting.append(_Part(again, whole=whole, tries=part.tries + 1))
                else:
                    waiting.append(_Part(again))
                    rounds.wait("the server is too busy (429)")
        return settlement

    def _whole(self, answer: Answer, part: Sequence[Document], waiting: list[_Part], settlement: Settlement, rounds: "_Rounds",
               target: str) -> None:
        """A request that was answered as a whole, none of its documents stored."""
        kind, reason = _error(answer.body)
        if answer.status == 429 or answer.status >= 500:
            self._counters.add("busy" if answer.status == 429 else "unavailable", detail=f"{answer.status} {kind} {reason}")
            waiting.append(_Part(part))
            rounds.wait(f"{answer.status} {reason or kind}", answer.retry_after_s)
        elif answer.status == 413:
            self._counters.add("too_large", detail=f"{sum(len(item.document) for item in part)} bytes of documents")
            self._halve(part, waiting, settlement, 413, "too_large", "the document alone is larger than http.max_content_length")
        elif answer.status == 400:
            # the body as a whole could not be read: find the document that spoils it
            self._halve(part, waiting, settlement, 400, kind, reason)
        else:
            self._counters.add("refused", detail=f"{answer.status} {kind} {reason}")
            raise DeliveryRefused.of(target, answer.status, kind, reason)

    def _halve(self, part: Sequence[Document], waiting: list[_Part], settlement: Settlement, status: int, kind: str,
               reason: str) -> None:
        if len(part) == 1:
            self._reject(settlement, Rejected(part[0], status, kind, reason))
            return
        middle = len(part) // 2
        waiting += [_Part(part[middle:]), _Part(part[:middle])]

    def _reject(self, settlement: Settlement, rejected: Rejected) -> None:
        self._counters.add("rejected", detail=f"{rejected.status} {rejected.type} {rejected.reason}")
        settlement.rejected.append(rejected)

    def _items(self, part: Sequence[Document], items: "list[_Result] | None", settlement: Settlement, target: str,
               elsewhere: Callable[[Rejected], bool]) -> list[Document]:
        """Count what became of each document; returns those to send again. None for items means that all were stored."""
        if items is None:
            settlement.stored += len(part)
            self._counters.add("stored", len(part))
            return []
        again: list[Document] = []
        stored = repeated = 0
        for item, answered in zip(part, items, strict=True):
            status = answered.status
            if not status:
                raise DeliveryRefused(f"{target}: the server's answer names no status for a document; is it Elasticsearch?")
            if status < 300 and answered.error is None:
                stored += 1
                if answered.failure_store == "used":
                    self._counters.add("failure_store", detail=target)
                continue
            if status == 409:
                repeated += 1
                continue
            kind, reason = _reasons(answered.error)
            if status == 404 and not kind:  # without an error: a deletion found nothing to delete
                stored += 1
            elif status == 429 or status >= 500:
                self._counters.add("busy_items" if status == 429 else "failed_items", detail=f"{status} {kind} {reason}")
                again.append(item)
            elif status in (401, 403) or kind in _SETUP_MISSING:
                self._counters.add("refused", detail=f"{status} {kind} {reason}")
                raise DeliveryRefused.of(target, status, kind, reason)
            else:
                rejected = Rejected(item, status, kind, reason)
                if elsewhere(rejected):
                    settlement.elsewhere.append(rejected)
                else:
                    self._reject(settlement, rejected)
        settlement.stored += stored
        settlement.repeated += repeated
        self._counters.add("stored", stored)
        self._counters.add("repeated", repeated)
        return again


#: Errors of single documents that concern every other one as well.
_SETUP_MISSING = frozenset({"index_not_found_exception", "index_closed_exception"})


class _Rounds:
    """Waits between tries: full jitter under a limit that doubles until something is stored."""

    def __init__(self, clock: Clock, patience_s: float | None, jitter: Callable[[], float]) -> None:
        self._clock, self._patience_s, self._jitter = clock, patience_s, jitter
        self.progress()

    def progress(self) -> None:
        self._limit_s = _FIRST_DELAY_S
        self._since_s = self._clock.monotonic_s()

    def wait(self, reason: str, at_least_s: float | None = None) -> None:
        waited_s = self._clock.monotonic_s() - self._since_s
        if self._patience_s is not None and waited_s >= self._patience_s:
            raise DeliveryTimeout(f"Elasticsearch took nothing for {waited_s:.0f} s: {reason}. Nothing is lost: what was not "
                                  "stored is sent again by the next try. See what is wrong with: pinchpoint doctor")
        self._clock.sleep(max(self._limit_s * self._jitter(), min(at_least_s or 0.0, _LONGEST_DELAY_S)))
        self._limit_s = min(2 * self._limit_s, _LONGEST_DELAY_S)


def cut(items: Sequence[Document], most_bytes: int) -> Iterator[Sequence[Document]]:
    """Documents in bulks of up to so many bytes; a larger one goes alone.

    >>> [len(part) for part in cut([Outgoing("a", b"x" * 60)] * 3, 250)]
    [2, 1]
    """
    if isinstance(items, Encoded) and len(items.body) <= most_bytes:
        if items:
            yield items
        return
    sizes = [len(item.document) + _ABOUT_BYTES for item in items]
    if sum(sizes) <= most_bytes:
        if items:
            yield items
        return
    begin = size = 0
    for end, more in enumerate(sizes):
        if end > begin and size + more > most_bytes:
            yield items[begin:end]
            begin, size = end, 0
        size += more
    yield items[begin:]


#: What an action line adds to a document, about.
_ABOUT_BYTES = 64


def encode(items: Sequence[Document], operation: Operation = "create") -> bytes:
    r"""The body of a bulk request.

    >>> encode([Outgoing("a", b'{"x":1}'), Outgoing(None, b"{}")])
    b'{"create":{"_id":"a"}}\n{"x":1}\n{"create":{}}\n{}\n'
    """
    if operation == "create" and isinstance(items, Encoded):
        return items.body
    if operation != "delete" and (ids := _plain_ids(items)) is not None:
        begin, middle = b'{"%b":{"_id":"' % operation.encode(), b'"}}\n'
        parts = [b"\n"] * (5 * len(items))
        parts[::5] = [begin] * len(items)
        parts[1::5] = ids
        parts[2::5] = [middle] * len(items)
        parts[3::5] = [item.document for item in items]
        return b"".join(parts)
    lines: list[bytes] = []
    for item in items:
        about = {} if item.id is None else {"_id": item.id}
        lines.append(json.dumps({operation: about}, separators=(",", ":")).encode())
        if operation != "delete":
            lines.append(item.document)
    lines.append(b"")
    return b"\n".join(lines)


def _plain_ids(items: Sequence[Document]) -> list[bytes] | None:
    """Ids that JSON takes as they are, looked at together: one at a time costs as much as all the rest; None for any other."""
    try:
        whole = "\n".join([item.id for item in items])  # type: ignore[misc]  # None is what the error is for
    except TypeError:
        return None
    if not whole.isascii() or '"' in whole or "\\" in whole or not whole.replace("\n", "").isprintable():
        return None
    ids = whole.encode().split(b"\n")
    return ids if len(ids) == len(items) else None


class _Result(msgspec.Struct):
    """The answer to one document."""

    status: int = 0
    error: object = None
    failure_store: str | None = None


class _Results(msgspec.Struct):
    items: list[dict[str, _Result]]


_RESULTS = msgspec.json.Decoder(_Results)
#: How an answer to a bulk begins; one that does and cannot be read was cut off.
_BEGINNINGS = (b'{"errors"', b'{"took"', b'{"items"')


def _statuses(answer: Answer, expected: int) -> list[_Result] | None:
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


def _error(body: bytes) -> tuple[str, str]:
    """Type and reason of an answer that is an error; empty texts where it says nothing."""
    try:
        return _reasons(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", body[:200].decode("utf-8", "replace").strip()


def _reasons(error: object) -> tuple[str, str]:
    if isinstance(error, dict):
        return str(error.get("type") or ""), str(error.get("reason") or "")[:1000]
    return "", "" if error is None else str(error)[:1000]
