"""Facts of the memory of the GPU as PyTorch's allocator sees it."""

import numpy as np

from models.facts.gpu import suspect
from models.facts.ranks import slowest
from models.facts.registry import Scope, fact
from models.view import Booleans, Entity

ALLOCATOR = "memory of PyTorch's allocator (torch.memory.*)"
MEMORY = "memory of the GPUs (gpu.memory.used_bytes, gpu.memory.total_bytes)"


def _rank(scope: Scope) -> Entity | None:
    """The slowest rank, or the only one, if its allocator was read; else the rank whose allocator holds most."""
    known = [rank for rank in scope.view.ranks if rank.mean("torch.memory.reserved_bytes", scope.inside) is not None]
    place = slowest(scope)
    if place is not None and scope.view.ranks[place] in known:
        return scope.view.ranks[place]
    return max(known, key=lambda rank: rank.mean("torch.memory.reserved_bytes", scope.inside) or 0.0, default=None)


def _over(scope: Scope, part: str, whole: str) -> float | None:
    rank = _rank(scope)
    held, of = (None, None) if rank is None else (rank.mean(part, scope.inside), rank.mean(whole, scope.inside))
    return None if held is None or not of else held / of


def _of_device(scope: Scope, name: str) -> float | None:
    """A reading of the allocator over the memory of the rank's GPU."""
    rank = _rank(scope)
    total = next((one.gpu.mean("gpu.memory.total_bytes", scope.inside) for one in scope.view.placed if one.rank is rank), None)
    held = None if rank is None else rank.mean(name, scope.inside)
    return None if held is None or not total else held / total


@fact("allocator.reserved_to_allocated_ratio", "ratio", ALLOCATOR)
def fragmentation(scope: Scope) -> float | None:
    """Memory that PyTorch's allocator holds over what tensors use."""
    return _over(scope, "torch.memory.reserved_bytes", "torch.memory.allocated_bytes")


@fact("allocator.reserved_ratio", "ratio", f"{ALLOCATOR} and {MEMORY}")
def reserved(scope: Scope) -> float | None:
    """Share of the GPU's memory that PyTorch's allocator holds."""
    return _of_device(scope, "torch.memory.reserved_bytes")


@fact("allocator.allocated_ratio", "ratio", f"{ALLOCATOR} and {MEMORY}")
def allocated(scope: Scope) -> float | None:
    """Share of the GPU's memory that tensors use."""
    return _of_device(scope, "torch.memory.allocated_bytes")


@fact("allocator.retries_per_step", "retries a step", ALLOCATOR)
def retries(scope: Scope) -> float | None:
    """Times in a step that the allocator found no memory, gave its cache back and tried again, beyond before."""
    rank = _rank(scope)

    def each(windows: Booleans) -> float | None:
        rate = None if rank is None else rank.mean("torch.memory.alloc_retries", windows)
        steps = float(scope.view.steps[windows].sum())
        return None if rate is None or not steps else rate * float(scope.view.wall[windows].sum()) / steps

    now = each(scope.inside)
    return None if now is None else max(now - (each(scope.before) or 0.0 if scope.before is not None else 0.0), 0.0)


@fact("allocator.ooms_per_s", "1/s", ALLOCATOR)
def ooms(scope: Scope) -> float | None:
    """Times a second that the allocator gave up for want of memory."""
    rank = _rank(scope)
    return None if rank is None else rank.mean("torch.memory.ooms", scope.inside)


def _allocated_levels(scope: Scope) -> np.ndarray | None:
    """Medians of eleven stretches of the allocated memory of a rank, from shortly after the beginning of the run."""
    rank = _rank(scope)
    values = np.zeros(0) if rank is None else rank.series.get("torch.memory.allocated_bytes", np.zeros(0))
    if len(values):
        until = int(np.flatnonzero(scope.inside)[-1]) + 1
        values = values[len(values) // 50: until]
        values = values[~np.isnan(values)]
    return np.array([np.median(part) for part in np.array_split(values, min(11, len(values)))]) if len(values) >= 8 else None


@fact("allocator.growth_ratio", "ratio", ALLOCATOR)
def allocated_growth(scope: Scope) -> float | None:
    """Growth of the memory that tensors use over what it began with."""
    levels = _allocated_levels(scope)
    return None if levels is None or levels[0] <= 0 else float(levels[-1] / levels[0] - 1)


@fact("allocator.growth_bytes", "bytes", ALLOCATOR)
def allocated_growth_bytes(scope: Scope) -> float | None:
    """How much the memory that tensors use grew."""
    levels = _allocated_levels(scope)
    return None if levels is None else float(levels[-1] - levels[0])


@fact("allocator.rising_ratio", "ratio", ALLOCATOR)
def allocated_rising(scope: Scope) -> float | None:
    """Share of ten stretches of the run in which the memory that tensors use grew: 1 = it never stopped growing."""
    levels = _allocated_levels(scope)
    return None if levels is None else float((np.diff(levels) > 0.002 * levels[0]).mean())


@fact("gpu.memory.used_ratio", "ratio", MEMORY)
def used(scope: Scope) -> float | None:
    """Share of the GPU's memory in use."""
    one = suspect(scope)
    if one is None:
        return None
    held, total = (one.gpu.mean(f"gpu.memory.{name}_bytes", scope.inside) for name in ("used", "total"))
    return None if held is None or not total else held / total
