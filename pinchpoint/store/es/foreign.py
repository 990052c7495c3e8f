"""Read what others shipped into the same cluster: logs, metrics, spans, events and steps that are no documents of ours."""

import functools
import threading
import urllib.parse
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.clock import Clock
from pinchpoint.errors import StoreError
from pinchpoint.store.base import SetAside, Split
from pinchpoint.store.es import foreign_files, names
from pinchpoint.store.es.address import Address
from pinchpoint.store.es.counting import by_time
from pinchpoint.store.es.documents import time_texts
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.export import Page, export
from pinchpoint.store.es.foreign_decoding import Misfit, decode
from pinchpoint.store.es.foreign_entries import Query
from pinchpoint.store.incoming import times_of
from pinchpoint.store.repeats import Integers

#: So many documents that are no records are told apart, of each reason; more are only known to be more.
_MOST_ASIDE = 10_000
_LAST_NS = 2**63 - 1

#: What pinchpoint itself wrote, under any namespace: a pattern such as `metrics-*` finds that too, and it is read as what it is.
_OWN = [*(f"*{name}-*" for name in names.ALL_STREAMS), *(f"{name}-*" for name in names.ALL_INDICES)]


class _Known:
    """What a process knows of the patterns of one address; workers open the store anew for each slice."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.aside: dict[tuple[str, str], set[str]] = {}
        self.empty: list[str] = []
        self.target: str | None = None
        """What is searched; None until somebody looked what there is."""


@functools.lru_cache(16)
def _known(door: Door, address: Address) -> _Known:
    return _Known()


class ForeignReader:
    """Reads documents of others as records, by mappings.

    An `event.id` is the document's index and `_id`. Times are from 1970 to 2262, as records have them; other documents are not read.
    """

    def __init__(self, door: Door, address: Address, clock: Clock) -> None:
        """Raises: MappingFileError."""
        self._door, self._clock, self._patterns = door, clock, address.indices
        self._entries = foreign_files.load(address.mapping)
        self._known = _known(door, address)

    def count(self, kind: str, start: int | None, end: int | None, bucket_ns: int) -> tuple[Integers, Integers]:
        """How many documents may be records of a kind in which buckets of time: their numbers since 1970, and the counts.

        Raises: StoreError when no pattern matches anything, or a time is no date.
        """
        target = self._look()
        parts = [part for time in self._entries.times(kind)
                 for part in by_time(self._door, target, self._query(kind, time, start, end), time, bucket_ns)]
        none = np.zeros(0, np.int64)
        buckets = np.concatenate([none, *(part for part, _ in parts)])
        self._still_there(target, len(buckets))
        return buckets, np.concatenate([none, *(part for _, part in parts)])

    def read(self, split: Split, columns: Sequence[str]) -> pa.Table:
        """The records of a slice with some columns, in no order."""
        target = self._known.target or self._look()
        wanted = list(dict.fromkeys([*columns, "@timestamp"]))
        search = {"_source": False, "fields": [
            *({"field": time, "format": "strict_date_optional_time_nanos"} for time in self._entries.times(split.kind)),
            *(name for name in self._entries.asked(split.kind, wanted) if name not in self._entries.times(split.kind))]}

        def use(page: Page) -> pa.Table:
            table, wrong = decode(self._entries, split.kind, wanted, page.hits)
            self._set_aside(wrong)
            return table

        queries = [self._query(split.kind, time, split.start, split.end) for time in self._entries.times(split.kind)]
        if not queries or split.end <= 0:
            return records.schema(split.kind, columns).empty_table()
        pages = export(self._door, target, {**search, "query": {"bool": {"should": queries, "minimum_should_match": 1}}}, use,
                       self._clock, named=True)
        table = pa.concat_tables([records.schema(split.kind, wanted).empty_table(), *pages])
        self._still_there(target, sum(page.num_rows for page in pages))
        times = times_of(table)
        # of a document that fits two entries, the time that counts may be another than the one it was found by
        inside = (times >= split.start) & (times < split.end)
        return (table if inside.all() else table.filter(pa.array(inside))).select(list(columns))

    def set_aside(self) -> list[SetAside]:
        """What was read and is no record, and patterns that find nothing."""
        known = self._known
        with known.lock:
            empty = [SetAside(pattern, f"matches no index, data stream or alias of {self._door.server}", 0) for pattern in known.empty]
            wrong = sorted(known.aside.items())
            return empty + [SetAside(where, f"{reason}; one is {min(ids)}", len(ids)) for (where, reason), ids in wrong]

    def _set_aside(self, wrong: Sequence[Misfit]) -> None:
        with self._known.lock:
            for where, reason, identity in wrong:
                ids = self._known.aside.setdefault((where, reason), set())
                if len(ids) < _MOST_ASIDE:
                    ids.add(identity)

    def _query(self, kind: str, time: str, start: int | None, end: int | None) -> Query:
        first, last = time_texts([max(start or 0, 0), max(_LAST_NS if end is None else end, 0)])
        query = self._entries.query(kind, time, {"gte": first, "lt": last})
        query["bool"]["must_not"] = [{"wildcard": {"_index": {"value": pattern}}} for pattern in _OWN]
        return query

    def _look(self) -> str:
        """What is to be searched, once the patterns find anything and times are dates."""
        wanted = {pattern: urllib.parse.quote(pattern, safe="*:-") for pattern in self._patterns}
        including = [pattern for pattern in wanted if not pattern.startswith("-")]
        empty = [pattern for pattern in including if not self._capabilities(wanted[pattern], "_none_").get("indices")]
        if len(empty) == len(including):
            raise StoreError(f"no index, data stream or alias of {self._door.server} matches {', '.join(including)}: "
                             "look what there is with GET /_resolve/index/*")
        # a name that is not there would make the search of the others fail; a pattern may find something later
        target = ",".join(text for pattern, text in wanted.items() if pattern not in empty or "*" in pattern)
        times = sorted({time for kind in fields.SHIPPED for time in self._entries.times(kind)})
        found = self._capabilities(target, ",".join(times))
        for time in times:
            for name, of in found.get("fields", {}).get(time, {}).items():
                if name not in ("date", "date_nanos"):
                    where = of.get("indices") or found.get("indices") or []
                    raise StoreError(f"{time} is mapped as {name}, not as date, in {', '.join(where[:3])}: leave "
                                     f"{'it' if len(where) == 1 else 'them'} out with a narrower --index, or with --index '-NAME'")
        with self._known.lock:
            self._known.empty, self._known.target = empty, target
        return target

    def _still_there(self, target: str, found: int) -> None:
        """Tell nothing found from an index that was deleted since, which hides what lies in the others."""
        if not found and "status" in self._capabilities(target, "_none_"):
            raise StoreError(f"an index that --index names was deleted while {self._door.server} was read: analyse again")

    def _capabilities(self, target: str, field: str) -> Query:
        return self._door.call("GET", f"/{target}/_field_caps", expect=(404,), fields=field)
