"""Facts of GPUs that fell off the bus, and of GPUs that differ by what runs on them."""

import itertools

import numpy as np

from models.facts.gpu import any_flag
from models.facts.gpu_errors import errors_of
from models.facts.registry import Scope, fact
from models.placing import gpus_of
from models.view import Booleans, Entity, Event

LOST_XIDS = frozenset({"79"})
LOST_KINDS = frozenset({"gpu_lost", "gpu_unresponsive"})
#: Records of a GPU have ended when this many of them in a row are missing …
FEWEST_MISSED = 4
#: … while the host sent at least this many.
FEWEST_HOST = 3


def _says_lost(event: Event) -> bool:
    return event.details.get("xid") in LOST_XIDS or event.details.get("error.kind") in LOST_KINDS


def _run_gpus(scope: Scope) -> list[Entity]:
    """GPUs of the run; all of its hosts where their ranks are not known."""
    return [one.gpu for one in scope.view.placed] or [gpu for host in scope.view.hosts for gpu in gpus_of(scope.view, host)]


def missing_s(scope: Scope, gpu: Entity) -> float:
    """Longest stretch, in seconds, in which the host was measured and this GPU, measured before, was not.

    Its length is counted in readings of the host: while those are missing too, it was the shipper that was away.
    """
    at = np.flatnonzero(_seen(gpu))
    host = next((np.flatnonzero(_seen(one)) for one in scope.view.others.get("host", []) if one.host == gpu.host), at[:0])
    if len(at) < FEWEST_MISSED or len(host) < FEWEST_HOST:
        return 0.0
    usual, beat = float(np.median(np.diff(at))), float(np.median(np.diff(host)))
    longest = 0.0
    for first, second in itertools.pairwise([*at, len(scope.inside)]):
        readings = int(((host > first) & (host < second)).sum())
        if scope.inside[first: second].any() and readings >= FEWEST_HOST and readings * beat > FEWEST_MISSED * usual:
            longest = max(longest, readings * beat)
    return longest * scope.view.window_s


def _seen(entity: Entity) -> Booleans:
    return np.asarray(np.any([~np.isnan(values) for values in entity.series.values()], axis=0))


def lost_gpu(scope: Scope) -> Entity | None:
    """The GPU of the run that fell off the bus or does not answer; None when all are there."""
    for gpu in _run_gpus(scope):
        flags = [any_flag(gpu, name, scope.inside) or 0.0 for name in ("gpu.lost", "gpu.unresponsive")]
        if any(flags) or errors_of(scope, gpu, _says_lost) or missing_s(scope, gpu) > 0:
            return gpu
    return None


@fact("gpu.lost", "flag", "GPU metrics")
def lost(scope: Scope) -> float | None:
    """The driver said that a GPU of the run fell off the bus, or did not answer for it."""
    flags = [value for gpu in _run_gpus(scope) for name in ("gpu.lost", "gpu.unresponsive")
             if (value := any_flag(gpu, name, scope.inside)) is not None]
    return max(flags, default=None)


@fact("gpu.missing_s", "s", "GPU and host metrics")
def missing(scope: Scope) -> float | None:
    """Longest stretch without readings of a GPU of the run while its host went on being measured."""
    gpus = _run_gpus(scope)
    return max(missing_s(scope, gpu) for gpu in gpus) if gpus and scope.entities("host") else None


@fact("gpu.lost_events", "events", "errors of the kernel log or of NVML (events gpu_error)")
def lost_events(scope: Scope) -> float | None:
    """Reports that a GPU of the run fell off the bus (XID 79) or does not answer."""
    if not any(event.action == "gpu_error" for event in scope.view.events):
        return None
    return float(sum(len(errors_of(scope, gpu, _says_lost)) for gpu in _run_gpus(scope)))
