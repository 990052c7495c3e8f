"""Back up the results of a namespace of Elasticsearch as a snapshot."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pinchpoint
from pinchpoint.backup.copying import Advance
from pinchpoint.backup.repository import Repository, need, prefix
from pinchpoint.clock import NS, Clock, format_time
from pinchpoint.errors import StoreError
from pinchpoint.store.es import names
from pinchpoint.store.es.door import Door

ABOUT = "pinchpoint-backup"
"""An index that is there while a backup is made, so that the snapshot holds what else belongs to it: one document."""
DOCUMENT = "about"

_ROUNDS = 5
_EVERY_S = 0.3
_NO_SUCH = (404,)


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A snapshot that was finished and checked."""

    name: str
    made: str
    documents: int
    size: int
    """Bytes of all its files, those shared with earlier snapshots too."""
    moving: tuple[str, ...]
    """Indices that were written to all the while, whose number of documents cannot be promised."""


def back_up(repository: Repository, namespace: str, clock: Clock, advance: Advance, settings: bytes | None = None) -> Made:
    """Make a snapshot of all results of a namespace, and check it.

    Args:
        repository: where it goes.
        namespace: whose results.
        clock: for the name, and to wait.
        advance: told of shards done.
        settings: content of the settings file.
    Raises: StoreError when there is nothing to back up or the snapshot is not whole; then it is deleted.
    """
    door = repository.door
    indices = existing(door, namespace)
    if not indices:
        raise StoreError(f"{door.server} has no results in namespace {namespace}. Name another: --store '{door.server}?namespace=…'")
    need(door, "back up", ["create_snapshot", "monitor"], {
        **{index: ["read", "view_index_metadata"] for index in indices}, f"{ABOUT}-{namespace}": ["create_index", "write", "delete_index"]})
    moving: set[str] = set()
    for _ in range(_ROUNDS):
        counts = count(door, indices)
        promised = {index: None if index in moving else number for index, number in counts.items()}
        name = _new_name(repository, namespace, clock)
        with _about(door, namespace, {"version": pinchpoint.__version__, "made": format_time(clock.now_ns()), "counts": promised,
                                      "settings": None if settings is None else settings.decode("utf-8"), **templates_of(door)}) as about:
            size = _snapshot(repository, name, [*indices, about], clock, advance)
        moved = {index for index, number in count(door, indices).items() if number != counts[index]} - moving
        if not moved:
            return Made(name, format_time(clock.now_ns()), sum(counts.values()), size, tuple(sorted(moving)))
        # whoever restores it could not tell whether all documents are there
        repository.delete(name)
        moving |= moved
    raise StoreError(f"results of namespace {namespace} change faster than a snapshot is made. Call it while the analysis pauses")


def existing(door: Door, namespace: str) -> list[str]:
    """Our plain indices of a namespace that are there."""
    every = ",".join(f"{name}-{namespace}" for name in names.ALL_INDICES)
    return sorted(door.call("GET", f"/{every}", ignore_unavailable="true", filter_path="*.settings.index.uuid"))


def count(door: Door, indices: list[str]) -> dict[str, int]:
    """Number of documents of each index."""
    if not indices:
        return {}
    door.call("POST", f"/{','.join(indices)}/_refresh")
    return {index: int(door.call("GET", f"/{index}/_count")["count"]) for index in indices}


def templates_of(door: Door) -> dict[str, Any]:
    """Every template of pinchpoint on a server, also what the user added to them."""
    found = {}
    for what in ("component_template", "index_template"):
        answer = door.call("GET", f"/_{what}/pinchpoint*", expect=_NO_SUCH)
        found[f"{what}s"] = {one["name"]: one[what] for one in answer.get(f"{what}s", ())}
    return found


@contextlib.contextmanager
def _about(door: Door, namespace: str, document: Mapping[str, Any]) -> Iterator[str]:
    index = f"{ABOUT}-{namespace}"
    door.call("DELETE", f"/{index}", expect=_NO_SUCH)  # of a backup that was killed
    door.call("PUT", f"/{index}", {"settings": {"index.number_of_shards": 1, "index.number_of_replicas": 0},
                                   "mappings": {"enabled": False}})
    try:
        door.call("PUT", f"/{index}/_doc/{DOCUMENT}", document)
        yield index
    finally:
        door.call("DELETE", f"/{index}", expect=_NO_SUCH)


def _snapshot(repository: Repository, name: str, indices: list[str], clock: Clock, advance: Advance) -> int:
    """Make one snapshot and wait for it; returns its size in bytes."""
    door = repository.door
    door.call("PUT", repository.request(name), {
        "indices": ",".join(indices), "include_global_state": False, "partial": False, "ignore_unavailable": False,
        "metadata": {"pinchpoint": {"version": pinchpoint.__version__}}}, wait_for_completion="false")
    done = 0
    while (now := repository.snapshot(name)).state in ("IN_PROGRESS", "STARTED", "INIT"):
        shards = _status(repository, name).get("shards_stats", {})
        advance(int(shards.get("done", 0)) - done)
        done = int(shards.get("done", 0))
        clock.sleep(_EVERY_S)
    status = _status(repository, name)
    shards = status.get("shards_stats", {})
    if now.state != "SUCCESS" or status.get("state") != "SUCCESS" or shards.get("failed") or shards.get("done") != shards.get("total"):
        repository.delete(name)
        raise StoreError(f"snapshot {name} in repository {repository.name} is not whole ({now.state}, {shards.get('failed', 0)} of "
                         f"{shards.get('total', 0)} shards failed) and was deleted. Look at the health of the indices and the disk of the "
                         "repository (GET _cluster/health), then call the same again")
    if not set(indices) <= set(now.indices):
        repository.delete(name)
        raise StoreError(f"snapshot {name} lacks indices and was deleted: they were made anew meanwhile. Call the same again")
    return int(status.get("stats", {}).get("total", {}).get("size_in_bytes", 0))


def _status(repository: Repository, name: str) -> dict[str, Any]:
    for one in repository.door.call("GET", repository.request(name, "/_status")).get("snapshots", ()):
        return dict(one)
    return {}


def _new_name(repository: Repository, namespace: str, clock: Clock) -> str:
    taken, number = {one.name for one in repository.snapshots(namespace)}, 1
    first = name = prefix(namespace) + format_time(clock.now_ns() // NS * NS).replace("-", "").replace(":", "").lower()
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    return name
