"""Put a snapshot of results back into Elasticsearch."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint.backup.copying import Advance
from pinchpoint.backup.elastic import ABOUT, DOCUMENT, count, existing, templates_of
from pinchpoint.backup.repository import Repository, Snapshot, need
from pinchpoint.clock import Clock
from pinchpoint.errors import StoreError
from pinchpoint.store.es import names
from pinchpoint.store.es.door import Door

_EVERY_S = 0.3
#: Rounds in which nothing moves. Lost shards are red and are tried again within seconds; others may wait for room on a node.
_PATIENCE = 400
_NO_SUCH = (404,)
#: What a server tells of a template and takes back; newer ones tell more.
_TEMPLATE = ("template", "version", "_meta", "deprecated", "index_patterns", "composed_of", "priority", "data_stream",
             "allow_auto_create", "ignore_missing_component_templates")


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to a server."""

    snapshot: Snapshot
    indices: list[str]
    """What is restored, under the same names."""
    occupied: dict[str, int | None]
    """Number of documents of those that are there and hold any; None where that cannot be read."""
    there: list[str]
    """All of those that are there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Restored:
    """What was put back."""

    counts: dict[str, int]
    """Number of documents by index."""
    templates: list[str]
    """Names of the templates that were missing."""
    settings: bytes | None
    """Content of the settings file, for this host."""


def choose(repository: Repository, namespace: str, name: str | None) -> Snapshot:
    """The snapshot of a name, or the newest that is whole. Raises: StoreError when there is none, with what to do."""
    found = {one.name: one for one in repository.snapshots(namespace)}
    whole = [one for one in found.values() if one.state == "SUCCESS"]
    if name is None and whole:
        return whole[-1]
    how = f"List them with: pinchpoint backup --list --repository {repository.name}"
    if name is None or name not in found:
        what = f"backup {name!r}" if name else "finished backup"
        raise StoreError(f"repository {repository.name} holds no {what} of namespace {namespace}. {how}")
    if found[name].state != "SUCCESS":
        raise StoreError(f"snapshot {name} is not whole ({found[name].state}) and cannot be restored. {how}")
    return found[name]


def plan(repository: Repository, namespace: str, snapshot: Snapshot) -> Plan:
    """Compare a snapshot with what is there; nothing is written. Raises: StoreRefused for a user who may not restore."""
    door = repository.door
    ours = [f"{name}-{namespace}" for name in names.ALL_INDICES]
    indices = [index for index in ours if index in snapshot.indices]
    need(door, "restore", ["manage"], {index: ["manage", "read"] for index in [*indices, f"{ABOUT}-{namespace}"]})
    there = [index for index in existing(door, namespace) if index in indices]
    lost = _lost(door, there)
    counts = count(door, [index for index in there if index not in lost])
    occupied: dict[str, int | None] = {index: number for index, number in counts.items() if number}
    return Plan(snapshot, indices, occupied | dict.fromkeys(lost), there)


def _lost(door: Door, indices: list[str]) -> list[str]:
    """Those of some indices that cannot be read, such as after a restore of which a part was damaged; asking them takes a minute."""
    if not indices:
        return []
    health = door.call("GET", f"/_cluster/health/{','.join(indices)}", expect=(404, 408), level="indices", timeout="0s")
    return [name for name, one in health.get("indices", {}).items() if one["active_primary_shards"] < one["number_of_shards"]]


def refuse(todo: Plan, door: Door, replace: bool) -> None:
    """Raises: StoreError when a server holds results that nobody gave up."""
    if todo.occupied and not replace:
        said = ", ".join(f"{index} ({'cannot be read' if number is None else f'{number:,}'})"
                         for index, number in list(todo.occupied.items())[:3])
        raise StoreError(f"{door.server} holds documents in {len(todo.occupied)} of the indices to restore: {said}. "
                         "Restore into another server, or give them up: --replace")


def restore(repository: Repository, namespace: str, todo: Plan, clock: Clock, advance: Advance) -> Restored:
    """Put everything back, and count it.

    Raises: StoreError when a part cannot be read from the repository, or holds another number of documents than when it was saved.
    """
    door, about = repository.door, _about(repository, namespace, todo.snapshot, clock)
    templates = list(_put_templates(door, about))
    if todo.there:
        door.call("DELETE", "/" + ",".join(todo.there), expect=_NO_SUCH)
    _restore(repository, todo.snapshot, todo.indices, clock, advance)
    counts = count(door, todo.indices)
    wrong = [f"{index}: {counts[index]:,} documents instead of {number:,}" for index, number in (about.get("counts") or {}).items()
             if number is not None and counts.get(index) != number]
    if wrong:
        raise StoreError(f"snapshot {todo.snapshot.name} was restored, and holds less or more than was saved: {'; '.join(wrong[:3])}. "
                         "Does the analysis run beside? Stop it and call the same again with --replace")
    settings = about.get("settings")
    return Restored(counts, templates, settings.encode() if isinstance(settings, str) else None)


def _about(repository: Repository, namespace: str, snapshot: Snapshot, clock: Clock) -> dict[str, Any]:
    """What the backup says besides its documents."""
    door, index = repository.door, f"{ABOUT}-{namespace}"
    if index not in snapshot.indices:
        return {}
    door.call("DELETE", f"/{index}", expect=_NO_SUCH)
    try:
        _restore(repository, snapshot, [index], clock, lambda by: None)
        return dict(door.call("GET", f"/{index}/_doc/{DOCUMENT}")["_source"])
    finally:
        door.call("DELETE", f"/{index}", expect=_NO_SUCH)


def _put_templates(door: Door, about: Mapping[str, Any]) -> Iterator[str]:
    """Templates that are missing; those that are there may be of a later version."""
    there = templates_of(door)
    for what in ("component_template", "index_template"):
        for name, template in (about.get(f"{what}s") or {}).items():
            if name not in there[f"{what}s"] and name.startswith("pinchpoint"):
                door.call("PUT", f"/_{what}/{name}", {part: value for part, value in template.items() if part in _TEMPLATE})
                yield name


def _restore(repository: Repository, snapshot: Snapshot, indices: list[str], clock: Clock, advance: Advance) -> None:
    door = repository.door
    door.call("POST", repository.request(snapshot.name, "/_restore"), {
        "indices": ",".join(indices), "include_global_state": False, "include_aliases": False, "feature_states": ["none"],
    }, wait_for_completion="false")
    done = patience = 0
    while patience < _PATIENCE:
        health = door.call("GET", f"/_cluster/health/{','.join(indices)}", expect=(404, 408), level="indices", timeout="0s")
        shards = [(one["active_primary_shards"], one["number_of_shards"]) for one in health.get("indices", {}).values()]
        active = sum(found for found, _ in shards)
        # not by its colour: a shard that still waits to be restored is yellow
        if len(shards) == len(indices) and active == sum(wanted for _, wanted in shards):
            advance(active - done)
            return
        progressed = active > done or health.get("initializing_shards")
        patience = 0 if progressed else patience + (_PATIENCE // 40 if health.get("status") == "red" else 1)
        advance(active - done)
        done = active
        clock.sleep(_EVERY_S)
    raise StoreError(f"{door.server} cannot read all of snapshot {snapshot.name} in repository {repository.name}: files of it are damaged "
                     "or missing. Choose another with --backup NAME and --replace: pinchpoint backup --list; why: GET "
                     "_cluster/allocation/explain")
