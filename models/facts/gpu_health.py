"""Facts of errors of a GPU's memory, of who else computes on it, of whether it is silent."""

from collections.abc import Callable

import numpy as np

from models.errors import is_of_memory
from models.facts.errors import counted, counts_as
from models.facts.gpu import any_flag, beyond, suspect
from models.facts.gpu_clocks import FREE_RATIO, brake, clock_loss, free, power, thermal
from models.facts.gpu_errors import NEEDS, are_told, reports_of
from models.facts.ranks import drift
from models.facts.registry import Scope, fact
from models.view import Booleans, Entity

ECC = "memory errors of the GPUs (gpu.ecc.*, gpu.remapped_rows.*)"
SHARING = "processes on the GPUs (gpu.processes, or process.gpu.memory_bytes with gpu.uuid)"
HEALTH = "clocks, throttling and memory errors of the GPUs"

#: Corrected errors an hour up to which a GPU is healthy.
FEW_CORRECTED_PER_H = 60.0
#: A program with less memory of a GPU than this holds it open and computes nothing to speak of.
LEAST_BYTES = 1e9
#: A GPU that lost less of its clock than this did not lose it.
SAME_CLOCK = 0.04


def _per_hour(name: str) -> Callable[[Entity, Booleans], float | None]:
    def measure(gpu: Entity, inside: Booleans) -> float | None:
        rate = gpu.mean(name, inside)
        return None if rate is None else 3600 * rate

    return measure


@fact("gpu.ecc.corrected_per_h", "errors an hour", ECC)
def corrected(scope: Scope) -> float | None:
    """Memory errors of the GPU that were corrected in an hour, beyond before and beyond the others."""
    return beyond(scope, _per_hour("gpu.ecc.corrected"))


@fact("gpu.ecc.uncorrected_count", "errors", ECC)
def uncorrected(scope: Scope) -> float | None:
    """Memory errors of the GPU that could not be corrected, and rows replaced after such, beyond before and beyond the others."""
    return beyond(scope, lambda gpu, inside: _count(gpu, inside, scope.view.window_s))


def _count(gpu: Entity, inside: Booleans, window_s: float) -> float | None:
    rates = [rate for name in ("gpu.ecc.uncorrected", "gpu.remapped_rows.uncorrected") if (rate := gpu.mean(name, inside)) is not None]
    return max(rates) * float(inside.sum()) * window_s if rates else None


@fact("gpu.remap_flag", "flag", ECC)
def remap(scope: Scope) -> float | None:
    """Rows of the GPU's memory wait for a reset to be replaced, or could not be replaced."""
    return beyond(scope, _remap_flag)


def _remap_flag(gpu: Entity, inside: Booleans) -> float | None:
    flags = [any_flag(gpu, name, inside) for name in ("gpu.remapped_rows.pending", "gpu.remapped_rows.failed")]
    return max((flag for flag in flags if flag is not None), default=None)


@fact("gpu.memory_error_events", "events", NEEDS)
def memory_error_events(scope: Scope) -> float | None:
    """Reports of memory errors of the GPU since shortly before the slow stretch; of any GPU where there are no steps."""
    if not scope.view.ranks:
        return float(len(counted("gpu.errors.ecc", scope)))
    one = suspect(scope)
    return None if one is None or not are_told(scope) else float(len(reports_of(scope, one.gpu, is_of_memory)))


counts_as("gpu.memory_error_events", "gpu.errors.ecc")


@fact("gpu.other_processes", "programs", SHARING)
def other_processes(scope: Scope) -> float | None:
    """Processes of others that compute on the GPU, beyond before and beyond the other GPUs."""
    return beyond(scope, lambda gpu, inside: _strangers(scope, gpu, inside), past_is_enough=True)


def _strangers(scope: Scope, gpu: Entity, inside: Booleans) -> float | None:
    """Mean number of processes on the GPU that are not the run's."""
    named = [one for one in scope.entities("process") if one.labels.get("gpu.uuid") == gpu.id
             and (one.mean("process.gpu.memory_bytes", inside) or 0.0) >= LEAST_BYTES]
    seen = {one.id: int((~np.isnan(one.series["process.gpu.memory_bytes"][inside])).sum()) for one in named}
    ranks = sum(one.gpu is gpu for one in scope.view.placed)
    if any(seen.values()):
        most, ours = max(seen.values()), [one.id for one in named if _is_ours(scope, one)]
        # a rank in a container knows its process by another number than the driver does
        return max(sum(count / most for name, count in seen.items() if name not in ours) - (0 if ours else ranks), 0.0)
    count = gpu.mean("gpu.processes", inside)
    return None if count is None else max(count - ranks, 0.0)


def _is_ours(scope: Scope, process: Entity) -> bool:
    """Whether a process is a rank of the run, or one that a rank started."""
    ranks = {(rank.host, rank.labels.get("process.pid")) for rank in scope.view.ranks}
    return process.labels.get("process.role") == "run" or any(
        (process.host, process.labels.get(name)) in ranks for name in ("process.pid", "process.parent.pid"))


def strangers_on(scope: Scope, gpu: Entity) -> list[Entity]:
    """Processes on a GPU that are not the run's, the largest first."""
    found = [one for one in scope.entities("process") if one.labels.get("gpu.uuid") == gpu.id and not _is_ours(scope, one)
             and (one.mean("process.gpu.memory_bytes", scope.inside) or 0.0) >= LEAST_BYTES]
    return sorted(found, key=lambda one: -(one.mean("process.gpu.memory_bytes", scope.inside) or 0.0))


@fact("gpu.silent", "flag", HEALTH)
def silent(scope: Scope) -> float | None:
    """The GPU of the slowest rank reports neither throttling, nor lower clocks, nor errors."""
    loss, one = clock_loss(scope), suspect(scope)
    if one is None or loss is None:
        return None
    runs_free = free(one.gpu, scope.inside)
    if runs_free is None:
        return None
    throttled = max(share(scope) or 0.0 for share in (thermal, power, brake))
    errors = max(measure(scope) or 0.0 for measure in (uncorrected, remap, memory_error_events))
    return float(loss <= SAME_CLOCK and throttled <= FREE_RATIO and errors == 0 and (corrected(scope) or 0.0) <= FEW_CORRECTED_PER_H
                 and (other_processes(scope) or 0.0) < 0.4)


@fact("gpu.gray_ratio", "ratio", HEALTH)
def gray(scope: Scope) -> float | None:
    """How much slower the slowest rank became against its own best while its GPU reported nothing."""
    quiet, slower = silent(scope), drift(scope)
    return None if quiet is None or slower is None else slower if quiet else 1.0
