"""Bring together what several sources report of the same error of a GPU."""

import dataclasses
from collections.abc import Iterable

from models.view import Entity, Event
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.addresses import same_form

#: The driver's own event and the kernel's line of the same error are this far apart at most; so are repetitions that say nothing new.
SAME_ERROR_S = 10.0

_Key = tuple[str | None, str, str, str]


def told_once(events: Iterable[Event], gpus: Iterable[Entity]) -> list[Event]:
    """Events in the order of their time: each error of a GPU once, with the UUID of the GPU where any source tells it.

    Args:
        events: of all sources.
        gpus: those that were measured, whose labels tell which UUID is at which address.
    """
    ordered = sorted(events, key=lambda event: event.time_ns)
    uuids = _uuids(ordered, gpus)
    found: list[Event] = []
    places: dict[_Key, int] = {}
    for event in ordered:
        if event.action != "gpu_error":
            found.append(event)
            continue
        event = _named(event, uuids)
        key = _key(event)
        place = None if key is None else places.get(key)
        if place is not None and event.time_ns - found[place].time_ns <= SAME_ERROR_S * NS:
            found[place] = dataclasses.replace(found[place], details=_both(found[place].details, event.details))
            continue
        if key is not None:
            places[key] = len(found)
        found.append(event)
    return found


def _uuids(events: list[Event], gpus: Iterable[Entity]) -> dict[tuple[str | None, str], str]:
    """The UUID of the GPU at an address of a host."""
    told = [(gpu.host, gpu.labels.get("gpu.pci.address"), gpu.id) for gpu in gpus if gpu.id != gpu.labels.get("gpu.pci.address")
            and "gpu.parent.uuid" not in gpu.labels]
    told += [(event.host, event.details.get("gpu.pci.address"), event.details["gpu.uuid"]) for event in events
             if event.action == "gpu_error" and "gpu.uuid" in event.details and "gpu.parent.uuid" not in event.details]
    return {(host, same_form(address)): uuid for host, address, uuid in told if address}


def _named(event: Event, uuids: dict[tuple[str | None, str], str]) -> Event:
    address = event.details.get("gpu.pci.address")
    uuid = uuids.get((event.host, same_form(address))) if address and "gpu.uuid" not in event.details else None
    return event if uuid is None else dataclasses.replace(event, details={**event.details, "gpu.uuid": uuid})


def _key(event: Event) -> _Key | None:
    """What two reports of the same error share; None where they do not say which GPU it is, or what happened."""
    details = event.details
    kind, xid = details.get("error.kind", ""), details.get("xid", "")
    if not kind:
        return None
    if uuid := details.get("gpu.uuid"):
        return None, uuid, kind, xid
    address = details.get("gpu.pci.address")
    return (event.host, same_form(address), kind, xid) if address else None


def _both(first: dict[str, str], second: dict[str, str]) -> dict[str, str]:
    """The labels of both; the line of the kernel says how bad it was, which the number alone does not."""
    return {**second, **first} if "log.message" in first else {**first, **second}
