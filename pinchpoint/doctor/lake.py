"""All checks of a lake of files; nothing is written or set aside by them."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

from pinchpoint import fields
from pinchpoint.clock import parse_time
from pinchpoint.doctor.arrival import JOB, Newest, arrival
from pinchpoint.doctor.check import Check, Subject, some
from pinchpoint.doctor.disk import room
from pinchpoint.doctor.examine import Look
from pinchpoint.doctor.server import of_error
from pinchpoint.errors import SegmentError, StoreError, UsageError
from pinchpoint.human import size
from pinchpoint.store import segment
from pinchpoint.store.aside import Aside
from pinchpoint.store.documents import WATERMARKS
from pinchpoint.store.files import Files, LocalFiles, explained, open_files
from pinchpoint.store.names import JOINED, hour_name, parse_hour
from pinchpoint.store.visible import list_hour

LANDING = "_landing"
"""Where light writers leave records until the analysis brings them in."""

_MANY_WAITING = 10_000
_ROOM = "make room there, or keep less: [retention] in the settings"


def reach(url: str) -> tuple[Files | None, list[Check]]:
    """Open the files of a lake; None where there are none, with the reason among the checks."""
    try:
        files = open_files(url)
        with explained(files.root, "list the lake"):
            kinds = [kind for kind in files.folders("") if kind in fields.KINDS]
    except (StoreError, UsageError) as error:
        return None, [of_error("lake", error)]
    if not isinstance(files, LocalFiles):
        return files, [Check("lake", "ok", f"{files.root} can be listed.")]
    return files, list(_folder(files, kinds))


def _folder(files: LocalFiles, kinds: list[str]) -> Iterator[Check]:
    root = Path(files.root)
    disk = room(root)
    if not root.exists():
        yield Check("lake", "fault" if not disk.writable else "ok", f"{root} does not exist yet"
                    + ("." if disk.writable else ", and nobody here may make it."),
                    next_step="it is made by the first record: pinchpoint watch -- COMMAND" if disk.writable else
                    "name a folder that you may write to: --store PATH")
    elif not disk.writable:
        yield Check("lake", "fault", f"{root} may not be written to: nothing can be shipped or analysed.",
                    next_step="give this user the right to write there, or name another folder: --store PATH")
    elif disk.is_full:
        yield Check("lake", "fault", f"the disk of {root} is full, {disk}.", next_step=_ROOM)
    elif disk.is_filling:
        yield Check("lake", "warning", f"the disk of {root} is almost full, {disk}.",
                    next_step=_ROOM)
    else:
        yield Check("lake", "ok", f"{root} is writable, {disk}; it holds {', '.join(kinds) or 'nothing yet'}.")


def of_lake(files: Files, subject: Subject) -> dict[str, Look]:
    """Checks that look at the files."""
    return {
        "set aside": functools.partial(_set_aside, files),
        "landing": functools.partial(_landing, files),
        "arrival": functools.partial(_arrival, files, subject),
    }


def _set_aside(files: Files) -> Iterator[Check]:
    found = Aside(files).all()
    if not found:
        yield Check("set aside", "ok", "no file was unreadable.")
        return
    yield Check("set aside", "warning", f"{len(found)} file{'s were' if len(found) != 1 else ' was'} unreadable and set aside; the "
                "records in them are missing.", some([f"{one.path}: {one.reason}" for one in found]),
                "look at the disk (dmesg) if these are new; ship the records again where they still are, then delete the files")


def _landing(files: Files) -> Iterator[Check]:
    waiting = [entry for folder in _walk(files, LANDING) for entry in files.files(folder)]
    if not waiting:
        return
    says = f"{len(waiting):,} files of light writers ({size(sum(one.size for one in waiting))}) wait to be brought in."
    if len(waiting) > _MANY_WAITING:
        yield Check("landing", "warning", says, next_step="pinchpoint analyze")
    else:
        yield Check("landing", "ok", says)


def _walk(files: Files, folder: str) -> Iterator[str]:
    yield folder
    for name in files.folders(folder):
        yield from _walk(files, f"{folder}/{name}")


def _arrival(files: Files, subject: Subject) -> Iterator[Check]:
    damaged: list[str] = []
    found = {}
    for kind in fields.SHIPPED:
        newest_ns = _newest_ns(files, kind, damaged)
        if newest_ns is not None:
            found[kind] = Newest(newest_ns, None)
    if damaged:
        yield Check("segments", "warning", f"{len(damaged)} of the newest files cannot be read; the analysis will set them aside.",
                    some(damaged), "look at the disk (dmesg)")
    yield from arrival(found, _watermark_ns(files), subject.clock.now_ns())


def _newest_ns(files: Files, kind: str, damaged: list[str]) -> int | None:
    """Time of the newest record of a kind, from the newest hour that holds any."""
    hours = sorted((hour for name in files.folders(kind) if (hour := parse_hour(name)) is not None), reverse=True)
    for hour in hours:
        listing = list_hour(files, kind, hour)
        folder = f"{kind}/{hour_name(hour)}"
        paths = [(f"{folder}/{entry.name}", entry) for entry, _, _ in listing.entries.values()]
        paths += [(f"{folder}/{JOINED}/{entry.name}", entry) for entry in listing.joined.values()]
        times = []
        for path, entry in paths:
            try:
                times += [last for _, last, _ in segment.footer(files, path, entry, kind).groups]
            except FileNotFoundError:  # joined meanwhile
                continue
            except SegmentError as error:
                damaged.append(f"{path}: {error}")
        if times:
            return max(times)
    return None


def _watermark_ns(files: Files) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError, LookupError, TypeError):
        about = json.loads(files.read(f"{WATERMARKS}/{JOB}.json"))
        return int(about["time_ns"]) if "time_ns" in about else parse_time(about["time"])
    return None
