"""The snapshot repository that backups of Elasticsearch lie in, and the snapshots of a namespace there."""

import dataclasses
import hashlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from pinchpoint.clock import format_time
from pinchpoint.errors import StoreError, StoreRefused
from pinchpoint.store.es.door import Door, ServerError

_WITHOUT_SECURITY = (400, 404, 405)


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a namespace."""

    name: str
    made: str
    state: str
    """SUCCESS; IN_PROGRESS, PARTIAL and FAILED cannot be restored."""
    indices: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """A place that the nodes of a server reach."""

    door: Door
    name: str

    @property
    def path(self) -> str:
        """Of requests."""
        return f"/_snapshot/{urllib.parse.quote(self.name, safe='')}"

    def snapshots(self, namespace: str) -> list[Snapshot]:
        """Our snapshots of a namespace, the oldest first."""
        answer = self.door.call("GET", f"{self.path}/{_quoted(prefix(namespace))}*", expect=(404,), ignore_unavailable="true")
        found = [_snapshot(one) for one in answer.get("snapshots", ())]
        return sorted(found, key=lambda one: (one.made, one.name))

    def snapshot(self, name: str) -> Snapshot:
        """One snapshot as it is now. Raises: StoreError when it is gone."""
        answer = self.door.call("GET", f"{self.path}/{_quoted(name)}", expect=(404,))
        for one in answer.get("snapshots", ()):
            return _snapshot(one)
        raise StoreError(f"snapshot {name} is no longer in repository {self.name}: somebody deleted it. Call the same again")

    def delete(self, name: str) -> None:
        """Delete a snapshot; one that is gone is no error."""
        self.door.call("DELETE", f"{self.path}/{_quoted(name)}", expect=(404,))

    def request(self, name: str, rest: str = "") -> str:
        """The path of requests about a snapshot."""
        return f"{self.path}/{_quoted(name)}{rest}"


def prefix(namespace: str) -> str:
    """What the names of all snapshots of a namespace begin with; a namespace has no `-` in it."""
    return f"pinchpoint-{namespace}-"


def open_repository(door: Door, location: str | None, name: str | None) -> Repository:
    """The repository of a name, or one in a folder that every node of the server sees, which is registered when it is not.

    Raises: StoreError when there is none of that name, or the server may not use the folder, with what to do.
    """
    if name is not None:
        found = Repository(door, name)
        if door.call("GET", found.path, expect=(404,)).get("status") == 404:
            raise StoreError(f"{door.server} has no snapshot repository {name!r}. Register it first (PUT _snapshot/{name}), or name a "
                             "folder that every node sees: --to PATH")
        return found
    place = location or ""
    found = Repository(door, f"pinchpoint-{hashlib.blake2b(place.encode(), digest_size=4).hexdigest()}")
    if door.call("GET", found.path, expect=(404,)).get("status") != 404:
        return found
    need(door, "register a snapshot repository", ["manage"])
    try:
        door.call("PUT", found.path, {"type": "fs", "settings": {"location": place}})
    except ServerError as error:
        why = str(error).partition(": ")[2]
        raise StoreError(f"{door.server} cannot keep backups in {place}: {why}. Name that folder under path.repo in elasticsearch.yml of "
                         "every node and restart them, or use a repository that is registered: --repository NAME") from error
    return found


def need(door: Door, what: str, cluster: Sequence[str], indices: Mapping[str, Sequence[str]] | None = None) -> None:
    """Make sure that whoever calls may do something; a server without security lets everybody.

    Args:
        door: to the server.
        what: is to be done, for the message.
        cluster: privileges for it.
        indices: privileges by index.
    Raises: StoreRefused with what is lacking.
    """
    asked = {"cluster": list(cluster), "index": [{"names": [name], "privileges": list(may)} for name, may in (indices or {}).items()]}
    answer = door.call("POST", "/_security/user/_has_privileges", asked, expect=_WITHOUT_SECURITY)
    if answer.get("has_all_requested", True):
        return
    lacking = [name for name, has in answer["cluster"].items() if not has]
    lacking += [f"{name} on {index}" for index, has in answer["index"].items() for name, may in has.items() if not may]
    more = f" and {len(lacking) - 4} more" if len(lacking) > 4 else ""
    raise StoreRefused(f"{answer.get('username', 'this user')} may not {what} at {door.server}: it lacks {', '.join(lacking[:4])}{more}. "
                       "Call it as a user with the cluster privileges create_snapshot and, to register a repository, restore or delete, "
                       "manage: PINCHPOINT_ES_USERNAME and PINCHPOINT_ES_PASSWORD_FILE")


def _snapshot(about: Mapping[str, Any]) -> Snapshot:
    return Snapshot(str(about["snapshot"]), format_time(int(about.get("start_time_in_millis", 0)) * 1_000_000), str(about["state"]),
                    tuple(about.get("indices", ())))


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
