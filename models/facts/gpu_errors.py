"""Errors that a GPU or its driver reported, as events."""

from collections.abc import Callable

from models.facts.registry import Scope
from models.view import Entity, Event
from pinchpoint.clock import NS

#: An error may come this long before the slow stretch that follows from it, or this many windows.
EARLIER_S = 120.0
EARLIER_WINDOWS = 3


def errors_of(scope: Scope, gpu: Entity, wanted: Callable[[Event], bool]) -> list[Event]:
    """Errors of a GPU in a stretch or shortly before it.

    An error that names no GPU belongs to the GPU if it is the only one of the run on the host of the error.
    """
    starts = scope.view.starts[scope.inside]
    if not len(starts):
        return []
    window_ns = round(scope.view.window_s * NS)
    first = int(starts[0]) - max(round(EARLIER_S * NS), EARLIER_WINDOWS * window_ns)
    last = int(starts[-1]) + window_ns
    alone = sum(one.gpu.host == gpu.host for one in scope.view.placed) == 1
    return [event for event in scope.view.events if event.action == "gpu_error" and first <= event.time_ns <= last and wanted(event)
            and _is_of(event, gpu, alone)]


def _is_of(event: Event, gpu: Entity, alone: bool) -> bool:
    if uuid := event.details.get("gpu.uuid"):
        return uuid == gpu.id
    if event.host is not None and event.host != gpu.host:
        return False
    if (address := event.details.get("gpu.pci.address")) and (known := gpu.labels.get("gpu.pci.address")):
        return _short(address) == _short(known)
    return alone


def _short(address: str) -> str:
    """A PCI address without its domain, which the kernel writes with four digits and the driver with eight.

    >>> _short("00000000:3B:00.0"), _short("0000:3b:00")
    ('3b:00', '3b:00')
    """
    return ":".join(address.lower().split(".")[0].split(":")[-2:])
