"""Waiting for other ranks: in DistributedDataParallel, and in collectives that Python waits for."""

from __future__ import annotations

from pinchpoint.auto import current
from pinchpoint.auto.run import BACKWARD, COMMUNICATION
from pinchpoint.auto.wrapping import Switch, around

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
    switch = Switch("torch.nn.parallel.DistributedDataParallel")
    known: set[int] = set()

    def asks(model: Any, *_: Any, **__: Any) -> Any:
        return None if current.existing() is None or not model.training else model

    def tells(model: Any) -> None:
        loop = current.existing()
        if loop is None or not loop.run.counts or not switch.on:
            return
        if id(model) not in known:
            known.add(id(model))
            if model.device_type == "cpu":
                model._set_ddp_runtime_logging_sample_rate(1)
            return
        numbers = model.logger._get_ddp_logging_data().ints_map
        exposed_ns = numbers.get("backward_comm_time", 0) - numbers.get("backward_compute_comm_overlap_time", 0)
        run = loop.run
        iteration = run.last
        if iteration.number is not None and loop.told_of is not iteration:
            loop.told_of = iteration
            run.move(iteration, BACKWARD, COMMUNICATION, exposed_ns)

    around(distributed.DistributedDataParallel, "_pre_forward", asks, tells)


def install_waits(distributed_c10d: Any) -> None:
    """Time the waits for collectives; those of a GPU return at once.

    Args:
        distributed_c10d: the module `torch.distributed.distributed_c10d`.
    """
    def begins(*_: Any, **__: Any) -> Any:
        loop = current.existing()
        return None if loop is None else loop.communication_begins()

    around(distributed_c10d.Work, "wait", begins)
