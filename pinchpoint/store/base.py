"""The contract every store keeps."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pinchpoint.errors import UsageError

if TYPE_CHECKING:  # light shippers ask for a store's name without loading Arrow
    import pyarrow as pa


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Split:
    """One slice of time of one kind: what one worker reads at a time.

    Slices do not overlap and together cover what was asked for; start is inclusive, end is not (UTC ns).
    """

    kind: str
    start: int
    end: int
    records: int
    """How many records the store expects in it, at most; repeated ones count."""


@dataclasses.dataclass(frozen=True, slots=True)
class SetAside:
    """A segment that could not be read and was moved where it can be looked at."""

    path: str
    reason: str
    records: int | None
    """How many records it held; None when that cannot be told."""


@dataclasses.dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents are asked for; None means any."""

    category: str | None = None
    cause: str | None = None
    host: str | None = None
    run: str | None = None
    since: int | None = None
    """UTC ns: incidents that ended at or after this."""
    until: int | None = None
    """UTC ns: incidents that started before this."""
    limit: int = 100


class Store(Protocol):
    """Keeps records and incidents.

    Reading returns every record exactly once, also after a crash and after a repeated write: a segment written again is
    ignored, and so is a record whose `event.id` and `@timestamp` were written before. Derived kinds (`fields.DERIVED`) are the
    exception: writing the segment again replaces it, and of records with the same `event.id` the last one written is kept.
    """

    url: str

    def append(self, kind: str, batch: "pa.RecordBatch", segment_id: str) -> None:
        """Write a batch as one segment, whole or not at all.

        Args:
            kind: a key of `fields.KINDS`.
            batch: of exactly `records.schema(kind)`.
            segment_id: chosen, and written down, by the writer before it writes: letters, digits, `-`, `_`, `.`.
        Raises: RecordError for a batch of another schema; StoreError when the store cannot write.
        """

    def splits(self, kind: str, start: int | None = None, end: int | None = None, *, align_s: float = 300.0,
               records: int = 1_000_000) -> list[Split]:
        """Slices of time that cover the records of a kind, oldest first.

        Args:
            kind: a key of `fields.KINDS`.
            start: UTC ns, inclusive; None from the first record on.
            end: UTC ns, exclusive; None to the last record.
            align_s: slices begin and end at multiples of this since 1970, so that no window is cut; slices in which nothing
                lies are left out.
            records: neighbouring slices are joined up to about this many records.
        """

    def read(self, split: Split, columns: Sequence[str] | None = None) -> Iterator["pa.RecordBatch"]:
        """The records of a slice, each once, in any order, as batches of `records.schema(kind, columns)`.

        A segment that is torn or corrupt is set aside (see `set_aside`), the rest is read.
        """

    def set_aside(self) -> list[SetAside]:
        """Every segment that was found unreadable so far."""

    def put_incident(self, incident: dict[str, Any]) -> None:
        """Keep an incident under its `id`, in the place of an earlier one with that id; labels stay."""

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident by its id or by the beginning of it, with `labels`.

        Raises: IncidentNotFound when there is none, or more than one.
        """

    def query_incidents(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        """Incidents that pass every filter, with `labels`, latest start first, then by id."""

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        """Attach what a person says of an incident; a label given twice is kept once, the later note counts.

        Raises: IncidentNotFound when there is no such incident.
        """

    def watermark(self, job: str) -> int | None:
        """Up to where (UTC ns of event time) a job has analysed; None before its first run."""

    def set_watermark(self, job: str, time_ns: int) -> None:
        """Remember up to where a job has analysed."""

    def compact(self, before: int | None = None) -> int:
        """Join small segments and drop repeated records; readers notice nothing. Returns how many segments were joined."""

    def retain(self, kind: str, since: int) -> int:
        """Drop the records of a kind from before a time (UTC ns), in whole hours. Returns how many segments were dropped."""


def open_store(url: str) -> Store:
    """The store at `memory:`, a path, `s3://…` or `https://…`, which is Elasticsearch.

    Raises: UsageError for a URL of no known kind.
    """
    if url.startswith("memory:"):
        from pinchpoint.store.memory import find

        return find(url)
    scheme, colon, _ = url.partition("://")
    if colon and scheme in ("http", "https"):
        from pinchpoint.store.elastic import ElasticStore

        return ElasticStore(url)
    if colon and scheme not in ("file", "s3", "gs"):
        raise UsageError(f"no store at {url!r}: expected a path, file://…, s3://…, gs://…, https://… or memory:")
    from pinchpoint.store.lake import LakeStore

    return LakeStore(url)
