"""A store of Parquet files on a local disk or on object storage, which needs no service."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pinchpoint import records as shapes
from pinchpoint.clock import SYSTEM_CLOCK, Clock
from pinchpoint.store import joining, landing, segment
from pinchpoint.store.aside import Aside
from pinchpoint.store.base import IncidentFilter, SetAside, Split
from pinchpoint.store.documents import Documents
from pinchpoint.store.files import Files, explained, open_files
from pinchpoint.store.incoming import prepare
from pinchpoint.store.names import HOUR_NS, check_segment
from pinchpoint.store.reading import load, look_patiently
from pinchpoint.store.slices import cut
from pinchpoint.store.visible import Lake
from pinchpoint.store.writing import write

_SMALL_BATCH = 10_000


class LakeStore:
    """Records as immutable Parquet files by kind and hour.

    Writers on any number of hosts need no lock. Joining and dropping segments takes one on a local disk; on object storage,
    which has none, let one process at a time do that. The same record is one of the same `event.id` and `@timestamp`; a record
    without an `event.id` is never taken for another. A segment id names one batch: what is written under it a second time is
    ignored as long as it lies in the same hours (shipped kinds), or replaces what is there (derived kinds).
    What agents landed as packed NDJSON is brought in before segments are listed or joined.
    """

    def __init__(self, url: str, *, files: Files | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        """url: a path, file://…, s3://… or gs://…; files: where that is, when it is opened already."""
        self._files = open_files(url) if files is None else files
        self._clock = clock
        self.url = self._files.root
        self._lake = Lake(self._files, Aside(self._files))
        self._documents = Documents(self._lake)

    def append(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        check_segment(segment_id)
        prepared = prepare(kind, batch)
        with explained(self.url, f"write segment {segment_id}"):
            write(self._lake, kind, prepared, segment_id)

    def splits(self, kind: str, start: int | None = None, end: int | None = None, *, align_s: float = 300.0,
               records: int = 1_000_000) -> list[Split]:
        shapes.schema(kind)  # refuses an unknown kind
        buckets, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with explained(self.url, f"list {kind} records"):
            landing.bring_in(self._lake)
            first, last = None if start is None else start // HOUR_NS, None if end is None else -(-end // HOUR_NS)
            for number in self._lake.hours(kind, first, last):
                for data in look_patiently(self._lake, kind, number).data:
                    buckets.append(data.footer.buckets)
                    counts.append(data.footer.counts)
        where, many = np.concatenate(buckets), np.concatenate(counts)
        inside = np.ones(len(where), np.bool_)
        if start is not None:
            inside &= (where + 1) * segment.BUCKET_NS > start
        if end is not None:
            inside &= where * segment.BUCKET_NS < end
        return cut(kind, where[inside], many[inside], segment.BUCKET_NS, start=start, end=end, align_s=align_s, records=records)

    def read(self, split: Split, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        wanted = shapes.schema(split.kind, columns)
        with explained(self.url, f"read {split.kind} records"):
            table = load(self._lake, split.kind, wanted.names, split.start, split.end)
        if table.num_rows < _SMALL_BATCH * sum(column.num_chunks for column in table.columns[:1]):
            table = table.combine_chunks()
        yield from segment.pieces(table, wanted)

    def set_aside(self) -> list[SetAside]:
        with explained(self.url, "list what was set aside"):
            return self._lake.aside.all()

    def put_incident(self, incident: dict[str, Any]) -> None:
        with explained(self.url, "write an incident"):
            self._documents.put_incident(incident)

    def incident(self, incident_id: str) -> dict[str, Any]:
        with explained(self.url, "read incidents"):
            return self._documents.incident(incident_id)

    def query_incidents(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        with explained(self.url, "read incidents"):
            return self._documents.query(filters)

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        with explained(self.url, "write a label"):
            self._documents.label(incident_id, label, note, at_ns)

    def watermark(self, job: str) -> int | None:
        with explained(self.url, "read a watermark"):
            return self._documents.watermark(job)

    def set_watermark(self, job: str, time_ns: int) -> None:
        with explained(self.url, "write a watermark"):
            self._documents.set_watermark(job, time_ns)

    def compact(self, before: int | None = None) -> int:
        with explained(self.url, "join segments"):
            landing.bring_in(self._lake)
            joining.sweep(self._lake, self._clock)
            return joining.compact(self._lake, before)

    def retain(self, kind: str, since: int) -> int:
        shapes.schema(kind)
        with explained(self.url, "drop segments"):
            return joining.retain(self._lake, kind, since)
