"""Whether the server can be reached, what it is, and who we are to it."""

import dataclasses
import urllib.parse
from collections.abc import Iterator

from pinchpoint.config import Config
from pinchpoint.doctor.check import Check
from pinchpoint.errors import StoreError, StoreRefused, UsageError
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.es.door import Door

#: The oldest server that the client talks to.
OLDEST = (8, 19)
TIMEOUT_S = 10.0
_WITHOUT_SECURITY = (400, 404, 405)
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """A server that answers."""

    door: Door
    namespace: str
    user: str | None
    """Who we are to it; None where the server has no security."""


def reach(url: str, config: Config) -> tuple[Reached | None, list[Check]]:
    """Knock at the server that a store URL names; None where that leads to nothing, with the reason among the checks."""
    try:
        address, access = Address.parse(url), Access.read(config.elasticsearch)
        door = Door(address.server, access)
        who = door.call("GET", "/_security/_authenticate", expect=_WITHOUT_SECURITY, timeout_s=TIMEOUT_S)
    except (StoreError, UsageError) as error:
        return None, [of_error("server", error)]
    user = _user(who)
    return Reached(door, address.namespace, user), [_server(door, user), *_in_the_clear(door, access)]


def of_error(name: str, error: Exception) -> Check:
    """A fault out of an error message: what is wrong, then what to do."""
    says, _, step = str(error).partition(". ")
    return Check(name, "fault", f"{says}.", next_step=step or "correct the store URL or the settings")


def _user(who: dict[str, object]) -> str | None:
    if "username" not in who:
        return None
    key = who.get("api_key")
    return f"API key {key.get('name')}" if isinstance(key, dict) else f"user {who['username']}"


def _server(door: Door, user: str | None) -> Check:
    name = "as " + user if user else "without security: anybody who reaches it may do anything"
    over = "over TLS" if door.server.startswith("https:") else "over plain HTTP"
    try:
        version = door.version
    except StoreRefused:  # a shipper's key may not ask
        return Check("server", "ok", f"{door.server} answers {over}, {name}.")
    said = ".".join(map(str, version))
    if version[:2] < OLDEST:
        return Check("server", "fault", f"{door.server} is Elasticsearch {said}, which is too old.",
                     next_step=f"upgrade it to {'.'.join(map(str, OLDEST))} or later")
    return Check("server", "ok", f"{door.server} answers, Elasticsearch {said} {over}, {name}.")


def _in_the_clear(door: Door, access: Access) -> Iterator[Check]:
    parts = urllib.parse.urlsplit(door.server)
    if parts.scheme == "http" and parts.hostname not in _HERE and (access.api_key or access.basic):
        yield Check("tls", "warning", f"the key or password goes to {parts.hostname} in the clear.",
                    next_step="switch on TLS for the HTTP port of the server and use https:// in the store URL")
