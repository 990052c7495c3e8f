"""Which files of an hour count, whatever is written, joined or dropped at the same moment.

Listing folders gives no snapshot: a file made or deleted meanwhile may be seen or not. So they are listed twice. What was
there the first time must be there the second time, else files were deleted and we look again. A segment of several hours
counts only if the first time its marker was there, since that is written after its parts: the second time they are all seen.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from pinchpoint import fields
from pinchpoint.errors import SegmentError
from pinchpoint.store import segment
from pinchpoint.store.aside import Aside
from pinchpoint.store.files import Entry, Files
from pinchpoint.store.names import JOINED, Stem, hour_name, parse_data, parse_hour, parse_joined, parse_marker


@dataclasses.dataclass(frozen=True, slots=True)
class Lake:
    """What reading and writing have in common."""

    files: Files
    aside: Aside

    def hours(self, kind: str, start: int | None = None, end: int | None = None) -> list[int]:
        """The hours since 1970 that have a folder, from start (inclusive) to end (exclusive), ascending."""
        numbers = (parse_hour(name) for name in self.files.folders(kind))
        return sorted(hour for hour in numbers if hour is not None and (start is None or hour >= start)
                      and (end is None or hour < end))


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """The files of one hour, by what their names say."""

    entries: Mapping[str, tuple[Entry, Stem, int | None]]
    """By name; with the last hour of the segment when it has several."""
    markers: frozenset[Stem]
    joined: Mapping[int, Entry]
    """By number."""

    def includes(self, earlier: "Listing") -> bool:
        """Whether everything of an earlier listing is there."""
        return (self.entries.keys() >= earlier.entries.keys() and self.markers >= earlier.markers
                and self.joined.keys() >= earlier.joined.keys())


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """A file whose records count."""

    path: str
    stem: Stem | None
    """The version of a segment it holds; None for joined segments."""
    footer: segment.Footer


@dataclasses.dataclass(frozen=True, slots=True)
class Hour:
    """What counts in one hour of a kind, and what does not any more."""

    data: list[Data]
    """Joined segments first, then in the order in which versions were written."""
    versions: dict[str, int]
    """The version that counts of each segment of this hour, also of those that were joined."""
    outdated: list[str]
    """Paths of files that another file stands for."""


def list_hour(files: Files, kind: str, hour: int) -> Listing:
    """The files of one hour as they are named; empty for an hour without a folder."""
    folder = f"{kind}/{hour_name(hour)}"
    entries, markers = {}, set()
    for entry in files.files(folder):
        data, marker = parse_data(entry.name), parse_marker(entry.name)
        if data is not None:
            entries[entry.name] = (entry, *data)
        elif marker is not None:
            markers.add(marker)
    joined = list_joined(files, kind, hour)
    return Listing(entries, frozenset(markers), joined)


def list_joined(files: Files, kind: str, hour: int) -> dict[int, Entry]:
    """The files of joined segments of an hour by their number, the one that counts first."""
    numbered = [(parse_joined(entry.name), entry) for entry in files.files(f"{kind}/{hour_name(hour)}/{JOINED}")]
    return {number: entry for number, entry in sorted(numbered, key=lambda one: -(one[0] or 0)) if number is not None}


def look(lake: Lake, kind: str, hours: Iterable[int]) -> list[Hour]:
    """What counts in some hours of a kind, in their order; a segment counts in all of them or in none.

    Raises: FileNotFoundError when files went away meanwhile; looking again helps.
    """
    numbers = list(hours)
    first = {hour: list_hour(lake.files, kind, hour) for hour in numbers}
    first |= {hour: list_hour(lake.files, kind, hour) for hour in _last_hours(first) - first.keys()}
    second = {hour: list_hour(lake.files, kind, hour) for hour in first}
    if not all(second[hour].includes(first[hour]) for hour in first):
        raise FileNotFoundError(f"files of {kind} were replaced")
    if kind in fields.DERIVED and (any(second[hour].markers != first[hour].markers for hour in first)
                                   or not _last_hours({hour: second[hour] for hour in numbers}) <= first.keys()):
        # a new version may have been declared whole while parts of the one before went away
        raise FileNotFoundError(f"segments of {kind} were written again")
    markers = {hour: listing.markers for hour, listing in first.items()}
    return [_hour(lake, kind, hour, second[hour], markers) for hour in numbers]


def _last_hours(listings: Mapping[int, Listing]) -> set[int]:
    return {last for listing in listings.values() for _, _, last in listing.entries.values() if last is not None}


def _hour(lake: Lake, kind: str, hour: int, listing: Listing, markers: Mapping[int, frozenset[Stem]]) -> Hour:
    folder = f"{kind}/{hour_name(hour)}"
    outdated: list[str] = []
    data: list[Data] = []
    for entry in listing.joined.values():
        path = f"{folder}/{JOINED}/{entry.name}"
        if data:
            outdated.append(path)
        else:
            data += _data(lake, kind, path, entry, None)
    joined = data[0].footer.joined if data else {}
    versions = dict(joined)
    for _, stem, last in listing.entries.values():
        if last is None or stem in markers.get(last, ()):
            versions[stem.segment] = max(stem.version, versions.get(stem.segment, 0))
    for entry, stem, last in sorted(listing.entries.values(), key=lambda one: (one[1].version, one[1].segment)):
        path = f"{folder}/{entry.name}"
        if stem.version < versions.get(stem.segment, 0) or stem.version <= joined.get(stem.segment, -1):
            outdated.append(path)
        elif last is None or stem in markers.get(last, ()):
            data += _data(lake, kind, path, entry, stem)
    return Hour(data, versions, outdated)


def _data(lake: Lake, kind: str, path: str, entry: Entry, stem: Stem | None) -> list[Data]:
    """A file with its footer; none when it is set aside."""
    if lake.aside.holds(path):
        return []
    try:
        return [Data(path, stem, segment.footer(lake.files, path, entry, kind))]
    except SegmentError as error:
        lake.aside.put(path, str(error))
        return []
