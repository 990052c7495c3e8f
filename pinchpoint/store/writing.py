"""Write a segment into the lake: one file for each hour, all of them or none."""

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.errors import SegmentError
from pinchpoint.store import segment
from pinchpoint.store.incoming import by_hour
from pinchpoint.store.names import JOINED, WHOLE, Stem, data_name, hour_name, parse_hour
from pinchpoint.store.visible import Lake, Listing, list_hour, list_joined

SEGMENTS = "_segments"
"""The folder of a derived kind that keeps, for each segment, its version and the hours it lies in."""


def write(lake: Lake, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
    """Write a prepared batch unless its segment is there; a segment of a derived kind is replaced.

    Raises: OSError when the lake cannot be written.
    """
    if kind in fields.DERIVED:
        _replace(lake, kind, by_hour(batch), segment_id)
        return
    parts, stem = by_hour(batch), Stem(segment_id)
    if not parts:
        return
    # what was joined since is written again here and does not count: the joined file stands for it
    last = f"{kind}/{hour_name(max(parts))}"
    if lake.files.entry(f"{last}/{stem}{WHOLE}" if len(parts) > 1 else f"{last}/{data_name(stem, None)}") is None:
        _put(lake, kind, stem, parts)


def _joined(lake: Lake, kind: str, hour: int) -> Mapping[str, int]:
    """The segments of an hour that were joined, with their versions."""
    folder = f"{kind}/{hour_name(hour)}/{JOINED}"
    while found := list_joined(lake.files, kind, hour):
        entry = next(iter(found.values()))
        try:
            return segment.footer(lake.files, f"{folder}/{entry.name}", entry, kind).joined
        except FileNotFoundError:  # joined again meanwhile
            continue
        except SegmentError as error:
            lake.aside.put(f"{folder}/{entry.name}", str(error))
    return {}


def _put(lake: Lake, kind: str, stem: Stem, parts: Mapping[int, pa.RecordBatch]) -> None:
    """Write the files of a segment, then, when there are several, what declares them whole."""
    last = max(parts)
    for hour, part in parts.items():
        name = data_name(stem, last if len(parts) > 1 else None)
        lake.files.put(f"{kind}/{hour_name(hour)}/{name}", segment.encode(kind, pa.Table.from_batches([part])))
    if len(parts) > 1:
        lake.files.put(f"{kind}/{hour_name(last)}/{stem}{WHOLE}", b"")


def _replace(lake: Lake, kind: str, parts: Mapping[int, pa.RecordBatch], segment_id: str) -> None:
    """Write a new version of a segment; an hour that only the version before has gets an empty file, so that it counts there."""
    path = f"{kind}/{SEGMENTS}/{segment_id}.json"
    version, hours_before = _pointer(lake, path)
    listings = {hour: list_hour(lake.files, kind, hour) for hour in sorted({*parts, *hours_before})}
    joined = {hour: _joined(lake, kind, hour) for hour in listings}
    for hour, listing in listings.items():
        # later than all that is there: of the same record in two segments the last one written counts
        version = max(version, *joined[hour].values(), *(stem.version for _, stem, _ in listing.entries.values()), 0)
    stem = Stem(segment_id, version + 1)
    empty = records.batch(kind, {"@timestamp": []})
    whole = {hour: parts.get(hour, empty) for hour in listings
             if hour in parts or _holds(listings[hour], segment_id) or segment_id in joined[hour]}
    if not whole:
        return
    # before anything else, so that whoever writes next knows all hours that this attempt may have touched
    lake.files.put(path, json.dumps({"version": stem.version, "hours": [hour_name(hour) for hour in whole]}).encode())
    _put(lake, kind, stem, whole)
    _delete_before(lake, kind, stem, {hour: listings[hour] for hour in whole})


def _pointer(lake: Lake, path: str) -> tuple[int, list[int]]:
    """The version and the hours of a segment as last written; a damaged pointer is set aside."""
    try:
        about = json.loads(lake.files.read(path))
        hours = [parse_hour(name) for name in about["hours"]]
        return int(about["version"]), [hour for hour in hours if hour is not None]
    except FileNotFoundError:
        return 0, []
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        lake.aside.put(path, f"no list of a segment's hours: {error}")
        return 0, []


def _holds(listing: Listing, segment_id: str) -> bool:
    return any(stem.segment == segment_id for _, stem, _ in listing.entries.values())


def _delete_before(lake: Lake, kind: str, stem: Stem, listings: Mapping[int, Listing]) -> None:
    for hour, listing in listings.items():
        folder = f"{kind}/{hour_name(hour)}"
        old = [name for name, (_, one, _) in listing.entries.items() if _is_before(one, stem)]
        old += [f"{one}{WHOLE}" for one in listing.markers if _is_before(one, stem)]
        for name in old:
            lake.files.delete(f"{folder}/{name}")


def _is_before(one: Stem, stem: Stem) -> bool:
    return one.segment == stem.segment and one.version < stem.version


def forget(lake: Lake, kind: str, dropped: Iterable[int]) -> None:
    """Delete the lists of hours of segments that lie in dropped hours alone."""
    gone = set(dropped)
    for entry in lake.files.files(f"{kind}/{SEGMENTS}"):
        path = f"{kind}/{SEGMENTS}/{entry.name}"
        if set(_pointer(lake, path)[1]) <= gone:
            lake.files.delete(path)
