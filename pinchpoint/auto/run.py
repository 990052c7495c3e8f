"""A run whose steps are begun and ended by hooks, and may be corrected until they are written."""

from __future__ import annotations

from threading import get_ident
from time import perf_counter_ns, thread_time_ns

from pinchpoint.sdk.timing import CollectedRun
from pinchpoint.sdk.writing import PHASES, Iteration

FORWARD, BACKWARD, COMMUNICATION, EVALUATION, COMPILE = (
    PHASES.index(name) for name in ("forward", "backward", "communication", "evaluation", "compile"))


class HookedRun(CollectedRun):
    """As the run of the SDK; but whether an iteration is a training step turns out later than its begin."""

    __slots__ = ()

    @property
    def counts(self) -> bool:
        """Whether the calling thread is the one that is timed."""
        return get_ident() == self.owner

    @property
    def last(self) -> Iteration:
        """The iteration that ended last, which is not written yet."""
        return self._finished or self.into

    def claim(self) -> bool:
        """Make the calling thread the one that is timed, as long as no other has made a step."""
        return self.counts or self._claim()

    def finish(self, samples: int | None) -> None:
        """End the iteration; what comes before the next one may still lengthen it."""
        self._hand_over()
        self._batch = (samples, None, None, None)
        self._outside = len(self.stack)
        self._finish()
        self._stepped = True

    def begin_at_last_end(self) -> None:
        """Begin an iteration where the last one ended: nothing has told of its begin."""
        last = self.into
        self.begin(perf_counter_ns() if last.number is None else last.end)
        if last.number is not None:
            self.into.cpu_begin = last.cpu_end

    def take_back(self) -> None:
        """The iteration under way was no step but evaluation, which lengthens the step before."""
        now = perf_counter_ns()
        del self.stack[:]
        began = self.into.begin
        self.into, self._finished = self._finished or Iteration(), None
        self._spare = Iteration()
        self.into.spent[EVALUATION] += max(now - began, 0)
        self.into.end = now
        self.into.cpu_end = thread_time_ns()
        self.at = now
        self.between = True

    def charge_past(self, index: int, spent_ns: int) -> None:
        """Give time that has just gone by to a phase that only its end tells of, as a compilation; never the same time twice."""
        now = perf_counter_ns()
        spent_ns = min(spent_ns, now - self.at)
        if spent_ns <= 0 or not self.counts:
            return
        if self.stack:
            self.charge(now - spent_ns)
        elif self.between:
            return
        self.into.spent[index] += spent_ns
        self.at = now

    def move(self, iteration: Iteration, source: int, target: int, spent_ns: int) -> None:
        """Give a part of one phase to another."""
        spent_ns = min(max(spent_ns, 0), iteration.spent[source])
        iteration.spent[source] -= spent_ns
        iteration.spent[target] += spent_ns
