"""Write records: what was shipped once and for all, what was derived in the place of what the same segment held before."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs
import pyarrow as pa
import pyarrow.compute as pc

from pinchpoint.clock import NS, Clock, format_time
from pinchpoint.delivery import Outgoing, Sender
from pinchpoint.delivery.counters import Counters, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.delivery.documents import Operation, Rejected
from pinchpoint.errors import StoreError, StoreRefused
from pinchpoint.records import content_id
from pinchpoint.store.es import names
from pinchpoint.store.es.deleting import delete
from pinchpoint.store.es.documents import SEGMENT, WRITING, encode
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.mappings import DIMENSIONS
from pinchpoint.store.incoming import times_of

#: How long a write waits for a server that takes nothing: a node that restarts needs less than a minute.
PATIENCE_S = 300.0
#: A time-series stream takes what is at most two hours old and half an hour ahead (index.look_back_time, index.look_ahead_time).
_OLDEST_NS, _NEWEST_NS = 90 * 60 * NS, 20 * 60 * NS
_MS = 1_000_000


def delivery_files(server: str, namespace: str) -> tuple[Path, Path]:
    """Where the counts and the dead letters of one destination are kept on this host."""
    folder = platformdirs.user_state_path("pinchpoint") / "delivery"
    name = f"{namespace}-{hashlib.blake2b(server.encode(), digest_size=4).hexdigest()}"
    return folder / f"{name}.json", folder / f"{name}.dead-letter.ndjson"


class Writer:
    """Writes to one server under one namespace, and keeps count of it."""

    def __init__(self, door: Door, namespace: str, clock: Clock) -> None:
        counts, dead = delivery_files(door.server, namespace)
        self.dead_letters = DeadLetters(dead, clock)
        self._ledger = Ledger(counts)
        self._door, self._namespace, self._clock = door, namespace, clock
        self._time_series = False
        self._indices_seen: set[str] = set()

    def ship(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        """Write a batch of a shipped kind, unless its segment is there."""
        if not batch.num_rows or self._is_whole(kind, segment_id):
            return
        items = encode(kind, batch, segment_id)
        with self._delivery() as delivery:
            if kind == "metric":
                self._ship_metrics(delivery, batch, items)
            else:
                delivery.send(names.stream(kind, self._namespace), items)
        self._declare_whole(kind, segment_id, int(times_of(batch)[-1]))

    def replace(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        """Write a batch of a derived kind; what its segment held before and holds no more goes."""
        target = self.index(names.INDICES[kind])
        items = encode(kind, batch, segment_id)
        # the same content gives the same word: of two workers that write it, neither drops what the other wrote
        writing = content_id(segment_id, *(item.document for item in items))
        marked = [item._replace(document=item.document[:-1] + f',"{WRITING}":"{writing}"}}'.encode()) for item in items]
        with self._delivery() as delivery:
            delivery.send(target, marked, "index")
        before = {"bool": {"filter": {"term": {SEGMENT: segment_id}}, "must_not": {"term": {WRITING: writing}}}}
        delete(self._door, target, before, self._clock)

    def index(self, name: str) -> str:
        """A plain index of this namespace, made sure to be there: writing to one that is not would make it without our mapping.

        Raises: StoreError when it is not, with what to do.
        """
        target = f"{name}-{self._namespace}"
        if target not in self._indices_seen:
            with contextlib.suppress(StoreRefused):  # a key that may write and not look
                if self._door.call("GET", f"/{target}/_settings", expect=(404,)).get("status") == 404:
                    raise StoreError(f"{self._door.server} has no index {target}. Install what pinchpoint needs with: "
                                     "pinchpoint setup elasticsearch")
            self._indices_seen.add(target)
        return target

    def _is_whole(self, kind: str, segment_id: str) -> bool:
        """Whether a segment was written to its end before; not known to a key that may only write, then ids have to do."""
        with contextlib.suppress(StoreRefused):
            path = f"/{self.index(names.SEGMENTS)}/_doc/{_marker(kind, segment_id)}"
            return bool(self._door.call("GET", path, expect=(404,)).get("found"))
        return False

    def _declare_whole(self, kind: str, segment_id: str, newest_ns: int) -> None:
        about = {"@timestamp": format_time(max(newest_ns, 0)), "kind": kind, "segment": segment_id}
        with contextlib.suppress(StoreRefused):
            self._door.call("PUT", f"/{self.index(names.SEGMENTS)}/_doc/{_marker(kind, segment_id)}", about)

    def _ship_metrics(self, delivery: "_Delivery", batch: pa.RecordBatch, items: list[Outgoing]) -> None:
        """Readings go to the time-series stream where it is one; what it cannot take goes to an ordinary stream beside it."""
        stream = names.stream("metric", self._namespace)
        if not self._time_series:
            rejected = delivery.attempt(stream, items)
            self._time_series = any("_id must be unset" in one.reason for one in rejected)
            if not self._time_series:
                delivery.set_aside(stream, rejected)
                return
        fitting = _fitting(batch, self._clock.now_ns())
        rejected = delivery.attempt(stream, [Outgoing(None, item.document) for item, fits in zip(items, fitting, strict=True) if fits])
        refused = {one.item.document for one in rejected}
        delivery.send(f"{names.LATE_METRICS}-{self._namespace}",
                      [item for item, fits in zip(items, fitting, strict=True) if not fits or item.document in refused])

    @contextlib.contextmanager
    def _delivery(self) -> Iterator["_Delivery"]:
        """What is delivered inside is counted in the ledger, whatever comes of it."""
        counters = Counters(self._clock)
        try:
            yield _Delivery(Sender(self._door, counters, self._clock, patience_s=PATIENCE_S), counters, self.dead_letters)
        finally:
            # a full disk must not hide why writing failed, nor make it fail
            with contextlib.suppress(OSError):
                self._ledger.add(counters.take())


class _Delivery:
    """The documents of one batch on their way."""

    def __init__(self, sender: Sender, counters: Counters, dead_letters: DeadLetters) -> None:
        self._sender, self._counters, self._dead_letters = sender, counters, dead_letters

    def send(self, target: str, items: Sequence[Outgoing], operation: Operation = "create") -> None:
        self.set_aside(target, self.attempt(target, items, operation))

    def attempt(self, target: str, items: Sequence[Outgoing], operation: Operation = "create") -> list[Rejected]:
        return self._sender.send(target, items, operation).rejected if items else []

    def set_aside(self, target: str, rejected: Sequence[Rejected]) -> None:
        try:
            self._dead_letters.keep(target, rejected)
        except StoreError as error:
            self._counters.add("dead_letter_full", detail=str(error))
            raise


def _marker(kind: str, segment_id: str) -> str:
    return f"{kind}.{segment_id}"  # both are made of characters that need no quoting


def _fitting(batch: pa.RecordBatch, now_ns: int) -> list[bool]:
    """Which readings a time-series stream keeps apart and takes: recent, of a known entity, one a millisecond and series."""
    recent = pc.and_(pc.greater(batch.column("@timestamp").cast(pa.int64()), now_ns - _OLDEST_NS),
                     pc.less(batch.column("@timestamp").cast(pa.int64()), now_ns + _NEWEST_NS))
    known = pc.and_(batch.column("entity.kind").is_valid(), batch.column("entity.id").is_valid())
    told_by = [name for name in DIMENSIONS if name in batch.schema.names]
    series = zip(*(batch.column(name).to_pylist() for name in told_by), map(str, batch.column("labels").to_pylist()), strict=True)
    seen: set[tuple[object, ...]] = set()
    fitting = []
    for fits, time_ns, one, readings in zip(pc.and_(recent, known).to_pylist(), times_of(batch).tolist(), series,
                                            batch.column("metrics").to_pylist(), strict=True):
        key = (time_ns // _MS, one, frozenset(name for name, _ in readings or ()))
        fitting.append(fits and key not in seen)
        seen.add(key)
    return fitting
