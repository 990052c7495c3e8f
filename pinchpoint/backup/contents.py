"""Which files of a lake make up its results at one moment, while others write."""

from collections.abc import Iterator

from pinchpoint import fields
from pinchpoint.store.documents import INCIDENTS, LABELS, WATERMARKS
from pinchpoint.store.files import Files
from pinchpoint.store.names import JOINED, WHOLE, hour_name, parse_hour, parse_marker
from pinchpoint.store.visible import Listing, list_hour
from pinchpoint.store.writing import SEGMENTS


def documents(files: Files) -> Iterator[str]:
    """Watermarks, labels and incidents, in this order: what is copied first may only be older than what it speaks of.

    A watermark behind its results is caught up by the next analysis, and a label always has its incident.
    """
    yield from _folder(files, WATERMARKS)
    for incident in files.folders(LABELS):
        yield from _folder(files, f"{LABELS}/{incident}")
    yield from _folder(files, INCIDENTS)


def pointers(files: Files, kind: str) -> Iterator[str]:
    """The lists of hours of the segments of a derived kind.

    Each is written before the files it speaks of, so copied after these were listed it knows of all of them.
    """
    yield from _folder(files, f"{kind}/{SEGMENTS}")


def segments(files: Files, kind: str) -> list[str]:
    """The segment files of a kind as they were at one moment, by the reasoning of `visible.py` over all of its hours.

    Raises: FileNotFoundError when files were replaced meanwhile; listing again helps.
    """
    first, second = _hours(files, kind), _hours(files, kind)
    for hour, listing in first.items():
        if hour not in second or not second[hour].includes(listing):
            raise FileNotFoundError(f"files of {kind} were replaced")
    if kind in fields.DERIVED and any(listing.markers != (first[hour].markers if hour in first else frozenset())
                                      for hour, listing in second.items()):
        raise FileNotFoundError(f"segments of {kind} were written again")
    found: list[str] = []
    for hour, listing in second.items():
        folder = f"{kind}/{hour_name(hour)}"
        found += [f"{folder}/{name}" for name in listing.entries]
        found += [f"{folder}/{JOINED}/{entry.name}" for entry in listing.joined.values()]
        # the parts of a segment whose marker came between the two listings may not all have been seen
        found += [f"{folder}/{stem}{WHOLE}" for stem in (first[hour].markers if hour in first else ())]
    return found


def _hours(files: Files, kind: str) -> dict[int, Listing]:
    numbers = (parse_hour(name) for name in files.folders(kind))
    return {hour: list_hour(files, kind, hour) for hour in numbers if hour is not None}


def _folder(files: Files, folder: str) -> Iterator[str]:
    for entry in files.files(folder):
        yield f"{folder}/{entry.name}"


def is_marker(path: str) -> bool:
    """Whether a file declares a segment of several hours whole."""
    return parse_marker(path.rpartition("/")[2]) is not None
