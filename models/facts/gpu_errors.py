"""Errors that a GPU or its driver reported, as events."""

from collections.abc import Callable

from models.errors import finding_of
from models.facts.registry import Scope
from models.view import Entity, Event
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.addresses import same_form
from pinchpoint.gpu_errors.findings import Finding

NEEDS = "errors of the kernel log or of NVML (events gpu_error)"
#: An error may come this long before the slow stretch that follows from it, or this many windows.
EARLIER_S = 120.0
EARLIER_WINDOWS = 3


def are_told(scope: Scope) -> bool:
    """Whether any error of a GPU is known, so that none of one GPU says something."""
    return any(event.action == "gpu_error" for event in scope.view.events)


def reports_of(scope: Scope, gpu: Entity | None, wanted: Callable[[Finding], bool]) -> list[Event]:
    """Errors of a GPU in a stretch or shortly before it; of any GPU where None is given.

    An error that names no GPU belongs to the GPU if it is the only one of the run on the host of the error.
    """
    starts = scope.view.starts[scope.inside]
    if not len(starts):
        return []
    window_ns = round(scope.view.window_s * NS)
    first = int(starts[0]) - max(round(EARLIER_S * NS), EARLIER_WINDOWS * window_ns)
    last = int(starts[-1]) + window_ns
    return [event for event in scope.view.events if event.action == "gpu_error" and first <= event.time_ns <= last
            and (found := finding_of(event)) is not None and wanted(found) and (gpu is None or _is_of(event, gpu, scope))]


def _is_of(event: Event, gpu: Entity, scope: Scope) -> bool:
    if uuid := event.details.get("gpu.uuid"):
        return uuid == gpu.id
    if event.host is not None and event.host != gpu.host:
        return False
    if (address := event.details.get("gpu.pci.address")) and (known := gpu.labels.get("gpu.pci.address")):
        return same_form(address) == same_form(known)
    return sum(one.gpu.host == gpu.host for one in scope.view.placed) == 1
