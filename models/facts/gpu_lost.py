"""Facts of GPUs that fell off the bus, and of GPUs that differ by what runs on them."""

import itertools

import numpy as np

from models.errors import is_lost
from models.facts.errors import counted, counts_as
from models.facts.gpu import any_flag
from models.facts.gpu_errors import NEEDS, are_told, reports_of
from models.facts.registry import Scope, fact
from models.placing import gpus_of
from models.view import Booleans, Entity

#: Records of a GPU have ended when this many of them in a row are missing …
FEWEST_MISSED = 4
#: … while the host sent at least this many.
FEWEST_HOST = 3


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
        if any(flags) or reports_of(scope, gpu, is_lost) or missing_s(scope, gpu) > 0:
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


@fact("gpu.lost_events", "events", NEEDS)
def lost_events(scope: Scope) -> float | None:
    """Reports that a GPU of the run, or of its hosts where none was measured, fell off the bus (XID 79) or does not answer."""
    if not scope.view.ranks:
        return float(len(counted("gpu.errors.lost", scope)))
    if not are_told(scope):
        return None
    gpus: list[Entity | None] = [*_run_gpus(scope)]
    return float(sum(len(reports_of(scope, gpu, is_lost)) for gpu in gpus or [None]))


counts_as("gpu.lost_events", "gpu.errors.lost")
