"""Find the files that paths and globs mean, with their rotated siblings, at next to no cost while nothing changes."""

import dataclasses
import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence

from shippers.tail.carrier import GZIP_SUFFIX
from shippers.tail.settings import FileSet

_ROTATED = re.compile(r"(?:[.-]\d[\dT:_.-]*|\.(?:old|bak|orig|prev))$")
_WILD = re.compile(r"[*?\[]")

Place = tuple[int, int]
"""Device and inode."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A file that is there now."""

    path: str
    place: Place
    family: str
    """The path of the live file that this one is, or was rotated from."""
    asked_for: bool
    """Whether a configured path means this name itself, rather than the live file it was rotated from."""
    files: FileSet


def family_of(name: str) -> str:
    """The name of the live file that a rotated one came from; a live one's own name.

    >>> family_of("app.log.2.gz"), family_of("app.log-20260101"), family_of("app.log")
    ('app.log', 'app.log', 'app.log')
    """
    name = name.removesuffix(GZIP_SUFFIX)
    while (shorter := _ROTATED.sub("", name)) != name and shorter:
        name = shorter
    return name


class Discovery:
    """Lists folders; asks about a file only when its folder shows another inode under its name."""

    def __init__(self, sets: Sequence[FileSet]) -> None:
        self._patterns = [(os.path.dirname(path), re.compile(fnmatch.translate(os.path.basename(path))), files)  # noqa: PTH119, PTH120
                          for files in sets for path in files.paths]
        self._known: dict[str, dict[str, tuple[int, Seen | None]]] = {}
        self.errors = 0
        """Folders and files that could not be looked at."""

    def scan(self) -> dict[Place, Seen]:
        """Every file there is now, once, by its place."""
        found: dict[Place, Seen] = {}
        folders: dict[str, list[tuple[re.Pattern[str], FileSet]]] = {}
        for parent, name, files in self._patterns:
            for folder in glob.glob(parent, recursive=True) if _WILD.search(parent) else [parent]:  # noqa: PTH207
                folders.setdefault(folder, []).append((name, files))
        for gone in self._known.keys() - folders.keys():
            del self._known[gone]
        for folder, patterns in folders.items():
            for seen in self._folder(folder, patterns):
                before = found.get(seen.place)
                if before is None or (seen.asked_for and not before.asked_for):
                    found[seen.place] = seen
        return found

    def _folder(self, folder: str, patterns: list[tuple[re.Pattern[str], FileSet]]) -> Iterator[Seen]:
        known = self._known.get(folder, {})
        now: dict[str, tuple[int, Seen | None]] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    # the number in the listing is a hint only: on overlay file systems it is not the inode's
                    number = -1 if entry.is_symlink() else entry.inode()
                    before = known.get(entry.name)
                    if before is not None and before[0] == number >= 0:
                        now[entry.name] = before
                    elif (meaning := _meaning(entry.name, patterns)) is None:
                        now[entry.name] = number, None
                    elif (seen := self._look(folder, entry.name, *meaning)) is not None:
                        now[entry.name] = number, seen
        except FileNotFoundError:
            now = {}
        except OSError:  # the file system went away: what was there is taken to be there still
            self.errors += 1
            now = known
        self._known[folder] = now
        return (seen for _, seen in now.values() if seen is not None)

    def _look(self, folder: str, name: str, asked_for: bool, files: FileSet) -> Seen | None:
        path = os.path.join(folder, name)  # noqa: PTH118
        try:
            about = os.stat(path)  # noqa: PTH116
        except FileNotFoundError:
            return None
        except OSError:
            self.errors += 1
            return None
        if not stat.S_ISREG(about.st_mode):
            return None
        family = os.path.join(folder, family_of(name))  # noqa: PTH118
        return Seen(path, (about.st_dev, about.st_ino), family, asked_for, files)


def _meaning(name: str, patterns: list[tuple[re.Pattern[str], FileSet]]) -> tuple[bool, FileSet] | None:
    """Whether a name is asked for, and by which set; None for a file that nobody wants."""
    live = family_of(name)
    for pattern, files in patterns:
        if pattern.match(name):
            return True, files
    for pattern, files in patterns:
        if live != name and pattern.match(live):
            return False, files
    return None
