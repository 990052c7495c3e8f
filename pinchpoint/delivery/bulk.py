"""Send documents in bulks until each is stored, was stored before, or is refused for good.

Nothing here opens a connection: `Sender` is given a function that posts bytes, so the agent (http.client) and the store (the
Elasticsearch client) follow the same rules. The rules, with where they were learnt: docs/elasticsearch.md.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pinchpoint.clock import Clock
from pinchpoint.delivery.answers import Answer, Door, NoAnswer, Result, error_of, reasons_of, statuses_of
from pinchpoint.delivery.counters import Counters
from pinchpoint.delivery.documents import MOST_BYTES, Document, Operation, Rejected, cut, encode
from pinchpoint.errors import DeliveryRefused, DeliveryTimeout

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 30.0
_UNANSWERED_TRIES = 3
#: So often are documents sent again at once while most of their bulk was taken.
_TRIES_AT_ONCE = 4

def _never(rejected: Rejected) -> bool:
    return False


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
    left: list[Document] = dataclasses.field(default_factory=list)
    """Not settled: the few of a bulk that the server was too busy for, where the caller takes them back."""


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
             elsewhere: Callable[[Rejected], bool] = _never, *, may_leave: bool = False) -> Settlement:
        """Send documents to a data stream or an index and return when each is settled; the order is kept within a bulk.

        Args:
            target: data stream or index.
            items: documents; those of a bulk are encoded as they are.
            operation: of each.
            elsewhere: whether the caller has another place for a document that is rejected here; it is not counted then.
            may_leave: whether the caller takes back documents that the server was too busy for while it took most of their bulk.
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
                statuses = statuses_of(answer, len(part.items))
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
                if 2 * len(again) <= whole and may_leave:
                    settlement.left += again
                elif 2 * len(again) <= whole and part.tries < _TRIES_AT_ONCE:
                    waiting.append(_Part(again, whole=whole, tries=part.tries + 1))
                else:
                    waiting.append(_Part(again))
                    rounds.wait("the server is too busy (429)")
        return settlement

    def _whole(self, answer: Answer, part: Sequence[Document], waiting: list[_Part], settlement: Settlement, rounds: "_Rounds",
               target: str) -> None:
        """A request that was answered as a whole, none of its documents stored."""
        kind, reason = error_of(answer.body)
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

    def _items(self, part: Sequence[Document], items: list[Result] | None, settlement: Settlement, target: str,
               elsewhere: Callable[[Rejected], bool]) -> list[Document]:
        """Count what became of each document; returns those to send again. None for items means that all were stored."""
        if items is None:
            settlement.stored += len(part)
            self._counters.add("stored", len(part))
            return []
        again: list[Document] = []
        # a look at each costs as much as sending it: most were simply stored
        odd = [place for place, one in enumerate(items) if one.status != 201 or one.error is not None or one.failure_store is not None]
        stored, repeated = len(part) - len(odd), 0
        for place in odd:
            item, answered = part[place], items[place]
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
            kind, reason = reasons_of(answered.error)
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
