"""The loop of this process, made when something first trains; none where the script times its own steps."""

from __future__ import annotations

import os
import sys

from pinchpoint.auto import notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pinchpoint.auto.loop import Loop

_loop: Loop | None = None
_off = False


def loop() -> Loop | None:
    """The loop that hooks speak to; None where they have nothing to say. Raises what making it raises: hooks are guarded."""
    if _loop is not None or _off:
        return _loop
    return _begin()


def existing() -> Loop | None:
    """The loop if something has trained; who only saves or communicates makes none."""
    return _loop


def give_way() -> None:
    """End the loop if the script has begun to time its own steps: nothing is to be counted twice."""
    global _loop, _off
    from pinchpoint.auto.run import HookedRun
    from pinchpoint.sdk import timing

    if all(isinstance(run, HookedRun) for run in timing.open_runs()):
        return
    ended, _loop, _off = _loop, None, True
    if ended is not None:
        if ended.steps:
            ended.run.mark("instrumentation_off", "the script times its own steps", hook="all")
        ended.run.close()


def _begin() -> Loop | None:
    """Make the loop of this process.

    A rank is known by the launcher's variables, or by the process group where there is one.
    """
    global _loop, _off
    if _is_loader_worker():
        _off = True
        return None
    give_way()
    if _off:
        return None
    from pinchpoint.auto.loop import Loop
    from pinchpoint.auto.run import HookedRun
    from pinchpoint.sdk.place import find_place

    folder = os.environ.get("PINCHPOINT_DIR")
    if not folder:
        _off = True
        return None
    rank, world_size = _of_process_group()
    _loop = Loop(HookedRun(find_place(folder, rank=rank, world_size=world_size)))
    notes.tell_by(_note)
    return _loop


def _note(hook: str, why: str) -> None:
    if _loop is not None:
        _loop.mark("instrumentation_off", why, hook=hook)


def _is_loader_worker() -> bool:
    worker = sys.modules.get("torch.utils.data._utils.worker")
    return getattr(worker, "_worker_info", None) is not None


def _of_process_group() -> tuple[int | None, int | None]:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None, None
    return distributed.get_rank(), distributed.get_world_size()


def _begin_in_child() -> None:
    """A forked child begins without a loop; if it trains, it gets one of its own."""
    global _loop
    left, _loop = _loop, None
    if left is not None:
        left.run.begin_in_child()  # what waits to be written is the parent's
        left.run.close()


os.register_at_fork(after_in_child=_begin_in_child)
