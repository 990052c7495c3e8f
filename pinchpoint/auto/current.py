"""The loop of this process, made when something first trains; none where the script times its own steps."""

from __future__ import annotations

import atexit
import os
import sys
from threading import get_ident

from pinchpoint.auto import noting, trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pinchpoint.auto.recording import Recorder

_recorder: Recorder | None = None
_off = False


def begins(claim: bool = False) -> bool:
    """Whether notes of the calling thread are taken, from now on if nothing has trained yet.

    Args:
        claim: whether this thread surely trains: then it takes the place of another that has made no step.
    """
    global _off
    owner = noting.STATE.owner
    if owner or _off:
        if claim and owner and not _off and _recorder is not None and not _recorder.loop.steps:
            noting.STATE.owner = get_ident()
        return get_ident() == noting.STATE.owner
    try:
        _begin()
    except Exception as error:
        _off = True
        trouble.turned_off("all", error)
    return not _off


def stepped() -> None:
    """An optimizer has stepped: from the first time on there is something to write."""
    if _recorder is not None:
        _recorder.start()


def give_way() -> None:
    """End the loop if the script has begun to time its own steps: nothing is to be counted twice."""
    global _off
    timing = sys.modules.get("pinchpoint.sdk.timing")
    if timing is None or not timing.open_runs():
        return
    _off = True
    noting.mark("instrumentation_off", "the script times its own steps", hook="all")
    close()


def close() -> None:
    """Write what was noted, and note nothing any more."""
    global _recorder
    ended, _recorder = _recorder, None
    noting.end()
    if ended is not None:
        ended.close()


def _begin() -> None:
    """Make the loop of this process.

    A rank is known by the launcher's variables, or by the process group where there is one.
    """
    global _recorder, _off
    folder = os.environ.get("PINCHPOINT_DIR")
    if not folder or _is_loader_worker():
        _off = True
    give_way()
    if _off:
        return
    from pinchpoint.auto.recording import Recorder
    from pinchpoint.sdk.place import find_place

    rank, world_size = _of_process_group()
    _recorder = Recorder(find_place(str(folder), rank=rank, world_size=world_size), close)
    noting.begin(get_ident())
    trouble.tell_by(_tell)


def _tell(hook: str, why: str) -> None:
    noting.mark("instrumentation_off", why, hook=hook)


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
    global _recorder
    left, _recorder = _recorder, None
    noting.end()
    noting.STATE.notes.clear()
    if left is not None:
        left.leave_to_parent()


atexit.register(close)
os.register_at_fork(after_in_child=_begin_in_child)
