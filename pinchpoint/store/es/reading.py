"""Read records: where they lie in time, and a slice of them, each record once."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.clock import Clock
from pinchpoint.store.base import SetAside, Split
from pinchpoint.store.es import names
from pinchpoint.store.es.columns import decode
from pinchpoint.store.es.counting import by_time
from pinchpoint.store.es.deleting import refresh
from pinchpoint.store.es.documents import SEGMENT, TIME_NS, time_texts
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.export import Page, export
from pinchpoint.store.incoming import times_of
from pinchpoint.store.repeats import Integers, first_of_each


class Reader:
    """Reads pinchpoint's own records of one server under one namespace."""

    def __init__(self, door: Door, namespace: str, clock: Clock) -> None:
        self._door, self._namespace, self._clock = door, namespace, clock
        self._lock = threading.Lock()
        self._aside: dict[tuple[str, str], int] = {}

    def targets(self, kind: str) -> tuple[str, ...]:
        """Where the records of a kind lie; what is not there yet holds none."""
        own = names.stream(kind, self._namespace)
        return (own, f"{names.LATE_METRICS}-{self._namespace}") if kind == "metric" else (own,)

    def count(self, kind: str, start: int | None, end: int | None, bucket_ns: int) -> tuple[Integers, Integers]:
        """How many records lie in which buckets of time: the buckets' numbers since 1970, and the counts; repeated records count."""
        buckets, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for target in self.targets(kind):
            refresh(self._door, target)
            for where, many in by_time(self._door, target, _between(kind, start, end), "@timestamp", bucket_ns):
                buckets.append(where)
                counts.append(many)
            if start is None or start < 0:
                early = self._early(target, kind, start, 0 if end is None else min(end, 0))
                buckets.append(early // bucket_ns)
                counts.append(np.ones(len(early), np.int64))
        return np.concatenate(buckets), np.concatenate(counts)

    def _early(self, target: str, kind: str, start: int | None, end: int) -> Integers:
        """Times (UTC ns) of the records from before 1970."""
        pages = export(self._door, target, {"query": _early(start, end)}, self._decoder(kind, ["@timestamp"]), self._clock)
        return np.concatenate([np.zeros(0, np.int64), *(times_of(page) for page in pages)])

    def read(self, split: Split, columns: Sequence[str]) -> pa.Table:
        """The records of a slice with some columns, sorted by time, each once."""
        wanted = list(dict.fromkeys([*columns, "@timestamp", "event.id"]))
        decoder = self._decoder(split.kind, wanted)
        queries = [_between(split.kind, max(split.start, 0), split.end)] if split.end > 0 else []
        queries += [_early(split.start, min(split.end, 0))] if split.start < 0 else []
        pages = []
        for target in self.targets(split.kind):
            refresh(self._door, target)  # costs next to nothing when nothing was written
            for query in queries:
                pages += export(self._door, target, {"query": query}, decoder, self._clock)
        table = pa.concat_tables([records.schema(split.kind, wanted).empty_table(), *pages])
        return _each_once(split.kind, table).select(list(columns))

    def _decoder(self, kind: str, columns: Sequence[str]) -> Callable[[Page], pa.Table]:
        def use(page: Page) -> pa.Table:
            table, wrong = decode(kind, columns, page)
            with self._lock:
                for reason in wrong:
                    self._aside[kind, reason] = self._aside.get((kind, reason), 0) + 1
            return table

        return use

    def set_aside(self) -> list[SetAside]:
        """What was read and is no record; it stays in its stream."""
        with self._lock:
            return [SetAside(",".join(self.targets(kind)), reason, many) for (kind, reason), many in sorted(self._aside.items())]


def _each_once(kind: str, table: pa.Table) -> pa.Table:
    """Sorted by time, without repeats: the same id is taken again by the next backing index of a stream."""
    table = table.combine_chunks()
    times = times_of(table)
    if np.any(times[1:] < times[:-1]):
        order = np.argsort(times, kind="stable")
        table, times = table.take(pa.array(order)), times[order]
    if kind in fields.DERIVED or not table.num_rows:
        return table
    keep = first_of_each(table.column("event.id").combine_chunks(), times)
    return table if keep is None else table.filter(pa.array(keep))


def _between(kind: str, start: int | None, end: int | None) -> dict[str, Any]:
    """Records from start to before end (UTC ns, not before 1970)."""
    limits: dict[str, str] = {}
    if start is not None:
        limits["gte"] = time_texts([start])[0]
    if end is not None:
        limits["lt"] = time_texts([end])[0]
    wanted: list[dict[str, Any]] = [{"range": {"@timestamp": limits}}] if limits else []
    if kind == "incident":  # what `put_incident` keeps lies there too
        wanted.append({"exists": {"field": SEGMENT}})
    return {"bool": {"filter": wanted, "must_not": {"exists": {"field": TIME_NS}}}}


def _early(start: int | None, end: int) -> dict[str, Any]:
    """Records from before 1970, from start to before end (UTC ns)."""
    return {"range": {TIME_NS: {"lt": end} if start is None else {"gte": start, "lt": end}}}
