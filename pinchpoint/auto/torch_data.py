"""The waits for batches of `torch.utils.data.DataLoader`."""

from __future__ import annotations

import functools
from threading import get_ident
from time import perf_counter_ns, thread_time_ns

from pinchpoint.auto.current import begins
from pinchpoint.auto.noting import STARTED, STARTS, STATE, STOPS, WAIT, WAITED, mark
from pinchpoint.auto.wrapping import Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SETTINGS = ("num_workers", "batch_size", "prefetch_factor", "pin_memory", "persistent_workers")


def install(torch: Any) -> None:
    """Time the start of a loader, which may start processes, and each wait for a batch."""
    loaders = torch.utils.data.dataloader
    _hook_start(torch, loaders.DataLoader)
    _hook_next(torch, loaders._BaseDataLoaderIter)


def _hook_start(torch: Any, kind: Any) -> None:
    original = kind.__iter__
    switch = Switch("torch.utils.data.DataLoader")
    told: set[tuple[str, ...]] = set()
    grad_enabled = torch.is_grad_enabled
    add = STATE.add

    def tell(loader: Any) -> None:
        settings = {name: str(getattr(loader, name, None)) for name in _SETTINGS}
        seen = tuple(settings.values())
        if seen not in told and len(told) < 10:
            told.add(seen)
            mark("dataloader", type(loader.dataset).__name__, **settings)

    @functools.wraps(original)
    def hooked(self: Any) -> Any:
        if get_ident() != STATE.owner and not begins():
            return original(self)
        if switch.on:
            try:
                tell(self)
            except Exception as error:
                switch.off(error)
        add((STARTS, perf_counter_ns(), grad_enabled()))
        try:
            return original(self)
        finally:
            add((STARTED, perf_counter_ns()))

    kind.__iter__ = hooked


def _hook_next(torch: Any, kind: Any) -> None:
    original = kind.__next__
    grad_enabled = torch.is_grad_enabled
    add = STATE.add

    @functools.wraps(original)
    def hooked(self: Any) -> Any:
        if get_ident() != STATE.owner and not begins():
            return original(self)
        add((WAIT, perf_counter_ns(), thread_time_ns() if STATE.times_waits else None, id(self), grad_enabled()))
        try:
            batch = original(self)
        except BaseException:
            add((STOPS, perf_counter_ns(), id(self)))
            raise
        add((WAITED, perf_counter_ns(), thread_time_ns() if STATE.times_waits else None, id(self), _samples(batch)))
        return batch

    kind.__next__ = hooked


def _samples(batch: Any) -> int:
    """Samples in a batch: the length of its first tensor; 0 where none is found."""
    try:
        for _ in range(3):
            kind = type(batch)
            if kind is list or kind is tuple:
                batch = batch[0]
            elif hasattr(batch, "shape"):
                return int(batch.shape[0])
            else:
                batch = next(iter(batch.values()))
    except Exception:  # whatever a job makes of its batches
        return 0
    return 0
