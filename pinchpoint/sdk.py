"""A few lines for a training loop that time its steps and phases: standard library only, silent when nobody collects."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pinchpoint.sdk_writer import Writer, whole

Item = TypeVar("Item")

#: Where a collector wants the records; without it nothing is written.
FOLDER, RUN_ID, WORKLOAD = "PINCHPOINT_DIR", "PINCHPOINT_RUN_ID", "PINCHPOINT_WORKLOAD"

#: Phases by name; what no phase covers is `other` in the analysis and never written.
PHASES = frozenset(("data_wait", "h2d", "forward", "backward", "optimizer", "compute", "communication", "checkpoint", "evaluation",
                    "compile", "gc", "other"))
#: Outside a step these belong to the step that follows, all others to the one before.
_LEADING = frozenset(("data_wait", "h2d"))

_RANKS = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


class Run:
    """A run that nobody collects: every method does nothing, at next to no cost."""

    def step(self, step: int | None = None, *, samples: int | None = None, tokens: int | None = None,
             batch_bytes: int | None = None, epoch: int | None = None) -> contextlib.AbstractContextManager[Any]:
        """Time one iteration; what is known of its batch may be given.

        Args:
            step: its number; None counts from 0.
            samples: samples on this rank.
            tokens: tokens on this rank.
            batch_bytes: size of the batch in bytes.
            epoch: pass over the data.
        """
        return _NOTHING

    def phase(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """Time a part of the step: data_wait, h2d, forward, backward, optimizer, communication, checkpoint, evaluation, compile.

        A phase inside a phase is taken out of the outer one. Outside a step, `data_wait` and `h2d` belong to the step that follows
        and any other phase to the step before, which it lengthens.
        """
        return _NOTHING

    def batches(self, loader: Iterable[Item]) -> Iterable[Item]:
        """The items of a loader; each wait for one is timed as `data_wait` of the step that follows."""
        return loader

    def mark(self, action: str, reason: str | None = None, **details: object) -> None:
        """Write down that something happened now: a checkpoint, a changed setting, a restart."""

    def close(self) -> None:
        """Write what is still waiting; happens by itself at the end of the process."""


def start(run_id: str | None = None, workload: str | None = None, rank: int | None = None,
          world_size: int | None = None) -> Run:
    """Begin to time this process as one rank of a run.

    Args:
        run_id: the run; None takes it from the collector.
        workload: what runs of the same thing share; None takes it from the collector.
        rank: number of this process; None takes it from RANK, OMPI_COMM_WORLD_RANK or SLURM_PROCID, else 0.
        world_size: how many there are; None takes it likewise, else 1.
    Returns: a run whose methods never raise and never block; one that does nothing unless a collector such as `pinchpoint watch`
        has set PINCHPOINT_DIR.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return Run()
    try:
        found_rank, found_size = _place()
        return _CollectedRun(folder, run_id or os.environ.get(RUN_ID) or f"run-{os.getpid()}", workload or os.environ.get(WORKLOAD),
                             found_rank if rank is None else whole(rank) or 0, found_size if world_size is None else whole(world_size))
    except Exception:  # nothing here may ever stop a training
        return Run()


def _place() -> tuple[int, int | None]:
    for rank, size in _RANKS:
        if rank in os.environ:
            return whole(os.environ[rank]) or 0, whole(os.environ.get(size))
    return 0, None


class _Nothing:
    """A context that does nothing, shared by all."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_NOTHING = _Nothing()


class _Phase:
    """The context of one phase name; holds no state of its own, so that one object serves all uses."""

    __slots__ = ("_name", "_run")

    def __init__(self, run: _CollectedRun, name: str) -> None:
        self._run, self._name = run, name

    def __enter__(self) -> None:
        self._run._enter(self._name)

    def __exit__(self, *_: object) -> None:
        self._run._leave(self._name)


class _Step:
    """The context of a step; what is known of the batch is left here by `Run.step`."""

    __slots__ = ("_run",)

    def __init__(self, run: _CollectedRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._run._enter_step()

    def __exit__(self, *_: object) -> None:
        self._run._leave_step()


class _CollectedRun(Run):
    """A run that is written down. Only the thread that began the first step or phase counts; what others do is not its time."""

    def __init__(self, folder: str, run_id: str, workload: str | None, rank: int, world_size: int | None) -> None:
        self._about = {"run.id": run_id, "run.workload": workload, "rank": rank, "world_size": world_size,
                       "host.name": socket.gethostname()}
        # one anchor: durations and distances stay right when the wall clock jumps
        self._anchor_ns = time.time_ns() - time.perf_counter_ns()
        self._phases_by_name = {name: _Phase(self, name) for name in PHASES}
        self._step_context = _Step(self)
        self._noted: set[str] = set()
        self._thread = 0
        self._next_step = 0
        self._writer = Writer(folder)
        self._reset()
        self._gc_began = 0
        _RUNS.add(self)
        gc.callbacks.append(_GarbageTimer(self))
        atexit.register(self.close)
        _at_end_of_worker(self)

    def _reset(self) -> None:
        """Forget the iteration under way."""
        self._open = 0
        self._begin = 0
        self._end = 0
        self._stack: list[list[Any]] = []
        self._seconds: dict[str, int] = {}
        self._about_step: tuple[Any, ...] = ()
        self._cpu_began = 0
        self._wait_cpu = 0
        self._wait_cpu_began = 0
        self._stepped = False

    def step(self, step: int | None = None, *, samples: int | None = None, tokens: int | None = None,
             batch_bytes: int | None = None, epoch: int | None = None) -> contextlib.AbstractContextManager[Any]:
        if not self._mine():
            return _NOTHING
        if not self._open:
            if self._end:
                self._emit()
            self._about_step = (step, samples, tokens, batch_bytes, epoch)
        return self._step_context

    def phase(self, name: str) -> contextlib.AbstractContextManager[Any]:
        if self._thread != threading.get_ident() and not self._mine():
            return _NOTHING
        found = self._phases_by_name.get(name)
        if found is None:
            self._note("unknown_phase", name)
            return _NOTHING
        return found

    def batches(self, loader: Iterable[Item]) -> Iterable[Item]:
        return _Batches(self, loader)

    def mark(self, action: str, reason: str | None = None, **details: object) -> None:
        with contextlib.suppress(Exception):
            self._writer.put({"kind": "event", "@timestamp": self._anchor_ns + time.perf_counter_ns(), "event.action": str(action)[:200],
                              "event.reason": None if reason is None else str(reason)[:2000], **self._about,
                              "step": max(self._next_step - 1, 0),
                              **{str(key)[:100]: str(value)[:1000] for key, value in list(details.items())[:50]}})

    def close(self) -> None:
        with contextlib.suppress(Exception):
            if self._end:
                self._emit()
            self._writer.close()

    # what follows runs in the training loop: no allocation beyond what is kept, no call that can block

    def _mine(self) -> bool:
        if not self._thread:
            self._thread = threading.get_ident()
        return self._thread == threading.get_ident()

    def _enter(self, name: str) -> None:
        now = time.perf_counter_ns()
        if not self._open and not self._stack and name in _LEADING and (self._end or not self._begin):
            if self._end:
                self._emit()
            self._begin = now
            self._cpu_began = time.thread_time_ns()
        elif not self._begin:
            self._begin = now
            self._cpu_began = time.thread_time_ns()
        if name == "data_wait":
            self._wait_cpu_began = time.thread_time_ns()
        self._stack.append([now, 0, name])

    def _leave(self, name: str) -> None:
        now = time.perf_counter_ns()
        stack = self._stack
        # phases that were left in another order than entered: what is inside ends with what is around it
        while stack and stack[-1][2] != name:
            if not any(entry[2] == name for entry in stack):
                return
            self._leave(stack[-1][2])
        if not stack:
            return
        began, inner, _ = stack.pop()
        spent = now - began
        self._seconds[name] = self._seconds.get(name, 0) + spent - inner
        if stack:
            stack[-1][1] += spent
        if name == "data_wait":
            self._wait_cpu += time.thread_time_ns() - self._wait_cpu_began
        if self._end and not self._open and not stack:
            self._end = now  # a phase after the step lengthens it

    def _enter_step(self) -> None:
        self._open += 1
        if self._open == 1 and not self._begin:
            self._begin = time.perf_counter_ns()
            self._cpu_began = time.thread_time_ns()

    def _leave_step(self) -> None:
        if self._open:
            self._open -= 1
        if not self._open:
            self._end = time.perf_counter_ns()
            self._stepped = True

    def _leave_body(self) -> None:
        """The body of a loop over batches ended; without `step` in it, it was the step itself."""
        if self._begin and not self._open and not self._stepped:
            self._end = time.perf_counter_ns()

    def _collected_garbage(self, spent: int) -> None:
        if self._stack or self._open:
            self._seconds["gc"] = self._seconds.get("gc", 0) + spent
            if self._stack:
                self._stack[-1][1] += spent

    def _emit(self) -> None:
        step, samples, tokens, batch_bytes, epoch = self._about_step or (None,) * 5
        number = whole(step)
        number = self._next_step if number is None else number
        self._next_step = number + 1
        self._writer.put((self._anchor_ns + self._begin, self._end - self._begin, number, self._seconds,
                          time.thread_time_ns() - self._cpu_began, self._wait_cpu, samples, tokens, batch_bytes, epoch, self._about))
        self._reset()

    def _note(self, action: str, reason: str) -> None:
        if action + reason not in self._noted and len(self._noted) < 100:
            self._noted.add(action + reason)
            self.mark(action, reason)


class _Batches(Iterator[Item]):
    """Items of a loader with the wait for each timed; has the length of the loader, and its end waits for nothing."""

    def __init__(self, run: _CollectedRun, loader: Iterable[Item]) -> None:
        self._run, self._loader = run, loader
        self._items: Iterator[Item] | None = None

    def __iter__(self) -> Iterator[Item]:
        self._items = None
        return self

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __next__(self) -> Item:
        run = self._run
        if not run._mine():
            self._items = self._items or iter(self._loader)
            return next(self._items)
        run._leave_body()
        run._enter("data_wait")
        try:
            if self._items is None:
                self._items = iter(self._loader)
            item = next(self._items)
        except BaseException:
            # the loader is through, or failed: there is no step that this wait belongs to
            run._reset()
            raise
        run._leave("data_wait")
        return item


class _GarbageTimer:
    """Called by the interpreter around each collection; holds its run weakly, so that runs can go."""

    def __init__(self, run: _CollectedRun) -> None:
        self._run = weakref.ref(run)
        self._began = 0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        run = self._run()
        if run is None or run._thread != threading.get_ident():
            return
        if phase == "start":
            self._began = time.perf_counter_ns()
        elif self._began:
            run._collected_garbage(time.perf_counter_ns() - self._began)
            self._began = 0


def _at_end_of_worker(run: _CollectedRun) -> None:
    """Processes of multiprocessing end without atexit: they have a list of their own, which each begins anew."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, run.close, exitpriority=100)
        util.register_after_fork(run, lambda forked: util.Finalize(None, forked.close, exitpriority=100))


_RUNS: weakref.WeakSet[_CollectedRun] = weakref.WeakSet()


def _after_fork() -> None:
    for run in list(_RUNS):
        run._writer.renew()
        run._reset()


os.register_at_fork(after_in_child=_after_fork)
