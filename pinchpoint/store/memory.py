"""A store that forgets: for tests, and for analyses whose answer is all that is kept."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pinchpoint import fields
from pinchpoint import records as shapes
from pinchpoint.clock import format_time
from pinchpoint.errors import UsageError
from pinchpoint.store import incidents
from pinchpoint.store.base import IncidentFilter, SetAside, Split
from pinchpoint.store.incoming import prepare, times_of
from pinchpoint.store.names import HOUR_NS, check_segment
from pinchpoint.store.repeats import first_of_each, last_of_each
from pinchpoint.store.slices import cut


class MemoryStore:
    """Keeps what a process writes until it ends."""

    def __init__(self, url: str = "memory:") -> None:
        """url: what `open_store` finds it by, when it is `shared`."""
        self.url = url
        self._segments: dict[str, dict[str, pa.RecordBatch]] = {kind: {} for kind in fields.KINDS}
        self._incidents: dict[str, str] = {}
        self._labels: dict[str, dict[str, dict[str, Any]]] = {}
        self._watermarks: dict[str, int] = {}

    def append(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        check_segment(segment_id)
        batch = prepare(kind, batch)
        if kind in fields.DERIVED:
            self._segments[kind].pop(segment_id, None)  # the last one written comes last
        self._segments[kind].setdefault(segment_id, batch)

    def splits(self, kind: str, start: int | None = None, end: int | None = None, *, align_s: float = 300.0,
               records: int = 1_000_000) -> list[Split]:
        times = times_of(self._table(kind, start, end))
        return cut(kind, times, np.ones(len(times), np.int64), 1, start=start, end=end, align_s=align_s, records=records)

    def read(self, split: Split, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        wanted = shapes.schema(split.kind, columns)
        table = self._table(split.kind, split.start, split.end)
        ids, times = table.column("event.id").combine_chunks(), times_of(table)
        keep = (last_of_each(ids, times, np.zeros(len(times), np.int64)) if split.kind in fields.DERIVED
                else first_of_each(ids, times))
        yield from (table if keep is None else table.filter(pa.array(keep))).select(wanted.names).to_batches()

    def segments(self) -> Iterator[tuple[str, str, pa.RecordBatch]]:
        """Kind, id and records of all that was written."""
        for kind, found in self._segments.items():
            for segment_id, batch in found.items():
                yield kind, segment_id, batch

    def clear(self) -> None:
        """Forget every record."""
        for found in self._segments.values():
            found.clear()

    def _table(self, kind: str, start: int | None, end: int | None) -> pa.Table:
        shapes.schema(kind)  # refuses an unknown kind
        parts = []
        for batch in list(self._segments[kind].values()):
            times = times_of(batch)
            low = 0 if start is None else int(np.searchsorted(times, start))
            high = len(times) if end is None else int(np.searchsorted(times, end))
            if low < high:
                parts.append(batch.slice(low, high - low))
        return shapes.concat(kind, parts)

    def set_aside(self) -> list[SetAside]:
        return []

    def put_incident(self, incident: dict[str, Any]) -> None:
        incidents.check(incident)
        self._incidents[incident["id"]] = json.dumps({key: value for key, value in incident.items() if key != "labels"})

    def incident(self, incident_id: str) -> dict[str, Any]:
        return self._labelled(incidents.find_id(list(self._incidents), incident_id))

    def query_incidents(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        return incidents.choose([self._labelled(one) for one in self._incidents], filters)

    def _labelled(self, incident_id: str) -> dict[str, Any]:
        labels = self._labels.get(incident_id, {})
        return {**json.loads(self._incidents[incident_id]), "labels": [dict(labels[text]) for text in sorted(labels)]}

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        found = incidents.find_id(list(self._incidents), incident_id)
        self._labels.setdefault(found, {})[label] = {"label": label, "note": note, "at": format_time(at_ns)}

    def watermark(self, job: str) -> int | None:
        return self._watermarks.get(job)

    def set_watermark(self, job: str, time_ns: int) -> None:
        self._watermarks[job] = time_ns

    def compact(self, before: int | None = None) -> int:
        return 0

    def retain(self, kind: str, since: int) -> int:
        dropped = 0
        for segment_id, batch in list(self._segments[kind].items()):
            gone = int(np.searchsorted(times_of(batch), since // HOUR_NS * HOUR_NS))
            if gone:
                dropped += 1
                self._segments[kind][segment_id] = batch.slice(gone)
                if gone == batch.num_rows:
                    del self._segments[kind][segment_id]
        return dropped


_SHARED: dict[str, MemoryStore] = {}


@contextlib.contextmanager
def shared() -> Iterator[MemoryStore]:
    """A store that whoever opens its URL in this process finds, until the context ends."""
    store = MemoryStore(f"memory:{uuid.uuid4().hex}")
    _SHARED[store.url] = store
    try:
        yield store
    finally:
        del _SHARED[store.url]


def find(url: str) -> MemoryStore:
    """The shared store of a URL; a new one for `memory:`.

    Raises: UsageError when nobody shares it.
    """
    if url == "memory:":
        return MemoryStore()
    if url not in _SHARED:
        raise UsageError(f"no store at {url!r} in this process")
    return _SHARED[url]
