"""Tell steps, phases and evaluation from notes: a batch was waited for, a model ran, an optimizer stepped.

- A step begins with the wait for its batch, or where the last step ended if no loader is seen to be waited for.
- It ends with the step of an optimizer. Several optimizers that take turns on one batch make one step; batches whose gradients
  are accumulated make one step.
- A loop over batches whose models compute no gradients is evaluation, and lengthens the step before it.
"""

from __future__ import annotations

from pinchpoint.auto.ledger import BACKWARD, CHECKPOINT, COMMUNICATION, COMPUTE, DATA_WAIT, EVALUATION, FORWARD, OPTIMIZER, Ledger
from pinchpoint.sdk.values import text
from pinchpoint.sdk.writing import PHASES, Iteration, Mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST_KEPT = 100
_WAITS_MATTER = 0.05  # of a step; what uses the processor in shorter ones explains nothing
_INDEX = {name: index for index, name in enumerate(PHASES)}


class Loop:
    """The training loop of this process, as its notes tell of it."""

    def __init__(self, put: Callable[[Iteration | Mark], None]) -> None:
        """Begin with nothing known; each step and mark is given to `put`, to be written."""
        self._put = put
        self._ledger = Ledger(put)
        #: whether the last step spent much of its time waiting for its batch
        self.waits_matter = True
        self._kept: list[Mark] = []
        self._driven = False  # a batch of a loader is being trained on
        self._by_optimizer = False  # several steps are made with one batch
        self._evaluating: object = None  # which pass over which loader is evaluation
        self._source: object = None  # the last one that is not
        self._computing: int | None = None  # the phase of the model that runs
        self._fresh = self._untouched = self._starting = False
        self._told: Iteration | None = None
        self._stepped: set[object] = set()
        self._renew()
        self._readers: tuple[Callable[..., None], ...] = (
            self._wait, self._waited, self._stops, self._starts, self._started, self._forward, self._forwarded, self._backward,
            self._backwarded, self._optimizer, self._optimized, self._enter, self._leave, self._exposed, self._past, self._mark,
            self._step_begins, self._step_ended)

    @property
    def steps(self) -> int:
        """Steps that have ended."""
        return self._ledger.steps

    def read(self, code: int, now: int, *rest: Any) -> None:
        """Read one note, as `pinchpoint.auto.noting` says what stands in it."""
        self._ledger.now = now
        self._readers[code](*rest)

    def close(self) -> None:
        """Have everything written that is a step."""
        self._ledger.hand_over_all()

    def _renew(self) -> None:
        """Nothing is known of the iteration yet."""
        self._graded = self._ungraded = False
        self._samples = 0
        self._stepped.clear()

    # Waiting for batches

    def _starts(self, grad: bool) -> None:
        ledger = self._ledger
        if grad and self._evaluating is None and not ledger.stack and ledger.between:
            self._renew()
            self._untouched = self._starting = True
            ledger.begin()
            ledger.enter(DATA_WAIT)

    def _started(self) -> None:
        if self._starting:
            self._starting = False
            self._ledger.leave(DATA_WAIT)

    def _wait(self, cpu: int | None, source: object, grad: bool) -> None:
        ledger = self._ledger
        if ledger.stack and ledger.stack[0] == OPTIMIZER:
            ledger.stack.clear()  # the optimizer failed, and nobody told
        if not ledger.between and not ledger.stack and (self._untouched if not grad else self._ungraded and not self._graded):
            ledger.cancel_as_evaluation()
            self._driven = False
            if self._source == source:
                self._evaluate(source)
        if not grad:
            self._untouched = False
            self._evaluate(source)
        if self._evaluating == source:
            return
        self._end_evaluation()
        if ledger.stack:
            return
        self._fresh = ledger.between or self._untouched
        if ledger.between:
            self._renew()
            ledger.begin()
        self._untouched = False
        self._source = source
        ledger.wait(cpu)

    def _waited(self, cpu: int | None, source: object, samples: int) -> None:
        ledger = self._ledger
        if ledger.stack and ledger.stack[-1] == DATA_WAIT and self._source == source:  # a loader may use another one
            ledger.end_wait(cpu)
            self._driven = True
            self._samples += samples

    def _stops(self, source: object) -> None:
        """The loader is at its end, or has failed."""
        ledger = self._ledger
        if self._evaluating == source:
            self._end_evaluation()
        elif ledger.stack and ledger.stack[-1] == DATA_WAIT and self._source == source:
            if self._fresh:
                ledger.cancel()
            else:
                ledger.leave(DATA_WAIT)
            # some fetch ahead: the last batch may still come, and no wait will tell of it
            self._driven = False

    # Evaluation

    def _evaluate(self, source: object) -> None:
        if self._evaluating is None:
            self._ledger.enter(EVALUATION)
        self._evaluating = source

    def _end_evaluation(self) -> None:
        if self._evaluating is not None:
            self._evaluating = None
            self._ledger.leave(EVALUATION)

    # Computing

    def _forward(self, training: bool, grad: bool) -> None:
        ledger = self._ledger
        if self._evaluating is not None and grad and training:
            self._end_evaluation()
        if self._evaluating is not None or (ledger.stack and ledger.stack[-1] != OPTIMIZER):  # an optimizer may compute its loss anew
            return
        if grad:
            self._graded = True
            self._resume()
        else:
            self._ungraded = True
        self._computing = EVALUATION if ledger.between and not grad else FORWARD
        ledger.enter(self._computing)

    def _forwarded(self) -> None:
        if self._computing is not None:
            self._ledger.leave(self._computing)
            self._computing = None

    def _backward(self) -> None:
        if self._evaluating is None:
            self._graded = True
            self._resume()
            self._ledger.enter(BACKWARD)

    def _backwarded(self) -> None:
        self._ledger.leave(BACKWARD)

    def _resume(self) -> None:
        """Computing for a training, with no step under way: begin one, unless this is still for the batch of the last."""
        ledger = self._ledger
        if ledger.between and not ledger.stack and (self._by_optimizer or not self._driven):
            self._renew()
            self._graded = True
            ledger.begin_at_last_end()

    def _optimizer(self) -> None:
        self._end_evaluation()
        self._ledger.enter(OPTIMIZER)

    def _optimized(self, optimizer: object) -> None:
        ledger = self._ledger
        ledger.leave(OPTIMIZER)
        if ledger.stack:  # called by another one, or by what scales its gradients
            return
        if ledger.between:
            # another optimizer for the same batch, unless it is the same one again: then there are several steps to a batch
            self._by_optimizer |= optimizer in self._stepped
        else:
            self._finish()
        self._stepped.add(optimizer)

    def _step_begins(self) -> None:
        ledger = self._ledger
        if ledger.stack:
            return
        if ledger.between:
            self._renew()
            ledger.begin()
        self._graded = True
        ledger.enter(COMPUTE)

    def _step_ended(self) -> None:
        self._ledger.leave(COMPUTE)
        if not self._ledger.between and not self._ledger.stack:
            self._finish()

    def _finish(self) -> None:
        self._ledger.finish(self._samples or None)
        ended = self._ledger.into
        self.waits_matter = ended.spent[DATA_WAIT] > _WAITS_MATTER * (ended.end - ended.begin)
        self._renew()
        for mark in self._kept:
            self._put(mark)
        self._kept.clear()

    # The rest

    def _enter(self, phase: str) -> None:
        ledger = self._ledger
        if ledger.stack or not ledger.between or phase != "gc":
            ledger.enter(_INDEX[phase])

    def _leave(self, phase: str) -> None:
        self._ledger.leave(_INDEX[phase])

    def _exposed(self, spent: int) -> None:
        """DistributedDataParallel tells of the last backward pass in the next forward pass."""
        iteration = self._ledger.last
        if iteration.number is not None and iteration is not self._told:
            self._told = iteration
            self._ledger.move(iteration, BACKWARD, COMMUNICATION, spent)

    def _past(self, phase: str, spent: int) -> None:
        self._ledger.charge_past(_INDEX[phase], spent)

    def _mark(self, action: str, reason: object, details: dict[str, Any]) -> None:
        """Kept until there is a step: processes that make none leave no records."""
        if action == "checkpoint" and CHECKPOINT in self._ledger.stack:
            return  # one of its files
        steps = self._ledger.steps
        labels = {text(key, 100): text(value, 1000) for key, value in list(details.items())[:50]}
        mark = Mark(self._ledger.now, text(action, 200), None if reason is None else text(reason, 2000),
                    steps - 1 if self._ledger.between and steps else steps, labels)
        if steps:
            self._put(mark)
        elif len(self._kept) < _MOST_KEPT:
            self._kept.append(mark)
