"""Read slices of the lake: each record once, in the memory that a slice needs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pinchpoint import fields
from pinchpoint.errors import SegmentError, StoreError
from pinchpoint.store import segment
from pinchpoint.store.incoming import times_of
from pinchpoint.store.names import HOUR_NS, Stem, parse_stem
from pinchpoint.store.repeats import Integers, first_of_each, last_of_each
from pinchpoint.store.visible import Data, Hour, Lake, look

T = TypeVar("T")

_TRIES = 50


def patiently(lake: Lake, attempt: Callable[[], T]) -> T:
    """Repeat what joining, dropping or setting aside at the same moment disturbed.

    Raises: StoreError when it is disturbed every time.
    """
    gone: OSError | None = None
    for _ in range(_TRIES):
        try:
            return attempt()
        except FileNotFoundError as error:
            gone = error
    raise StoreError(f"cannot read {lake.files.root}: files go away as fast as they are listed ({gone})") from gone


def look_patiently(lake: Lake, kind: str, hour: int) -> Hour:
    """What counts in one hour of a kind."""
    return patiently(lake, lambda: look(lake, kind, [hour])[0])


def load(lake: Lake, kind: str, columns: Sequence[str], start: int, end: int) -> pa.Table:
    """The records of a slice (UTC ns), each once, with the columns as `segment.disk_schema` has them.

    Raises: OSError when the lake cannot be read.
    """
    def attempt() -> pa.Table:
        numbers = lake.hours(kind, start // HOUR_NS, -(-end // HOUR_NS))
        hours = look(lake, kind, numbers)
        if lake.hours(kind, start // HOUR_NS, -(-end // HOUR_NS)) != numbers:  # a part of what counts may lie in a new hour
            raise FileNotFoundError(f"hours of {kind} came or went")
        if not _may_repeat(kind, hours, start, end):
            parts = read_parts(lake, kind, hours, columns, start, end)
            return pa.concat_tables([_empty(kind, columns), *(part.select(columns) for part in parts)])
        wanted = list(dict.fromkeys([*columns, "@timestamp", "event.id"]))
        return each_once(kind, read_parts(lake, kind, hours, wanted, start, end), wanted).select(columns)

    return patiently(lake, attempt)


def _may_repeat(kind: str, hours: Sequence[Hour], start: int, end: int) -> bool:
    """Whether a slice can hold a record twice: one file of a shipped kind never does, nor one version of a segment."""
    files = [(hour, data) for hour in hours for data in hour.data if _overlaps(data, start, end)]
    return len(files) > 1 or (kind in fields.DERIVED and any(data.stem is None for _, data in files))


def _overlaps(data: Data, start: int, end: int) -> bool:
    return any(first < end and last >= start for first, last, _ in data.footer.groups)


def _empty(kind: str, columns: Sequence[str]) -> pa.Table:
    schema = segment.disk_schema(kind)
    return pa.schema([schema.field(name) for name in columns]).empty_table()


def read_parts(lake: Lake, kind: str, hours: Sequence[Hour], columns: Sequence[str], start: int, end: int) -> list[pa.Table]:
    """What each file that counts holds of a slice; of derived kinds with `segment.STEM` besides.

    Raises: FileNotFoundError when a file went away, or was found damaged and is set aside now.
    """
    parts, damaged = [], None
    for hour in hours:
        for data in hour.data:
            if _overlaps(data, start, end):
                try:
                    parts.append(_part(lake, kind, hour, data, columns, start, end))
                except SegmentError as error:
                    lake.aside.put(data.path, str(error), data.footer.rows)
                    damaged = data.path
    if damaged is not None:
        raise FileNotFoundError(damaged)
    return parts


def _part(lake: Lake, kind: str, hour: Hour, data: Data, columns: Sequence[str], start: int, end: int) -> pa.Table:
    if kind not in fields.DERIVED:
        return segment.read(lake.files, data.path, data.footer, kind, columns, start, end)
    if data.stem is not None:
        table = segment.read(lake.files, data.path, data.footer, kind, columns, start, end)
        stem = pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows, np.int32)), pa.array([str(data.stem)]))
        return table.append_column(segment.STEM, stem)
    table = segment.read(lake.files, data.path, data.footer, kind, [*columns, segment.STEM], start, end)
    current = _of_stems(table, lambda stem: int(hour.versions[stem.segment] == stem.version)).astype(np.bool_)
    return table if current.all() else table.filter(pa.array(current))


def _of_stems(table: pa.Table, value: Callable[[Stem], int]) -> Integers:
    """A value for each record by the version of the segment it came from."""
    values = [np.zeros(0, np.int64)]
    for chunk in table.column(segment.STEM).chunks:
        of_stems = np.array([value(parse_stem(text)) for text in chunk.dictionary.to_pylist()], np.int64)
        values.append(of_stems[chunk.indices.to_numpy()])
    return np.concatenate(values)


def each_once(kind: str, parts: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    """The columns, with `@timestamp` and `event.id`, of all parts without repeated records; of derived ones the last version stays."""
    table = pa.concat_tables([_empty(kind, columns), *(part.select(columns) for part in parts)])
    ids = pa.concat_arrays(table.column("event.id").chunks)
    if kind in fields.DERIVED:
        versions = np.concatenate([np.zeros(0, np.int64), *(_of_stems(part, lambda stem: stem.version) for part in parts)])
        keep = last_of_each(ids, times_of(table), versions)
    else:
        keep = first_of_each(ids, times_of(table))
    return table if keep is None else table.filter(pa.array(keep))
