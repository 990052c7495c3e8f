"""Join the small segments of an hour into one, and drop hours."""

import functools

import numpy as np
import pyarrow as pa

from pinchpoint import fields
from pinchpoint.clock import NS, Clock
from pinchpoint.store import segment
from pinchpoint.store.files import TEMPORARY
from pinchpoint.store.incoming import times_of
from pinchpoint.store.names import HOUR_NS, JOINED, PARQUET, hour_name, joined_name
from pinchpoint.store.reading import each_once, patiently, read_parts
from pinchpoint.store.slices import cut
from pinchpoint.store.visible import Hour, Lake, list_joined, look
from pinchpoint.store.writing import forget

JOIN_RECORDS = 1 << 19  # held in memory at a time while an hour is joined
ABANDONED_NS = 24 * 3600 * NS


def compact(lake: Lake, before: int | None) -> int:
    """Join the segments of each hour that ended before a time (UTC ns), None for every hour; returns how many were joined.

    The order makes a crash harmless: the joined file appears at once and says what it stands for; only then are those deleted.
    """
    joined = 0
    with lake.files.locked():
        for kind in fields.KINDS:
            for hour in lake.hours(kind, None, None if before is None else before // HOUR_NS):
                joined += patiently(lake, functools.partial(_join, lake, kind, hour))
    return joined


def _join(lake: Lake, kind: str, number: int) -> int:
    [hour] = look(lake, kind, [number])
    outdated, joined = hour.outdated, 0
    if len(hour.data) > 1:
        _write_joined(lake, kind, number, hour)
        outdated = outdated + [data.path for data in hour.data]
        joined = len(hour.data)
    for path in outdated:
        lake.files.delete(path)
    return joined


def _write_joined(lake: Lake, kind: str, number: int, hour: Hour) -> None:
    schema = segment.disk_schema(kind)
    columns = list(schema.names)
    if kind in fields.DERIVED:
        schema = schema.append(pa.field(segment.STEM, pa.dictionary(pa.int32(), pa.string())))
    buckets = np.concatenate([data.footer.buckets for data in hour.data])
    counts = np.concatenate([data.footer.counts for data in hour.data])
    slices = cut(kind, buckets, counts, segment.BUCKET_NS, start=None, end=None, align_s=segment.BUCKET_NS / NS, records=JOIN_RECORDS)
    with lake.files.scratch() as scratch:
        writer = segment.SegmentWriter(kind, str(scratch), schema)
        for one in slices:
            parts = read_parts(lake, kind, [hour], columns, one.start, one.end)
            # which version of a derived record counts is told when it is read: a later one may be taken back
            table = pa.concat_tables(parts) if kind in fields.DERIVED else each_once(kind, parts, columns)
            writer.write(table.take(pa.array(np.argsort(times_of(table), kind="stable"))).select(schema.names))
        writer.close(hour.versions)
        segment.seal(scratch)
        following = max(list_joined(lake.files, kind, number), default=0) + 1
        lake.files.adopt(scratch, f"{kind}/{hour_name(number)}/{JOINED}/{joined_name(following)}")


def retain(lake: Lake, kind: str, since: int) -> int:
    """Drop the hours of a kind that ended before a time (UTC ns), the oldest first; returns how many segments were dropped."""
    with lake.files.locked():
        hours = lake.hours(kind, None, since // HOUR_NS)
        dropped = sum(_drop(lake, kind, hour) for hour in hours)
        if hours and kind in fields.DERIVED:
            forget(lake, kind, hours)
    return dropped


def _drop(lake: Lake, kind: str, hour: int) -> int:
    folder = f"{kind}/{hour_name(hour)}"
    dropped = 0
    for place in (f"{folder}/{JOINED}", folder):
        for entry in lake.files.files(place):
            lake.files.delete(f"{place}/{entry.name}")
            dropped += entry.name.endswith(PARQUET)
        lake.files.delete_folder(place)
    return dropped


def sweep(lake: Lake, clock: Clock) -> None:
    """Delete what writers that were killed a day ago left unfinished."""
    for entry in lake.files.files(TEMPORARY):
        if entry.mtime_ns < clock.now_ns() - ABANDONED_NS:
            lake.files.delete(f"{TEMPORARY}/{entry.name}")
