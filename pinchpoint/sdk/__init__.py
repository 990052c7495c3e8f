"""A few lines for a training loop that time its steps and phases: standard library only, silent when nobody collects.

Training environments are older than ours: the files of this package run on Python 3.9.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be a third of the import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from typing import TypeVar

    Item = TypeVar("Item")

__all__ = ["Run", "start"]


class _Nothing:
    """A context that does nothing, shared by all."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None


NOTHING = _Nothing()


class Run:
    """A run that nobody collects: every method does nothing, at next to no cost.

    The time of one thread counts: of the one that entered the first step, and until then of the one that called `start`.
    Steps and phases of other threads are left out; only when that thread has ended may another take its place.
    """

    __slots__ = ()

    def step(self, samples: int | None = None, tokens: int | None = None, batch_bytes: int | None = None, epoch: int | None = None,
             step: int | None = None) -> AbstractContextManager[None]:
        """Time one iteration; what is known of its batch may be given. A step inside a step is part of it.

        Args:
            samples: samples on this rank.
            tokens: tokens on this rank.
            batch_bytes: size of the batch in bytes.
            epoch: pass over the data.
            step: number of the step; None counts on, from 0.
        """
        return NOTHING

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Time a part of the step, such as data_wait, forward, backward or checkpoint; an unknown name counts as `other`.

        A phase inside a phase is taken out of the outer one. Outside a step, `data_wait` and `h2d` begin the step that follows,
        and any other phase belongs to the step before, which it lengthens.

        Args:
            name: a key of `pinchpoint.fields.PHASES`.
        """
        return NOTHING

    def batches(self, loader: Iterable[Item]) -> Iterable[Item]:
        """The loader, with each wait for an item timed as `data_wait` of the step that follows; in all else it acts as the loader.

        As long as a run has not called `step`, the body of the loop is the step.
        """
        return loader

    def mark(self, action: str, /, reason: str | None = None, **details: object) -> None:
        """Write down that something happened now: a checkpoint, a changed setting, a restart."""

    def close(self) -> None:
        """Write what waits and end the run; happens by itself at the end of the process."""


_NOBODY = Run()


def start(run_id: str | None = None, workload: str | None = None, rank: int | None = None, world_size: int | None = None) -> Run:
    """Begin to time this process as one rank of a run.

    Args:
        run_id: the run; None takes it from the collector.
        workload: what runs of the same thing share; None takes it from the collector.
        rank: number of this process; None takes it from RANK, OMPI_COMM_WORLD_RANK or SLURM_PROCID, else 0.
        world_size: how many there are; None takes it likewise, else 1.
    Returns: a run whose methods neither raise nor block; one that does nothing unless a collector such as `pinchpoint watch`
        has set PINCHPOINT_DIR.
    """
    folder = os.environ.get("PINCHPOINT_DIR")
    if not folder:
        return _NOBODY
    try:
        # only here: who is not collected does not pay for threads, JSON and sockets
        from pinchpoint.sdk.place import find_place
        from pinchpoint.sdk.timing import CollectedRun

        run = CollectedRun(find_place(folder, run_id, workload, rank, world_size))
        hooks = sys.modules.get("pinchpoint.auto.current")
        if hooks is not None:
            hooks.give_way()
        return run
    except Exception:  # nothing here may ever stop a training
        return _NOBODY
