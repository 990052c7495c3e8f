"""Items as documents of Elasticsearch's data streams."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from pinchpoint.clock import Clock
from pinchpoint.delivery import Outgoing, Sender, Settlement
from pinchpoint.delivery.counters import MEANINGS, Count, Counters, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.delivery.documents import Document, Rejected
from pinchpoint.errors import DeadLetterError, DeliveryRefused, StoreRefused, UsageError
from pinchpoint.store.es import names
from pinchpoint.store.es.address import Access, Address
from shippers.items import Item, LogItems
from shippers.outputs.base import Sleep
from shippers.outputs.door import HttpDoor
from shippers.outputs.streams import by_kind, late_metrics, stream_of

#: Of documents; more at a time saved no CPU and took 3 MB more memory for each 512 KiB (measured).
_MOST_BYTES = 1 << 19
_LEAST_BYTES = 1 << 14
_REFUSED_WAIT_S = 10.0
_LEDGER_EVERY_S = 5.0
#: Counts of what makes a sender wait.
_STRAINS = ("unanswered", "unavailable", "busy", "busy_items", "failed_items")


class SleepingClock:
    """A clock whose sleep can be ended from outside."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self.now_ns, self.monotonic_s, self.sleep = clock.now_ns, clock.monotonic_s, sleep


class ElasticOutput:
    """Sends items to one server until each is stored, or set aside in the dead-letter file."""

    linger_s = 1.0

    def __init__(self, name: str, address: Address, folder: Path, *, clock: Clock, sleep: Sleep, read_access: Callable[[], Access],
                 patience_s: float | None = None) -> None:
        """A sender with its own connection, counters and dead letters.

        Args:
            name: of the output.
            address: server and namespace.
            folder: where its counters and dead letters are kept.
            clock: tells the time.
            sleep: waits, and raises StoppedError when the agent ends.
            read_access: reads key and certificates.
            patience_s: gives up after so many seconds without any progress; None never does.
        Raises: UsageError for settings that cannot be meant.
        """
        self.name = name
        self._namespace = address.namespace
        self._clock, self._sleep, self._patience_s = clock, sleep, patience_s
        self._door = HttpDoor(address.server, read_access)
        self._counters = Counters(clock)
        self._totals: dict[str, float] = dict.fromkeys(MEANINGS, 0.0)
        self._ledger = Ledger(folder / "counters.json")
        self._ledger_due_s = 0.0
        self._unwritten: dict[str, Count] = {}
        self._letters = DeadLetters(folder / "dead-letter.ndjson", clock)
        self._sender = Sender(self._door, self._counters, SleepingClock(clock, self._pause), patience_s=patience_s)
        self._most_bytes = _MOST_BYTES
        self._strains = 0.0
        self._time_series = False
        self._trouble: str | None = None
        self._lock = threading.Lock()

    def most_bytes(self) -> int:
        return self._most_bytes

    def deliver(self, items: Sequence[Item], *, may_leave: bool = False) -> Sequence[Item]:
        left: list[Item] = []
        kinds = {"log"} if isinstance(items, LogItems) else {item.kind for item in items}
        for kind, some in [(kinds.pop(), items)] if len(kinds) == 1 else by_kind(items):
            if kind == "metric":
                self._deliver_metrics(some)
            else:
                left += cast(list[Item], self._settle(stream_of(kind, self._namespace), some, may_leave=may_leave).left)
        self._account()
        return left

    def _deliver_metrics(self, readings: Sequence[Item]) -> None:
        target = stream_of("metric", self._namespace)
        late: list[Document] = []
        items: Sequence[Document] = [_named(item) for item in readings]
        if not self._time_series:
            unset = self._settle(target, items, _wants_no_id, _is_late).elsewhere
            self._time_series = any(map(_wants_no_id, unset))
            late += [one.item for one in unset if _is_late(one)]
            items = [one.item for one in unset if _wants_no_id(one)]
        if items:
            unnamed = [Outgoing(None, item.document) for item in items]
            late += [_with_id(one.item, items) for one in self._settle(target, unnamed, _is_late).elsewhere]
        if late:
            self._settle(late_metrics(self._namespace), late)

    def _settle(self, target: str, items: Sequence[Document], *elsewhere: Callable[[Rejected], bool],
                may_leave: bool = False) -> Settlement:
        """Send documents until each is settled, wanted elsewhere, or left."""
        settlement = self._sent(target, items, lambda rejected: any(wanted(rejected) for wanted in elsewhere), may_leave)
        while settlement.rejected:
            try:
                self._letters.keep(target, settlement.rejected)
                break
            except DeadLetterError as error:
                # not settled: the next try is to write them down, sending them again would only be rejected again
                self._counters.add("dead_letter_full", detail=str(error))
                self._wait_in_trouble(str(error))
        self._trouble = None
        return settlement

    def _sent(self, target: str, items: Sequence[Document], elsewhere: Callable[[Rejected], bool], may_leave: bool) -> Settlement:
        while True:
            try:
                settlement = self._sender.send(target, items, elsewhere=elsewhere, may_leave=may_leave)
            except (DeliveryRefused, StoreRefused) as refused:
                if self._patience_s is not None:
                    raise
                # until a person acts: the key may be replaced at any time, in its file or on the server
                self._wait_in_trouble(str(refused))
                self._enter_again()
                continue
            self._adapt()
            return settlement

    def _wait_in_trouble(self, trouble: str) -> None:
        self._trouble = trouble
        self._account()
        self._sleep(_REFUSED_WAIT_S)

    def _pause(self, seconds: float) -> None:
        """Wait between two tries of the sender, and say meanwhile what it waits for."""
        for name in _STRAINS:
            if name in self._counters.counts:
                self._trouble = f"{MEANINGS[name][0]}: {self._counters.counts[name].detail}"
        self._account()
        self._sleep(seconds)

    def _enter_again(self) -> None:
        try:
            self._door.enter_again()
        except UsageError as error:
            self._trouble = str(error)

    def _adapt(self) -> None:
        """Halve what is sent at once when it was too much, and come back slowly."""
        self._account()
        strains = self._totals["too_large"] + self._totals["unanswered"]
        if strains > self._strains:
            self._most_bytes = max(self._most_bytes // 2, _LEAST_BYTES)
        else:
            self._most_bytes = min(self._most_bytes + self._most_bytes // 16, _MOST_BYTES)
        self._strains = strains

    def trouble(self) -> str | None:
        return self._trouble

    def counters(self) -> Mapping[str, float]:
        with self._lock:
            return {**self._totals, "bytes": float(self._door.bytes_sent)}

    def _account(self) -> None:
        """Add what was counted to the totals, and now and then to the file of counts."""
        with self._lock:
            for name, count in self._counters.take().items():
                self._totals[name] += count.number
                whole = self._unwritten.setdefault(name, Count())
                whole.number += count.number
                whole.last, whole.detail = count.last or whole.last, count.detail or whole.detail
        if self._clock.monotonic_s() >= self._ledger_due_s:
            self._ledger_due_s = self._clock.monotonic_s() + _LEDGER_EVERY_S
            self._write_ledger()

    def _write_ledger(self) -> None:
        try:
            self._ledger.add(self._unwritten)
            self._unwritten = {}
        except OSError:
            return  # kept for the next time; a full disk must not stop what can be sent

    def abort(self) -> None:
        self._door.abort()

    def close(self) -> None:
        self._account()
        self._write_ledger()
        self._door.close()


def _named(item: Item) -> Item:
    """A metric with the hash that tells it from other readings of its entity at the same time."""
    try:
        record = _METRIC(item.document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return item  # the server says what is wrong with it
    known = [name for name, value in record.metrics.items() if value is not None]
    labels = {name: value for name, value in record.labels.items() if value is not None}
    added = b',"%b":"%b"}' % (names.METRIC_NAMES.encode(), names.metric_names(known, labels).encode())
    return item._replace(document=item.document[:-1] + added)


class _Metric(msgspec.Struct):
    metrics: dict[str, object] = {}
    labels: dict[str, object] = {}


_METRIC = msgspec.json.Decoder(_Metric).decode


def _wants_no_id(rejected: Rejected) -> bool:
    """Whether a time-series stream makes ids itself."""
    return rejected.status == 400 and "_id must be unset" in rejected.reason


def _is_late(rejected: Rejected) -> bool:
    """Whether a time-series stream does not take a reading: too old, too new, or of nothing it could be filed under."""
    return rejected.status == 400 and any(sign in rejected.reason for sign in (
        "is outside of ranges of currently writable indices", "didn't contain any"))


def _with_id(sent: Document, items: Sequence[Document]) -> Document:
    """The item that a document without an id was made of."""
    return next(item for item in items if item.document is sent.document)
