"""Tell steps, phases and evaluation from what hooks see: a batch was waited for, a model ran, an optimizer stepped.

- A step begins with the wait for its batch, or where the last step ended if no loader is seen to be waited for.
- It ends with the step of an optimizer. Several optimizers that take turns on one batch make one step; batches whose gradients
  are accumulated make one step.
- A loop over batches whose models compute no gradients is evaluation, and lengthens the step before it.
"""

from __future__ import annotations

from pinchpoint.auto.run import HookedRun
from pinchpoint.sdk.timing import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_KEPT = 100


class Loop:
    """The training loop of this process; each method is called by hooks of the thread that trains, and is quick."""

    __slots__ = ("_backward", "_by_optimizer", "_checkpoint", "_communication", "_compile", "_driven", "_evaluating", "_evaluation",
                 "_forward", "_fresh", "_graded", "_h2d", "_kept", "_optimizer", "_samples", "_source", "_stepped", "_ungraded",
                 "_untouched", "_wait", "run", "steps", "told_of")

    def __init__(self, run: HookedRun) -> None:
        self.run = run
        self.steps = 0
        #: the iteration that communication was already taken out of
        self.told_of: object = None
        self._wait, self._h2d, self._forward, self._backward, self._optimizer = map(
            self._phase, ("data_wait", "h2d", "forward", "backward", "optimizer"))
        self._communication, self._checkpoint, self._evaluation, self._compile = map(
            self._phase, ("communication", "checkpoint", "evaluation", "compile"))
        self._kept: list[tuple[str, str | None, dict[str, Any]]] = []
        self._driven = False
        self._by_optimizer = False
        self._evaluating = 0
        self._source = 0
        self._fresh = self._untouched = False
        self._stepped: set[int] = set()
        self._renew()

    def _phase(self, name: str) -> Phase:
        phase = self.run.phase(name)
        assert isinstance(phase, Phase)  # noqa: S101 - for the type checker
        return phase

    def _renew(self) -> None:
        """Nothing is known of the iteration yet."""
        self._graded = self._ungraded = False
        self._samples = 0
        if self._stepped:
            self._stepped = set()

    # Waiting for batches

    def start_begins(self, grad: bool) -> Phase | None:
        """A loader is started, which may start processes; the phase to end, None where it is not one of the training."""
        run = self.run
        if not run.counts or not grad or self._evaluating or run.stack or not run.between:
            return None
        self._renew()
        self._untouched = True
        self._wait.__enter__()
        return self._wait

    def wait_begins(self, source: int, grad: bool) -> Phase | None:
        """Somebody asks a loader for a batch.

        Args:
            source: which pass over which loader this is.
            grad: whether gradients are on: where they are off, this is evaluation.
        Returns: the phase to end; None where the wait is not one of the training.
        """
        run = self.run
        if not run.counts:
            return None
        if run.stack and run.stack[0] is self._optimizer:
            run.stack.clear()  # the optimizer failed, and nobody told
        if not run.between and self._ungraded and not self._graded and not run.stack:
            run.take_back()
            self._driven = False
            if self._source == source:
                self._evaluate(source)
        if not grad:
            if self._untouched and not run.between and not run.stack:
                run.take_back()
            self._untouched = False
            self._evaluate(source)
        if self._evaluating == source:
            return None
        self.end_evaluation()
        if run.stack:
            return None
        self._fresh = run.between or self._untouched
        if run.between:
            self._renew()
        self._untouched = False
        self._source = source
        self._wait.__enter__()
        return self._wait

    def wait_ends(self, samples: int) -> None:
        """The batch is there."""
        self._wait.__exit__(None, None, None)
        self._driven = True
        self._samples += samples

    def wait_stops(self, source: int) -> None:
        """The loader is at its end, or has failed."""
        if self._evaluating == source:
            self.end_evaluation()
        elif self.run.counts and self.run.stack and self.run.stack[-1] is self._wait:
            if self._fresh:
                self.run.cancel_wait()
            else:
                self._wait.__exit__(None, None, None)
            # some fetch ahead: the last batch may still come, and no wait will tell of it
            self._driven = False

    # Evaluation

    def _evaluate(self, source: int) -> None:
        if not self._evaluating:
            self._evaluation.__enter__()
        self._evaluating = source

    def evaluation_begins(self) -> Phase | None:
        """A framework says that it evaluates; it will end the phase."""
        return self._enter(self._evaluation)

    def end_evaluation(self) -> None:
        """The training goes on."""
        if self._evaluating:
            self._evaluating = 0
            self._evaluation.__exit__(None, None, None)

    # Phases

    def forward_begins(self, training: bool, grad: bool) -> Phase | None:
        """An outermost model is called, in training mode or not, with gradients or without; the phase to end."""
        run = self.run
        if not run.counts:
            return None
        if self._evaluating:
            if not (grad and training):
                return None
            self.end_evaluation()
        if run.stack and run.stack[-1] is not self._optimizer:  # an optimizer may compute its loss anew
            return None
        if grad:
            self._graded = True
            if run.between:
                self._resume()
        else:
            self._ungraded = True
            if run.between:
                return self._enter(self._evaluation)
        self._forward.__enter__()
        return self._forward

    def backward_begins(self) -> Phase | None:
        """Gradients are computed."""
        run = self.run
        if self._evaluating or not (run.counts or (not self.steps and run.claim())):
            return None
        self._graded = True
        if run.between and not run.stack:
            self._resume()
        self._backward.__enter__()
        return self._backward

    def optimizer_begins(self) -> Phase | None:
        """An optimizer begins its step."""
        if not self.run.counts:
            return None
        self.end_evaluation()
        self._optimizer.__enter__()
        return self._optimizer

    def optimizer_ends(self, optimizer: int) -> bool:
        """An optimizer has done its step; whether that was the end of a step of the training."""
        run = self.run
        if not run.counts:
            return False
        self._optimizer.__exit__(None, None, None)
        if run.stack:  # called by another one, or by what scales its gradients
            return False
        if run.between:
            # another optimizer for the same batch, unless it is the same one again: then there are several steps to a batch
            self._by_optimizer |= optimizer in self._stepped
            self._stepped.add(optimizer)
            return False
        run.finish(self._samples or None)
        self.steps += 1
        self._renew()
        self._stepped.add(optimizer)
        if self._kept:
            self._tell_kept()
        return True

    def _resume(self) -> None:
        """Computing for a training, with no step under way: begin one, unless this is still for the batch of the last."""
        if self._by_optimizer or not self._driven:
            self._renew()
            self.run.begin_at_last_end()

    def checkpoint_begins(self) -> Phase | None:
        """Something is saved."""
        return self._enter(self._checkpoint)

    def communication_begins(self) -> Phase | None:
        """The training waits for other ranks."""
        return self._enter(self._communication)

    def compile_begins(self) -> Phase | None:
        """A compiler runs."""
        return self._enter(self._compile)

    def h2d_begins(self) -> Phase | None:
        """A batch is copied to a device; between steps that begins one only if no loader is waited for."""
        return None if self.run.stack or (self.run.between and self._driven) else self._enter(self._h2d)

    def _enter(self, phase: Phase) -> Phase | None:
        if not self.run.counts:
            return None
        phase.__enter__()
        return phase

    # Marks

    def mark(self, action: str, reason: str | None = None, **details: Any) -> None:
        """As that of the run, but kept until there is a step: processes that make none leave no records."""
        if self.steps:
            self.run.mark(action, reason, **details)
        elif len(self._kept) < _MOST_KEPT:
            self._kept.append((action, reason, details))

    def _tell_kept(self) -> None:
        kept, self._kept = self._kept, []
        for action, reason, details in kept:
            self.run.mark(action, reason, **details)
