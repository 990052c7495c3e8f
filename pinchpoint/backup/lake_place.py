"""A folder, on a disk or in object storage, for backups of a lake."""

import collections

from pinchpoint.backup import lake, restoring
from pinchpoint.backup.copying import Advance
from pinchpoint.backup.manifest import SETTINGS_FILE
from pinchpoint.backup.places import Row
from pinchpoint.clock import Clock
from pinchpoint.store.files import open_files


class LakePlace:
    """As `places.Place` has it."""

    def __init__(self, store: str, folder: str, clock: Clock) -> None:
        self._lake, self._place, self._clock = open_files(store), open_files(folder), clock

    def listed(self) -> list[Row]:
        return [self._row(one) for one in lake.backups(self._place)]

    def back_up(self, settings: bytes | None, with_records: bool, advance: Advance) -> Row:
        return self._row(lake.back_up(self._lake, self._place, self._clock, advance, settings=settings, with_records=with_records))

    def prune(self, keep: int) -> list[str]:
        return lake.prune(self._place, keep)

    def restore(self, name: str | None, replace: bool, dry_run: bool, advance: Advance) -> tuple[list[Row], bytes | None]:
        chosen, made = lake.choose(self._place, name)
        if dry_run:
            todo = restoring.plan(self._place, chosen.name, made, self._lake, advance)
            restoring.refuse(todo, self._lake, replace)
        else:
            todo = restoring.restore(self._place, chosen.name, made, self._lake, advance, replace=replace)
        files, sizes, new = collections.Counter[str](), collections.Counter[str](), collections.Counter[str]()
        for one in todo.files:
            what = one.path.split("/")[1].lstrip("_")
            files[what] += 1
            sizes[what] += one.size
            new[what] += one.path.partition("/")[2] in todo.missing
        rows = [{"what": what, "files": number, "size_bytes": sizes[what], "state": f"{new[what]} new" if new[what] else "was there"}
                for what, number in sorted(files.items())]
        has_settings = any(one.path == SETTINGS_FILE for one in made.files)
        return rows, self._place.read(f"{chosen.name}/{SETTINGS_FILE}") if has_settings else None

    @staticmethod
    def _row(one: lake.Backup) -> Row:
        return {"name": one.name, "made": one.made.made if one.made else None, "files": len(one.made.files) if one.made else None,
                "size_bytes": one.size if one.made else None, "state": one.state, "store": one.made.store if one.made else None}
