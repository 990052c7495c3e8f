"""Time the steps and phases of one thread, exclusively: every nanosecond of a step goes to one phase or to none."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import threading
from collections.abc import Iterable
from threading import get_ident
from time import perf_counter_ns, thread_time_ns
from typing import TypeVar

from pinchpoint.sdk import NOTHING, Run
from pinchpoint.sdk.batches import wrap
from pinchpoint.sdk.place import Place
from pinchpoint.sdk.values import text, whole
from pinchpoint.sdk.writing import PHASES, Iteration, Mark, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Item = TypeVar("Item")

_DATA_WAIT, _GC = PHASES.index("data_wait"), PHASES.index("gc")
_MOST_NESTED = 100
_MOST_NOTED = 100
_NO_BATCH = (None, None, None, None)


class Phase:
    """The context of one phase name; what is open stands in the run, so that one object serves all uses, nested ones too."""

    __slots__ = ("_leads", "_run", "index")

    def __init__(self, run: CollectedRun, name: str) -> None:
        self._run = run
        self._leads = name in ("data_wait", "h2d")
        self.index = PHASES.index(name)

    def __enter__(self) -> None:
        run = self._run
        if get_ident() != run.owner:
            return
        now = perf_counter_ns()
        stack = run.stack
        if stack:
            run.charge(now)
            if len(stack) >= _MOST_NESTED:  # entered again and again, and never left
                stack.clear()
        elif self._leads and run.between:
            run.begin(now)
        stack.append(self)
        if now > run.at:
            run.at = now
        if self.index == _DATA_WAIT:
            run.wait_cpu_at = thread_time_ns()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        run = self._run
        stack = run.stack
        if get_ident() != run.owner or not stack:
            return
        now = perf_counter_ns()
        while stack[-1] is not self:
            if self not in stack:
                return
            run.leave(now)  # what was entered inside and not left ends with it
        run.leave(now)


class Step:
    """The context of a step; what is known of its batch was left in the run by `Run.step`."""

    __slots__ = ("_run",)

    def __init__(self, run: CollectedRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._run.enter_step()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._run.leave_step(kind)


class CollectedRun(Run):
    """A run that is written down.

    An iteration is begun by `step`, or before it by a data_wait or h2d; while `between` iterations, `into` is the one that has
    ended and may still be lengthened. It is handed to the writer when the next step is entered, for the end of the batches
    takes the iteration back that the last wait has begun.
    """

    __slots__ = ("_batch", "_closed", "_depth", "_finished", "_gc_began", "_next_number", "_noted", "_outside", "_phases", "_spare",
                 "_step", "_stepped", "at", "between", "into", "owner", "stack", "wait_cpu_at", "writer")

    def __init__(self, place: Place) -> None:
        self.writer = Writer(place, close_all)
        self._phases = {name: Phase(self, name) for name in PHASES}
        self._step = Step(self)
        self._noted: set[str] = set()
        self._next_number = 0
        self._closed = False
        self.owner = get_ident()
        self._forget()
        gc.callbacks.append(self._collecting)
        _RUNS.append(self)

    def _forget(self) -> None:
        """Begin as if nothing had happened yet."""
        self.into = Iteration()
        self.between = True
        self.stack: list[Phase] = []
        self.at = 0
        self.wait_cpu_at = 0
        self._finished: Iteration | None = None
        self._spare = Iteration()
        self._batch: tuple[int | None, ...] = _NO_BATCH
        self._depth = 0
        self._outside = 0
        self._stepped = False
        self._gc_began = 0

    def step(self, samples: int | None = None, tokens: int | None = None, batch_bytes: int | None = None, epoch: int | None = None,
             step: int | None = None) -> AbstractContextManager[None]:
        if get_ident() != self.owner and not self._claim():
            return NOTHING
        if not self._depth:
            # the calls are spared for what is not given, which is most of it
            self._batch = (None if samples is None else whole(samples), None if tokens is None else whole(tokens),
                           None if batch_bytes is None else whole(batch_bytes), None if epoch is None else whole(epoch))
            if step is not None and (number := whole(step)) is not None:
                self._next_number = number
        return self._step

    def phase(self, name: str) -> AbstractContextManager[None]:
        try:
            return self._phases[name]
        except (KeyError, TypeError):
            self._note("sdk_unknown_phase", name)
            return self._phases["other"]

    def batches(self, loader: Iterable[Item]) -> Iterable[Item]:
        return wrap(self, loader)

    def mark(self, action: str, /, reason: str | None = None, **details: object) -> None:
        with contextlib.suppress(Exception):
            if not self._closed:
                labels = {text(key, 100): text(value, 1000) for key, value in list(details.items())[:50]}
                self.writer.put(Mark(perf_counter_ns(), text(action, 200), None if reason is None else text(reason, 2000),
                                     self._at_step(), labels))

    def close(self) -> None:
        with contextlib.suppress(Exception):
            if not self._closed:
                self._closed = True
                self.owner = 0
                with contextlib.suppress(ValueError):
                    gc.callbacks.remove(self._collecting)
                    _RUNS.remove(self)
                self._hand_over_all()
                self.writer.close()

    # What follows runs in the training loop: nothing that can block, and no containers made outside of a step, for they can set
    # off the garbage collector, whose time would go to the wrong phase.

    def begin(self, now: int) -> None:
        """Begin an iteration; the one before is kept until it is sure that there is one."""
        if self.into.number is not None:
            self._finished = self.into
        into = self.into = self._spare
        into.begin = now
        into.cpu_begin = self.wait_cpu_at = thread_time_ns()
        self.between = False
        self.at = now

    def charge(self, now: int) -> None:
        """Give the time since the last change to the innermost phase."""
        into = self.into
        index = self.stack[-1].index
        if now > self.at:  # else the garbage collector came between reading the clock and here
            into.spent[index] += now - self.at
            self.at = now
        if index == _DATA_WAIT:
            cpu = thread_time_ns()
            into.wait_cpu = (into.wait_cpu or 0) + cpu - self.wait_cpu_at
            self.wait_cpu_at = cpu
        if self.between:
            into.end = self.at
            into.cpu_end = thread_time_ns()

    def leave(self, now: int) -> None:
        """End the innermost phase."""
        self.charge(now)
        self.stack.pop()
        if self.stack and self.stack[-1].index == _DATA_WAIT:
            self.wait_cpu_at = thread_time_ns()

    def enter_step(self) -> None:
        """Begin an iteration unless a wait has begun it already."""
        if get_ident() != self.owner:
            return
        self._depth += 1
        if self._depth > 1:
            return
        if self.between:
            self.begin(perf_counter_ns())
        self._hand_over()
        self._stepped = True
        self._outside = len(self.stack)

    def leave_step(self, kind: object) -> None:
        """End the iteration; one that was left because there was no batch any more is none."""
        if get_ident() != self.owner or not self._depth:
            return
        self._depth -= 1
        if not self._depth:
            self._finish()
            if kind is StopIteration:
                self.into = Iteration()

    def _finish(self) -> None:
        spare = Iteration()
        now = perf_counter_ns()
        if self.stack:
            self.charge(now)
            del self.stack[self._outside:]
        into = self.into
        into.end = max(now, self.at)
        into.cpu_end = self.wait_cpu_at = thread_time_ns()
        into.number = self._next_number
        into.batch = self._batch
        self._batch = _NO_BATCH
        self._next_number += 1
        self._spare = spare
        self.between = True

    def begun_by(self, wait: Iteration | None) -> None:
        """The body of a loop over batches has ended; in a run without `step` it was the step."""
        if self.into is wait and not (self._stepped or self.between or self.stack) and get_ident() == self.owner:
            self._finish()
            self._hand_over()

    def cancel_wait(self) -> None:
        """There was nothing to wait for: the wait belongs to no step, and the step before is the last one again."""
        wait = self._phases["data_wait"]
        if self._depth or len(self.stack) != 1 or self.between or get_ident() != self.owner:
            wait.__exit__(None, None, None)
            return
        self.stack.pop()
        self.into, self._finished = self._finished or Iteration(), None
        self._spare = Iteration()
        self.between = True

    def _hand_over(self) -> None:
        if self._finished is not None:
            self.writer.put(self._finished)
            self._finished = None

    def _hand_over_all(self) -> None:
        self._hand_over()
        if self.between and self.into.number is not None:
            self.writer.put(self.into)

    def _collecting(self, state: str, _: object) -> None:
        """Called by the interpreter before and after each garbage collection; small ones are many, so this must be quick."""
        if get_ident() != self.owner:
            return
        now = perf_counter_ns()
        if state == "start":
            self._gc_began = now
        elif self._gc_began and (self.stack or not self.between):
            spent = now - self._gc_began
            self.into.spent[_GC] += spent
            # as if the innermost phase had begun later; collecting waits for nothing, so its CPU time is its time
            self.at += spent
            self.wait_cpu_at += spent

    def _claim(self) -> bool:
        """Whether the calling thread becomes the one that counts."""
        if self._closed or (self._stepped and any(thread.ident == self.owner for thread in threading.enumerate())):
            return False
        threading.current_thread()  # makes a thread known that was not begun by Python
        self._hand_over_all()
        self._forget()
        self.owner = get_ident()
        return True

    def _at_step(self) -> int:
        """The step that is under way or has just ended."""
        return self._next_number if self._depth or not self._next_number else self._next_number - 1

    def _note(self, action: str, reason: object) -> None:
        with contextlib.suppress(Exception):
            noted = text(reason, 200)
            if noted not in self._noted and len(self._noted) < _MOST_NOTED:
                self._noted.add(noted)
                self.mark(action, noted)

    def begin_in_child(self) -> None:
        """Begin anew after a fork: what is under way belongs to the parent."""
        self.writer.begin_in_child()
        self._forget()
        self.owner = get_ident()


_RUNS: list[CollectedRun] = []


def open_runs() -> tuple[CollectedRun, ...]:
    """The runs of this process that are not closed."""
    return tuple(_RUNS)


def close_all() -> None:
    """End every run of this process."""
    for run in list(_RUNS):
        run.close()


def _begin_in_child() -> None:
    for run in list(_RUNS):
        run.begin_in_child()


atexit.register(close_all)
os.register_at_fork(after_in_child=_begin_in_child)
