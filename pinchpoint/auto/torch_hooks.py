"""Hooks into PyTorch 2: batches, models, gradients, optimizers and what is saved."""

from __future__ import annotations

import functools
import os
import sys
from threading import get_ident
from time import perf_counter_ns

from pinchpoint.auto import torch_data, torch_distributed, torch_modules
from pinchpoint.auto.current import begins, stepped
from pinchpoint.auto.noting import BACKWARD, BACKWARDED, OPTIMIZED, OPTIMIZER, STATE, mark
from pinchpoint.auto.trouble import turned_off
from pinchpoint.auto.wrapping import as_phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def install(torch: Any) -> None:
    """Lay all hooks, each by itself: one that this version does not have leaves the others.

    Raises: LookupError on a version that is not 2.x.
    """
    if str(torch.__version__).split(".")[0] != "2":
        raise LookupError(f"PyTorch {torch.__version__} is not a version that the hooks know (2.x)")
    parts: dict[str, Callable[[Any], object]] = {
        "torch.utils.data": torch_data.install,
        "torch.nn.Module": torch_modules.install,
        "torch.autograd.backward": _hook_backward,
        "torch.optim": _hook_optimizers,
        "torch.amp.GradScaler": _hook_scaler,
        "torch.save": _hook_saving,
        "torch.distributed": _hook_ranks,
    }
    for name, lay in parts.items():
        try:
            lay(torch)
        except Exception as error:
            turned_off(name, error)


def _hook_backward(torch: Any) -> None:
    original = torch.autograd.backward
    add = STATE.add

    @functools.wraps(original)
    def backward(*args: Any, **kwargs: Any) -> Any:
        if get_ident() != STATE.owner and not begins(claim=True):
            return original(*args, **kwargs)
        add((BACKWARD, perf_counter_ns()))
        try:
            return original(*args, **kwargs)
        finally:
            add((BACKWARDED, perf_counter_ns()))

    torch.autograd.backward = backward  # Tensor.backward calls it by this name


def _hook_optimizers(torch: Any) -> None:
    add = STATE.add

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        if get_ident() == STATE.owner:
            add((OPTIMIZER, perf_counter_ns()))

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        if get_ident() == STATE.owner:
            add((OPTIMIZED, perf_counter_ns(), id(optimizer)))
            if not STATE.writes:
                stepped()

    optimizers = sys.modules["torch.optim.optimizer"]
    optimizers.register_optimizer_step_pre_hook(before)
    optimizers.register_optimizer_step_post_hook(after)


def _hook_scaler(torch: Any) -> None:
    """A scaler leaves the step of its optimizer out where gradients overflow: that is a step all the same."""
    scalers = torch.amp.GradScaler
    original = scalers.step

    @functools.wraps(original)
    def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if get_ident() != STATE.owner:
            return original(scaler, optimizer, *args, **kwargs)
        STATE.add((OPTIMIZER, perf_counter_ns()))
        try:
            return original(scaler, optimizer, *args, **kwargs)
        finally:
            STATE.add((OPTIMIZED, perf_counter_ns(), id(optimizer)))

    scalers.step = step


def _hook_saving(torch: Any) -> None:
    def told(obj: Any, f: Any = None, *_: Any, **__: Any) -> None:
        if isinstance(f, (str, os.PathLike)):
            mark("checkpoint", os.fspath(f))

    as_phase(torch, "save", "checkpoint", told)


def _hook_ranks(torch: Any) -> None:
    if torch.distributed.is_available():
        torch_distributed.install(torch.nn.parallel.distributed)
        # those of a GPU return at once
        as_phase(torch.distributed.distributed_c10d.Work, "wait", "communication")
