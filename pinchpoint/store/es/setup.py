"""Bring a server to what pinchpoint needs: templates, indices and keys."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinchpoint.errors import StoreError
from pinchpoint.store.es import keys, names, templates
from pinchpoint.store.es.address import Address
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.keys import Key
from pinchpoint.store.es.steps import Step, send

#: What `templates.install` needs, beside what the keys are given.
_TEMPLATES = "manage_index_templates"
_NOBODY_ELSE = 0o600


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a setup is asked for."""

    address: Address
    retention_days: Mapping[str, float]
    roles: Sequence[str] = tuple(keys.ROLES)
    """Whose keys have to be there."""
    rotate: bool = False
    """Whether keys that are there are replaced."""
    lifetime: str | None = None
    """How long a new key is valid, as Elasticsearch spells it; None for ever."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done, in its order."""

    steps: list[Step]
    """For templates, streams and indices."""
    creations: dict[str, Step]
    """For keys, by role."""
    former: dict[str, list[str]]
    """Ids of the keys that the new ones replace, by role; ended last of all."""
    notes: list[str]
    """What a person may want to know."""

    def requests(self) -> Iterator[Step]:
        """Everything in the order in which it is sent."""
        yield from self.steps
        yield from self.creations.values()
        yield from self.endings()

    def endings(self) -> Iterator[Step]:
        """What ends the keys that were replaced."""
        for role, ids in self.former.items():
            yield keys.invalidation(ids, self.creations[role].name)


def plan(door: Door, wanted: Wanted) -> Plan:
    """Find out what has to be done; nothing is written.

    Raises: as `Door.call`; StoreRefused when the user may not do it.
    """
    namespace = wanted.address.namespace
    known = _known_keys(door, wanted)
    steps = templates.plan(door, namespace, wanted.retention_days)
    if known is None:
        notes = ["This server has no security: anybody who reaches it may do anything, and keys are not needed."] if wanted.roles else []
        return Plan(steps, {}, {}, notes)
    failures = templates.abilities(door).failure_store
    creations, former, notes = {}, {}, []
    for role in wanted.roles:
        may = keys.descriptor(role, namespace, wanted.address.indices, failures=failures)
        there = known.get(keys.name_of(role, namespace), [])
        if not there or wanted.rotate:
            creations[role] = keys.creation(role, namespace, may, wanted.lifetime)
            if there:
                former[role] = [one.id for one in there]
        elif not any(keys.grants(one.descriptor, may) for one in there):
            notes.append(f"Key {keys.name_of(role, namespace)} may do other things than this version needs: make it anew with "
                         f"--keys {role} --rotate")
    if creations:
        keys.check_owner(door, [step.body["role_descriptors"]["pinchpoint"] for step in creations.values()])
    return Plan(steps, creations, former, notes)


def make_key(door: Door, role: str, step: Step) -> Key:
    """Make a key. Raises: as `Door.call`."""
    return Key(role, step.name, str(send(door, step)["encoded"]))


def make_key_file(door: Door, role: str, step: Step, folder: Path) -> Path:
    """Make a key and keep it in a file that nobody else can read, in place of the one that is there.

    Raises: as `Door.call`; StoreError when the file cannot be written, then there is no key either.
    """
    path = folder / f"{step.name}.key"
    part = folder / f".{step.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NOBODY_ELSE)
    except OSError as error:
        raise StoreError(f"cannot write keys to {folder}: {error.strerror}. Name another folder with --key-dir") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            answer = send(door, step)
            try:
                file.write(f"{answer['encoded']}\n")
                file.flush()
                os.fsync(handle)
                part.replace(path)
            except OSError as error:
                send(door, keys.invalidation([answer["id"]], step.name))
                raise StoreError(f"cannot write {path}: {error.strerror}. The key was ended again") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path


def as_console(step: Step) -> str:
    """A request as Kibana's console takes it; a comment where a person has to decide."""
    import json

    if step.method is None:
        return f"# {step}"
    return f"{step.method} {step.path}" + ("" if step.body is None else f"\n{json.dumps(step.body, indent=1)}")


def as_json(step: Step) -> dict[str, Any]:
    """A request with what it is for."""
    return {"what": step.what, "name": step.name, "change": step.change, "method": step.method, "path": step.path or None,
            "body": step.body}


def _known_keys(door: Door, wanted: Wanted) -> dict[str, list[keys.Installed]] | None:
    """Keys that are there; None without security. Checks on the way that the user may install templates."""
    who = door.call("GET", "/_security/_authenticate", expect=(400, 404, 405))
    if "username" not in who:
        return None
    namespace = wanted.address.namespace
    streams = [f"{name}-{namespace}" for name in names.ALL_STREAMS]
    plain = [f"{name}-{namespace}" for name in names.ALL_INDICES]
    keys.check_privileges(door, [_TEMPLATES, *(["manage_api_key"] if wanted.roles else [])],
                          [{"names": streams, "privileges": ["view_index_metadata", "manage"]},
                           {"names": plain, "privileges": ["view_index_metadata", "manage", "create_index"]}], str(who["username"]))
    return keys.installed(door) or {} if wanted.roles else {}
