"""A store in Elasticsearch: data streams for what is shipped, plain indices for what is made of it."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pinchpoint import config, fields
from pinchpoint import records as shapes
from pinchpoint.clock import NS, SYSTEM_CLOCK, Clock
from pinchpoint.errors import StoreRefused
from pinchpoint.store.base import IncidentFilter, SetAside, Split
from pinchpoint.store.es import names
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.es.counting import MS
from pinchpoint.store.es.deleting import delete
from pinchpoint.store.es.documents import time_texts
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.foreign import ForeignReader
from pinchpoint.store.es.kept import Kept
from pinchpoint.store.es.reading import Reader
from pinchpoint.store.es.writing import Writer
from pinchpoint.store.incoming import prepare
from pinchpoint.store.names import HOUR_NS, check_segment
from pinchpoint.store.slices import cut


class ElasticStore:
    """Records as documents of one server, under one namespace.

    The same record is one of the same `event.id` and `@timestamp`, which make its `_id`; a stream forgets ids when it rolls over, so
    reading drops repeats too. Templates and indices come from `pinchpoint setup elasticsearch`.
    """

    def __init__(self, url: str, *, door: Door | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        """url: `https://host:9200?namespace=…&index=…`; door: how to get there, None for what the settings and the environment say."""
        self._address = Address.parse(url)
        self.url = str(self._address)
        self._clock = clock
        self.door = door or _door(self._address.server, Access.read(config.load().elasticsearch))
        self._writer = Writer(self.door, self._address.namespace, clock)
        self._reader = Reader(self.door, self._address.namespace, clock)
        self._foreign = ForeignReader(self.door, self._address, clock) if self._address.indices else None
        self._kept = Kept(self.door, self._writer, self._address.namespace)

    def append(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        check_segment(segment_id)
        prepared = prepare(kind, batch)
        if kind in fields.DERIVED:
            self._writer.replace(kind, prepared, segment_id)
        else:
            self._writer.ship(kind, prepared, segment_id)

    def splits(self, kind: str, start: int | None = None, end: int | None = None, *, align_s: float = 300.0,
               records: int = 1_000_000) -> list[Split]:
        shapes.schema(kind)  # refuses an unknown kind
        # cut refuses an align that is no length; buckets are as long as slices are aligned, if milliseconds can say that
        align_ns = round(align_s * NS)
        bucket_ns = align_ns if align_ns > 0 and align_ns % MS == 0 else MS
        found = [reader.count(kind, start, end, bucket_ns) for reader in self._readers(kind)]
        buckets, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return cut(kind, buckets, counts, bucket_ns, start=start, end=end, align_s=align_s, records=records)

    def read(self, split: Split, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        wanted = shapes.schema(split.kind, columns)
        for reader in self._readers(split.kind):
            for batch in reader.read(split, wanted.names).to_batches():
                yield pa.RecordBatch.from_arrays(batch.columns, schema=wanted)

    def _readers(self, kind: str) -> list[Reader | ForeignReader]:
        """Who reads records of a kind: our own, and those that others shipped where the URL names their indices."""
        return [self._reader, *([] if self._foreign is None or kind in fields.DERIVED else [self._foreign])]

    def set_aside(self) -> list[SetAside]:
        dead = self._writer.dead_letters
        found = [SetAside(str(dead.path), "rejected by Elasticsearch; the reason stands beside each document", dead.count())]
        return [one for one in found if one.records] + self._reader.set_aside() + (self._foreign.set_aside() if self._foreign else [])

    def put_incident(self, incident: dict[str, Any]) -> None:
        self._kept.put_incident(incident)

    def incident(self, incident_id: str) -> dict[str, Any]:
        return self._kept.incident(incident_id)

    def query_incidents(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        return self._kept.query(filters)

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        self._kept.label(incident_id, label, note, at_ns)

    def watermark(self, job: str) -> int | None:
        return self._kept.watermark(job)

    def set_watermark(self, job: str, time_ns: int) -> None:
        self._kept.set_watermark(job, time_ns)

    def compact(self, before: int | None = None) -> int:
        return 0  # the server joins its segments by itself

    def retain(self, kind: str, since: int) -> int:
        shapes.schema(kind)
        query = {"range": {"@timestamp": {"lt": time_texts([since // HOUR_NS * HOUR_NS])[0]}}}
        try:
            gone = set().union(*(delete(self.door, target, query, self._clock) for target in self._reader.targets(kind)))
        except StoreRefused:
            if kind in fields.DERIVED:
                raise
            return 0  # a key that may only read streams: their lifecycle drops what is old
        if kind not in fields.DERIVED and gone:
            delete(self.door, self._writer.index(names.SEGMENTS), {"bool": {"filter": [query, {"term": {"kind": kind}}]}}, self._clock)
        return len(gone)


@functools.lru_cache(16)
def _door(server: str, access: Access) -> Door:
    """One door a server and process: workers open the store anew for each slice, and each door costs connections."""
    return Door(server, access)
