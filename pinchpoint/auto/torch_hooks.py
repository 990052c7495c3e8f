"""Hooks into PyTorch 2: batches, models, gradients, optimizers and what is saved."""

from __future__ import annotations

import os
import sys

from pinchpoint.auto import current, torch_data, torch_distributed, torch_modules
from pinchpoint.auto.notes import turned_off
from pinchpoint.auto.wrapping import Switch, around

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
    def begins(*_: Any, **__: Any) -> Any:
        loop = current.loop()
        return None if loop is None else loop.backward_begins()

    # Tensor.backward calls it by this name
    around(torch.autograd, "backward", begins, compiling=torch.compiler.is_compiling)


def _hook_optimizers(torch: Any) -> None:
    switch = Switch("torch.optim")

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        try:
            loop = current.existing()
            if loop is not None and switch.on:
                loop.optimizer_begins()
        except Exception as error:
            switch.off(error)

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        try:
            loop = current.existing()
            if loop is not None and switch.on:
                loop.optimizer_ends(id(optimizer))
        except Exception as error:
            switch.off(error)

    optimizer = sys.modules["torch.optim.optimizer"]
    optimizer.register_optimizer_step_pre_hook(before)
    optimizer.register_optimizer_step_post_hook(after)


def _hook_scaler(torch: Any) -> None:
    """A scaler leaves the step of its optimizer out where gradients overflow: that is a step all the same."""
    def begins(scaler: Any, optimizer: Any, *_: Any, **__: Any) -> Any:
        loop = current.existing()
        return None if loop is None or loop.optimizer_begins() is None else (loop, optimizer)

    def ends(begun: Any) -> None:
        loop, optimizer = begun
        loop.optimizer_ends(id(optimizer))

    around(torch.amp.GradScaler, "step", begins, ends)


def _hook_saving(torch: Any) -> None:
    def begins(obj: Any, f: Any = None, *_: Any, **__: Any) -> Any:
        loop = current.existing()
        phase = None if loop is None else loop.checkpoint_begins()
        if loop is not None and phase is not None and isinstance(f, (str, os.PathLike)):
            loop.mark("checkpoint", os.fspath(f))
        return phase

    around(torch, "save", begins)


def _hook_ranks(torch: Any) -> None:
    if torch.distributed.is_available():
        torch_distributed.install(torch.nn.parallel.distributed)
        torch_distributed.install_waits(torch.distributed.distributed_c10d)
