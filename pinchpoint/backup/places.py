"""Where backups of a store lie: what the commands can do there, whatever the store."""

from typing import Any, Protocol

from pinchpoint.backup.copying import Advance
from pinchpoint.clock import Clock
from pinchpoint.errors import UsageError

Row = dict[str, Any]


class Place(Protocol):
    """Where backups of a store lie."""

    def listed(self) -> list[Row]:
        """Every backup there, the oldest first."""

    def back_up(self, settings: bytes | None, with_records: bool, advance: Advance) -> Row:
        """Make a backup and check it."""

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest; returns the names of those deleted."""

    def restore(self, name: str | None, replace: bool, dry_run: bool, advance: Advance) -> tuple[list[Row], bytes | None]:
        """Put one back; returns what was restored, and the settings that were saved with it."""


def open_place(store: str, folder: str | None, repository: str | None, clock: Clock) -> Place:
    """The place that was named. Raises: UsageError for one that does not go with the store."""
    if store == "memory:":
        raise UsageError("the store in memory ends with each command, there is nothing to back up: --store URL")
    if store.startswith(("http://", "https://")):
        from pinchpoint.backup.elastic_place import ElasticPlace

        return ElasticPlace(store, folder, repository, clock)
    if folder is None:
        raise UsageError("a lake has no snapshot repository: name a folder or s3://…")
    from pinchpoint.backup.lake_place import LakePlace

    return LakePlace(store, folder, clock)
