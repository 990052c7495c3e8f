"""The account of a training: iterations whose time goes to one phase or to none, and that may be corrected until they are written."""

from __future__ import annotations

from pinchpoint.sdk.writing import PHASES, Iteration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DATA_WAIT, FORWARD, BACKWARD, OPTIMIZER, COMPUTE, COMMUNICATION, CHECKPOINT, EVALUATION = (
    PHASES.index(name)
    for name in ("data_wait", "forward", "backward", "optimizer", "compute", "communication", "checkpoint", "evaluation"))
_MOST_NESTED = 100


class Ledger:
    """Accounts for what happened at `now`, which whoever reads the notes sets.

    While `between` iterations, `into` is the one that has ended and may still be lengthened. Nanoseconds throughout.
    """

    __slots__ = ("_finished", "_put", "_wait_cpu_at", "at", "between", "into", "now", "stack", "steps")

    def __init__(self, put: Callable[[Iteration], None]) -> None:
        self._put = put
        self._finished: Iteration | None = None
        self._wait_cpu_at: int | None = None
        self.now = self.at = 0
        self.between = True
        self.into = Iteration()
        self.stack: list[int] = []
        self.steps = 0

    @property
    def last(self) -> Iteration:
        """The iteration that ended last, which is not written yet."""
        return self._finished or self.into

    def begin(self) -> None:
        """Begin an iteration; the one before is kept until it is sure that there is one."""
        if self.into.number is not None:
            self._finished = self.into
        self.into = Iteration()
        self.into.begin = self.at = self.now
        self.between = False

    def begin_at_last_end(self) -> None:
        """Begin one where the last one ended: nothing has told of its begin."""
        last = self.into
        self.begin()
        if last.number is not None:
            self.into.begin = last.end

    def _charge(self) -> None:
        """Give the time since the last change to the innermost phase."""
        if self.stack:
            self.into.spent[self.stack[-1]] += max(self.now - self.at, 0)
            if self.between:
                self.into.end = self.now
        self.at = max(self.now, self.at)

    def enter(self, phase: int) -> None:
        """Begin a phase; its time is taken out of the one around it."""
        self._charge()
        if len(self.stack) >= _MOST_NESTED:  # entered again and again, and never left
            self.stack.clear()
        self.stack.append(phase)

    def leave(self, phase: int) -> None:
        """End a phase, and what was entered inside and not left."""
        if phase not in self.stack:
            return
        self._charge()
        while self.stack.pop() != phase:
            pass

    def wait(self, cpu: int | None) -> None:
        """Begin to wait for a batch, at so much processor time of the training thread, if that is known."""
        self.enter(DATA_WAIT)
        self._wait_cpu_at = cpu

    def end_wait(self, cpu: int | None) -> None:
        """The batch is there; what the wait used counts only if it is known of all waits of the iteration."""
        self.leave(DATA_WAIT)
        known = None if cpu is None or self._wait_cpu_at is None else cpu - self._wait_cpu_at
        used = self.into.wait_cpu
        self.into.wait_cpu = None if known is None or used is None else used + known

    def finish(self, samples: int | None) -> None:
        """End the iteration; what comes before the next one may still lengthen it."""
        self.hand_over()
        self._charge()
        self.into.end = max(self.now, self.into.begin)
        self.into.number = self.steps
        self.into.batch = (samples, None, None, None)
        self.steps += 1
        self.between = True

    def cancel(self) -> None:
        """The iteration under way is none; the one before is the last one again."""
        self.stack.clear()
        self.into, self._finished = self._finished or Iteration(), None
        self.at = self.now
        self.between = True

    def cancel_as_evaluation(self) -> None:
        """The iteration under way was no step but evaluation, which lengthens the one before."""
        began = self.into.begin
        self.cancel()
        self.into.spent[EVALUATION] += max(self.now - began, 0)
        self.into.end = self.now

    def charge_past(self, phase: int, spent: int) -> None:
        """Give time that has just gone by to a phase of which only the end is told, as a compilation; the same time never twice."""
        spent = min(spent, self.now - self.at)
        if spent <= 0 or (self.between and not self.stack):
            return
        self.now -= spent
        self._charge()
        self.now += spent
        self.into.spent[phase] += spent
        self.at = self.now

    def move(self, iteration: Iteration, source: int, target: int, spent: int) -> None:
        """Give a part of one phase to another."""
        spent = min(max(spent, 0), iteration.spent[source])
        iteration.spent[source] -= spent
        iteration.spent[target] += spent

    def hand_over(self) -> None:
        """Have the iteration written that nothing can correct any more."""
        if self._finished is not None:
            self._put(self._finished)
            self._finished = None

    def hand_over_all(self) -> None:
        """Have all written; one that is under way is none."""
        self.hand_over()
        if self.between and self.into.number is not None:
            self._put(self.into)
            self.into = Iteration()
