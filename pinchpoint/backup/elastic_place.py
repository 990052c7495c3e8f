"""A snapshot repository, for backups of a namespace of Elasticsearch."""

from pinchpoint import config
from pinchpoint.backup import elastic, elastic_restoring
from pinchpoint.backup.copying import Advance
from pinchpoint.backup.places import Row
from pinchpoint.backup.repository import need, open_repository
from pinchpoint.clock import Clock
from pinchpoint.errors import UsageError
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.es.door import Door


class ElasticPlace:
    """As `places.Place` has it."""

    def __init__(self, store: str, folder: str | None, repository: str | None, clock: Clock) -> None:
        self._address, self._clock = Address.parse(store), clock
        door = Door(self._address.server, Access.read(config.load().elasticsearch))
        self._repository = open_repository(door, folder, repository)

    def listed(self) -> list[Row]:
        return [{"name": one.name, "made": one.made, "state": one.state, "store": str(self._address), "indices": len(one.indices)}
                for one in self._repository.snapshots(self._address.namespace)]

    def back_up(self, settings: bytes | None, with_records: bool, advance: Advance) -> Row:
        if with_records:
            raise UsageError("shipped records are data streams, which the cluster's own snapshots save (SLM): leave out --with-records")
        made = elastic.back_up(self._repository, self._address.namespace, self._clock, advance, settings)
        state = f"SUCCESS, {', '.join(made.moving)} written to meanwhile" if made.moving else "SUCCESS"
        return {"name": made.name, "made": made.made, "size_bytes": made.size, "documents": made.documents, "state": state,
                "store": str(self._address)}

    def prune(self, keep: int) -> list[str]:
        whole = [one.name for one in self._repository.snapshots(self._address.namespace) if one.state == "SUCCESS"]
        if len(whole) > keep:
            need(self._repository.door, "delete snapshots", ["manage"])
        for name in whole[:-keep]:
            self._repository.delete(name)
        return whole[:-keep]

    def restore(self, name: str | None, replace: bool, dry_run: bool, advance: Advance) -> tuple[list[Row], bytes | None]:
        repository, namespace = self._repository, self._address.namespace
        todo = elastic_restoring.plan(repository, namespace, elastic_restoring.choose(repository, namespace, name))
        elastic_restoring.refuse(todo, repository.door, replace)
        if dry_run:
            return [{"what": index, "state": "replaced" if index in todo.occupied else "restored"} for index in todo.indices], None
        done = elastic_restoring.restore(repository, namespace, todo, self._clock, advance)
        rows: list[Row] = [{"what": index, "documents": number, "state": "restored"} for index, number in sorted(done.counts.items())]
        return rows + [{"what": template, "state": "template put back"} for template in done.templates], done.settings
