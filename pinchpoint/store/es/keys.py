"""The smallest API keys that the parts of pinchpoint get by with."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from pinchpoint import __version__
from pinchpoint.errors import StoreRefused
from pinchpoint.store.es import names
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.steps import Step

#: Who needs a key, and what for.
ROLES = {
    "shipper": "write records",
    "analysis": "read records, write results",
    "reader": "read results, write labels",
}
_ANSWERS_WITHOUT_SECURITY = (400, 404, 405)


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key that was just made. The server never tells it again."""

    role: str
    name: str
    secret: str = dataclasses.field(repr=False)
    """What a client sends, the `encoded` of the answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Installed:
    """A key that is there and valid."""

    id: str
    name: str
    descriptor: Any


def descriptor(role: str, namespace: str, foreign: Sequence[str] = (), *, failures: bool = False) -> dict[str, Any]:
    """What a key may do.

    A shipper creates documents in the streams, and the streams themselves by writing to them; it reads nothing, not even its own.
    The analysis reads the streams and what others shipped, and writes, replaces and deletes results. A reader reads results; it also
    writes labels, since the person who reads an incident is the one who finds out what it was: they lie in an index that holds
    nothing else. Whoever may index into a plain index may also add fields to its mapping, an old rule of the server.

    Args:
        role: a key of `ROLES`.
        namespace: whose streams and indices.
        foreign: patterns of what others shipped.
        failures: whether the server has failure stores and the privilege to read them.
    """
    streams = [f"{name}-{namespace}" for name in names.ALL_STREAMS]
    plain = [f"{name}-{namespace}" for name in names.ALL_INDICES]
    see = ["read", "view_index_metadata"]
    if role == "shipper":
        return _descriptor([], [(streams, ["create_doc", "auto_configure"])])
    if role == "analysis":
        # maintenance: to refresh before reading what was written a moment ago
        return _descriptor(["monitor"], [(streams, [*see, "maintenance", *(["read_failure_store"] if failures else [])]),
                                         *([(list(foreign), [*see, "maintenance"])] if foreign else []),
                                         (plain, [*see, "maintenance", "index", "delete"])])
    label = f"{names.LABELS}-{namespace}"
    return _descriptor([], [([*(f"{name}-{namespace}" for name in names.INDICES.values()), label], see), ([label], ["index"])])


def name_of(role: str, namespace: str) -> str:
    """What the key of a role is called on the server."""
    return f"pinchpoint-{role}-{namespace}"


def installed(door: Door) -> dict[str, list[Installed]] | None:
    """Valid keys of pinchpoint by name; None when the server has no security. Raises: as `Door.call`."""
    answer = door.call("GET", "/_security/api_key", expect=_ANSWERS_WITHOUT_SECURITY, name="pinchpoint-*", active_only="true")
    if "api_keys" not in answer:
        return None
    found: dict[str, list[Installed]] = {}
    for one in answer["api_keys"]:
        found.setdefault(one["name"], []).append(Installed(one["id"], one["name"], one.get("role_descriptors", {}).get("pinchpoint")))
    return found


def creation(role: str, namespace: str, may: dict[str, Any], lifetime: str | None) -> Step:
    """The step that makes a key; lifetime: such as `90d`, None for ever."""
    body: dict[str, Any] = {"name": name_of(role, namespace), "role_descriptors": {"pinchpoint": may},
            **({"expiration": lifetime} if lifetime else {}),
            "metadata": {"application": "pinchpoint", "role": role, "namespace": namespace, "version": __version__}}
    return Step("key", body["name"], "create", "POST", "/_security/api_key", body)


def invalidation(ids: Iterable[str], name: str) -> Step:
    """The step that ends keys."""
    return Step("key", name, "end the former", "DELETE", "/_security/api_key", {"ids": list(ids)})


def grants(found: Any, may: dict[str, Any]) -> bool:
    """Whether an installed key's descriptor says the same; servers add empty lists to it."""
    return isinstance(found, dict) and _comparable(found) == _comparable(may)


def check_owner(door: Door, descriptors: Iterable[dict[str, Any]]) -> None:
    """Make sure that keys made here can do what they are made for: they never can more than the user who makes them.

    Raises: StoreRefused with what the user lacks.
    """
    who = door.call("GET", "/_security/_authenticate")
    if who.get("authentication_type") == "api_key":
        raise StoreRefused("an API key cannot make API keys that may do anything. Call setup as a user: PINCHPOINT_ES_USERNAME and "
                           "PINCHPOINT_ES_PASSWORD_FILE; or leave the keys out: --keys none")
    cluster = {"manage_api_key"}
    indices = []
    for one in descriptors:
        cluster.update(one["cluster"])
        indices += [{"names": part["names"], "privileges": part["privileges"]} for part in one["indices"]]
    check_privileges(door, sorted(cluster), indices, str(who.get("username")))


def check_privileges(door: Door, cluster: Sequence[str], indices: Sequence[dict[str, Any]], user: str) -> None:
    """Make sure that whoever calls may do all of this. Raises: StoreRefused with what is lacking."""
    answer = door.call("POST", "/_security/user/_has_privileges", {"cluster": list(cluster), "index": list(indices)})
    if answer.get("has_all_requested"):
        return
    lacking = [name for name, has in answer.get("cluster", {}).items() if not has]
    lacking += sorted({f"{name} on {index}" for index, has in answer.get("index", {}).items() for name, may in has.items() if not may})
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    raise StoreRefused(f"user {user!r} lacks privileges for this: {', '.join(lacking[:5])}{more}. "
                       "Give its role these, or call setup as a user who has them, such as elastic")


def _descriptor(cluster: list[str], indices: Sequence[tuple[list[str], list[str]]]) -> dict[str, Any]:
    return {"cluster": cluster, "indices": [{"names": on, "privileges": may} for on, may in indices]}


def _comparable(may: dict[str, Any]) -> Any:
    return (sorted(may.get("cluster", ())),
            sorted((sorted(part["names"]), sorted(part["privileges"])) for part in may.get("indices", ())))
