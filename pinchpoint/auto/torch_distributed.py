"""Waiting for other ranks in DistributedDataParallel."""

from __future__ import annotations

from pinchpoint.auto.noting import EXPOSED, STATE, note
from pinchpoint.auto.wrapping import after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(distributed: Any) -> None:
    """Take what a backward pass waited for other ranks out of it.

    DistributedDataParallel measures that itself: from the last gradient computed to the last one reduced. It tells at the next forward
    pass. On a GPU it measures the first ten passes and each hundredth, since reading its events waits for the device; we leave that.

    Args:
        distributed: the module `torch.nn.parallel.distributed`.
    """
    known: set[int] = set()

    def tells(model: Any, *_: Any, **__: Any) -> None:
        if not STATE.owner or not model.training:
            return
        if id(model) not in known:
            known.add(id(model))
            if model.device_type == "cpu":
                model._set_ddp_runtime_logging_sample_rate(1)
            return
        numbers = model.logger._get_ddp_logging_data().ints_map
        note(EXPOSED, numbers.get("backward_comm_time", 0) - numbers.get("backward_compute_comm_overlap_time", 0))

    after(distributed.DistributedDataParallel, "_pre_forward", tells)
