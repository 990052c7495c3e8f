"""Back up the results of a lake and put them back, file by file."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence

import pinchpoint
from pinchpoint import fields
from pinchpoint.backup import contents, manifest
from pinchpoint.backup.copying import Advance, check_inside, checksum, copy, delete_tree, explained, walk
from pinchpoint.backup.manifest import LAKE, SETTINGS_FILE, File, Manifest
from pinchpoint.clock import NS, Clock, format_time
from pinchpoint.errors import StoreError, UsageError
from pinchpoint.store.files import Files

_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_TRIES = 100
_OTHER = "Choose another: pinchpoint backup --list"


@dataclasses.dataclass(frozen=True, slots=True)
class Backup:
    """A backup that lies at a place."""

    name: str
    made: Manifest | None
    """None when it was not finished."""
    problem: str | None = None
    """Why its manifest cannot be read."""

    @property
    def state(self) -> str:
        """For people."""
        return "finished" if self.made else "damaged" if self.problem else "not finished"

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(one.size for one in self.made.files) if self.made else 0


def back_up(source: Files, place: Files, clock: Clock, advance: Advance, *, settings: bytes | None = None,
            with_records: bool = False) -> Backup:
    """Copy what is in a lake into a new folder of a place, or go on with one that was not finished.

    Args:
        source: the lake; it may be written to meanwhile.
        place: where backups lie, outside the lake.
        clock: for the name.
        advance: told of the bytes done.
        settings: content of the settings file.
        with_records: whether shipped records are copied too.
    Raises: StoreError when it cannot be finished; what was copied is used by the next call. UsageError for a place inside the lake.
    """
    if f"{place.root}/".startswith(f"{source.root}/"):
        raise UsageError(f"{place.root} lies inside the lake: what destroys one would destroy both. Name another place: --to")
    with explained(place, "write the backup to"), place.locked():
        name = _unfinished(place) or _new_name(place, clock)
        files = _copy_all(source, place, name, tuple(fields.KINDS) if with_records else fields.DERIVED, advance)
        if settings is not None:
            place.put(f"{name}/{SETTINGS_FILE}", settings)
            files.append(File(SETTINGS_FILE, len(settings), checksum(place, f"{name}/{SETTINGS_FILE}")))
        made = Manifest(format_time(clock.now_ns()), source.root, pinchpoint.__version__, with_records, sorted(files))
        verify(place, name, made, advance)
        for path in set(walk(place, name)) - {f"{name}/{one.path}" for one in files}:
            place.delete(path)  # of a try before this one
        place.put(f"{name}/{manifest.NAME}", made.encode())
    return Backup(name, made)


def _copy_all(source: Files, place: Files, name: str, kinds: Sequence[str], advance: Advance) -> list[File]:
    def one(path: str) -> File:
        return copy(source, path, place, f"{name}/{LAKE}/{path}", advance)._replace(path=f"{LAKE}/{path}")

    def some(paths: Iterator[str]) -> Iterator[File]:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # set aside or forgotten meanwhile
                yield one(path)

    files = list(some(contents.documents(source)))
    for kind in kinds:
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):
                files += [one(path) for path in contents.segments(source, kind)]
                break
        else:
            raise StoreError(f"files of {kind} in {source.root} are replaced faster than they can be copied. "
                             "Call it while the analysis pauses")
        files += some(contents.pointers(source, kind))
    return files


def verify(place: Files, name: str, made: Manifest, advance: Advance) -> None:
    """Make sure that every file of a backup is as its manifest says. Raises: StoreError that names the first that is not."""
    for one in made.files:
        path = f"{name}/{one.path}"
        check_inside(place, path)
        try:
            found = checksum(place, path)
        except FileNotFoundError as error:
            raise StoreError(f"{place.root}/{path} is missing: this backup cannot be restored. {_OTHER}") from error
        if found != one.sha256:
            raise StoreError(f"{place.root}/{path} is not what was written, its checksum differs: this backup cannot be restored. "
                             f"{_OTHER}")
        advance(one.size)


def backups(place: Files) -> list[Backup]:
    """Every backup at a place, the oldest first; those that were not finished come last."""
    found = [_backup(place, name) for name in place.folders("") if _NAME.fullmatch(name)]
    return sorted(found, key=lambda one: (one.made is None, one.made.made if one.made else "", one.name))


def choose(place: Files, name: str | None) -> tuple[Backup, Manifest]:
    """The backup of a name with its manifest, or the newest that was finished.

    Raises: StoreError when there is none, with what to do.
    """
    found = backups(place)
    if name is not None:
        found = [one for one in found if one.name == name]
    for one in reversed(found):
        if one.made is not None:
            return one, one.made
    for one in found:
        if one.problem is not None:
            raise StoreError(one.problem)
        raise StoreError(f"the backup {one.name} in {place.root} was not finished and cannot be restored. Finish it with: pinchpoint "
                         f"backup --to {place.root}; or choose another: pinchpoint backup --list --to {place.root}")
    raise StoreError(f"there is no backup {name or ''} in {place.root}".rstrip().replace("  ", " ")
                     + f". List them with: pinchpoint backup --list --to {place.root}")


def prune(place: Files, keep: int) -> list[str]:
    """Delete all finished backups but the newest; returns the names of those deleted."""
    with explained(place, "delete old backups in"), place.locked():
        old = [one.name for one in backups(place) if one.made is not None][:-keep]
        for name in old:
            place.delete(f"{name}/{manifest.NAME}")  # first: what is half deleted must not be taken for a backup
            delete_tree(place, name)
    return old


def _backup(place: Files, name: str) -> Backup:
    path = f"{name}/{manifest.NAME}"
    try:
        check_inside(place, path)
        return Backup(name, manifest.decode(place.read(path), f"{place.root}/{path}"))
    except FileNotFoundError:
        return Backup(name, None)
    except StoreError as error:
        return Backup(name, None, str(error))


def _unfinished(place: Files) -> str | None:
    return next((one.name for one in reversed(backups(place)) if one.made is None and one.problem is None), None)


def _new_name(place: Files, clock: Clock) -> str:
    taken, number = set(place.folders("")), 1
    first = name = format_time(clock.now_ns() // NS * NS).replace("-", "").replace(":", "")
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    return name
