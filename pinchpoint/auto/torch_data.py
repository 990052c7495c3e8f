"""The waits for batches of `torch.utils.data.DataLoader`."""

from __future__ import annotations

import functools

from pinchpoint.auto import current
from pinchpoint.auto.wrapping import Switch, around

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SETTINGS = ("num_workers", "batch_size", "prefetch_factor", "pin_memory", "persistent_workers")


def install(torch: Any) -> None:
    """Time the start of a loader's workers, and each wait for a batch."""
    loaders = torch.utils.data.dataloader
    told: set[tuple[str, ...]] = set()

    def starts(loader: Any) -> Any:
        loop = current.loop()
        if loop is None:
            return None
        settings = {name: str(getattr(loader, name, None)) for name in _SETTINGS}
        seen = tuple(settings.values())
        if seen not in told and len(told) < 10:
            told.add(seen)
            loop.mark("dataloader", type(loader.dataset).__name__, **settings)
        return loop.start_begins(torch.is_grad_enabled())

    around(loaders.DataLoader, "__iter__", starts)
    _hook_next(torch, loaders._BaseDataLoaderIter)


def _hook_next(torch: Any, iterators: Any) -> None:
    original = iterators.__next__
    switch = Switch("torch.utils.data")
    grad_enabled = torch.is_grad_enabled
    is_tensor = torch.is_tensor

    @functools.wraps(original)
    def hooked(self: Any) -> Any:
        loop = phase = None
        if switch.on:
            try:
                loop = current.loop()
                if loop is not None:
                    phase = loop.wait_begins(id(self), grad_enabled())
            except Exception as error:
                switch.off(error)
        if loop is None:
            return original(self)
        try:
            batch = original(self)
        except BaseException:
            try:
                loop.wait_stops(id(self))
            except Exception as error:
                switch.off(error)
            raise
        if phase is not None:
            try:
                loop.wait_ends(_samples(batch, is_tensor))
            except Exception as error:
                switch.off(error)
        return batch

    iterators.__next__ = hooked


def _samples(batch: Any, is_tensor: Any) -> int:
    """Samples in a batch: the length of its first tensor; 0 where none is found."""
    for _ in range(3):
        if is_tensor(batch):
            return int(batch.shape[0]) if batch.dim() else 0
        if isinstance(batch, (list, tuple)) and batch:
            batch = batch[0]
        elif isinstance(batch, dict) and batch:
            batch = next(iter(batch.values()))
        else:
            return 0
    return 0
