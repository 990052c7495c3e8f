"""Put the files of a backup back into a lake."""

import dataclasses
from collections.abc import Sequence

from pinchpoint import fields
from pinchpoint.backup.contents import is_marker
from pinchpoint.backup.copying import Advance, check_inside, checksum, copy, explained, walk
from pinchpoint.backup.lake import verify
from pinchpoint.backup.manifest import LAKE, File, Manifest
from pinchpoint.errors import StoreError
from pinchpoint.store.documents import INCIDENTS, LABELS, WATERMARKS
from pinchpoint.store.files import Files
from pinchpoint.store.writing import SEGMENTS


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to a lake."""

    files: list[File]
    """All files of the backup that belong into the lake, in the order in which they are written."""
    missing: list[str]
    """Those that are not there yet, by their paths in the lake."""
    other: list[str]
    """What is in the lake and is not in the backup, or is another file there."""


def plan(place: Files, name: str, made: Manifest, lake: Files, advance: Advance) -> Plan:
    """Check a backup and compare it with a lake; nothing is written.

    Raises: StoreError for a backup that is not as it was written, or reaches out of its folder.
    """
    with explained(place, "read the backup in"):
        verify(place, name, made, advance)
    files = sorted((one for one in made.files if one.path.startswith(f"{LAKE}/")), key=_order)
    wanted = {one.path.removeprefix(f"{LAKE}/"): one for one in files}
    missing, other = [], []
    for path, one in wanted.items():
        check_inside(lake, path)
        if lake.entry(path) is None:
            missing.append(path)
        elif checksum(lake, path) != one.sha256:
            other.append(path)
    kinds = fields.KINDS if made.with_records else fields.DERIVED
    there = [path for folder in (*kinds, INCIDENTS, LABELS, WATERMARKS) for path in walk(lake, folder)]
    return Plan(files, missing, other + sorted(set(there) - wanted.keys()))


def restore(place: Files, name: str, made: Manifest, lake: Files, advance: Advance, *, replace: bool) -> Plan:
    """Bring a lake to what a backup holds; what is there already stays as it is.

    Args:
        place: where the backup lies.
        name: of the backup.
        made: its manifest.
        lake: where it goes.
        advance: told of the bytes done.
        replace: whether other results in the lake are given up.
    Raises: StoreError when the lake holds other results, or cannot be written.
    """
    with explained(lake, "write the lake"), lake.locked():
        todo = plan(place, name, made, lake, advance)
        refuse(todo, lake, replace)
        for path in sorted(todo.other, key=lambda path: _order(File(f"{LAKE}/{path}", 0, "")), reverse=True):
            lake.delete(path)
        for one in todo.files:
            copy(place, f"{name}/{one.path}", lake, one.path.removeprefix(f"{LAKE}/"), advance, one.sha256)
        for one in todo.files:
            if checksum(lake, one.path.removeprefix(f"{LAKE}/")) != one.sha256:
                raise StoreError(f"{lake.root} does not give back what was written to it ({one.path}). Look at its disk")
    return todo


def refuse(todo: Plan, lake: Files, replace: bool) -> None:
    """Raises: StoreError when a lake holds other results that nobody gave up."""
    if todo.other and not replace:
        raise StoreError(f"{lake.root} holds {len(todo.other)} files of results that are not in the backup, such as {todo.other[0]}. "
                         "Restore into an empty lake: --store PATH; or give them up: --replace")


def _order(one: File) -> tuple[int, str]:
    """Pointers before the files they speak of, markers after them, and last the watermark, which says that all is there."""
    top, *rest = one.path.removeprefix(f"{LAKE}/").split("/")
    documents: Sequence[str] = (INCIDENTS, LABELS, WATERMARKS)
    if top in documents:
        return 3 + documents.index(top), one.path
    return 0 if rest[0] == SEGMENTS else 2 if is_marker(one.path) else 1, one.path
