"""What the Hugging Face Trainer, Lightning and Keras know better than the hooks below them: what is evaluation, a checkpoint, a step.

Their own callbacks could tell as well, but a callback more is seen by the job: in lists, in what is printed, in saved states.
"""

from __future__ import annotations

import functools
from threading import get_ident
from time import perf_counter_ns

from pinchpoint.auto.current import begins, stepped
from pinchpoint.auto.noting import BEGINS, STATE, STEPPED, STOPS, WAIT, WAITED, mark, note
from pinchpoint.auto.wrapping import after, as_phase, before

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install_transformers(trainer: Any) -> None:
    """Evaluation and checkpoints of the Trainer; steps and phases are those of PyTorch.

    Args:
        trainer: the module `transformers.trainer`.
    """
    def saves(self: Any, *_: Any, **__: Any) -> None:
        mark("checkpoint", f"step {self.state.global_step}")

    as_phase(trainer.Trainer, "evaluate", "evaluation")
    as_phase(trainer.Trainer, "predict", "evaluation")
    as_phase(trainer.Trainer, "_save_checkpoint", "checkpoint", saves)
    as_phase(trainer.Trainer, "save_model", "checkpoint")


def install_lightning_evaluation(loops: Any) -> None:
    """Evaluation of Lightning, the check before the training too.

    Args:
        loops: the module `lightning.pytorch.loops.evaluation_loop`, or that of `pytorch_lightning`.
    """
    as_phase(loops._EvaluationLoop, "run", "evaluation")


def install_lightning_trainer(trainer: Any) -> None:
    """Checkpoints of Lightning.

    Args:
        trainer: the module `lightning.pytorch.trainer.trainer`, or that of `pytorch_lightning`.
    """
    def saves(_: Any, filepath: Any, *__: Any, **___: Any) -> None:
        mark("checkpoint", str(filepath))

    as_phase(trainer.Trainer, "save_checkpoint", "checkpoint", saves)


def install_lightning_strategy(strategy: Any) -> None:
    """The forward pass of Lightning: its model is not called, but its `training_step`.

    Args:
        strategy: the module `lightning.pytorch.strategies.strategy`, or that of `pytorch_lightning`.
    """
    as_phase(strategy.Strategy, "training_step", "forward")


def install_keras_callbacks(callback_list: Any) -> None:
    """Steps of Keras, from where it says that a batch begins to where all callbacks know that it has ended.

    Args:
        callback_list: the module `keras.src.callbacks.callback_list`.
    """
    def batch_begins(*_: Any, **__: Any) -> None:
        if get_ident() == STATE.owner or begins(claim=True):
            note(BEGINS)

    def batch_ends(*_: Any, **__: Any) -> None:
        if note(STEPPED) and not STATE.writes:
            stepped()

    before(callback_list.CallbackList, "on_train_batch_begin", batch_begins)
    after(callback_list.CallbackList, "on_train_batch_end", batch_ends)


def install_keras_data(epoch_iterator: Any) -> None:
    """Waits for the batches of Keras.

    Args:
        epoch_iterator: the module `keras.src.trainers.epoch_iterator`.
    """
    kind = epoch_iterator.EpochIterator
    original = kind.__next__

    @functools.wraps(original)
    def hooked(self: Any) -> Any:
        if get_ident() != STATE.owner and not begins():
            return original(self)
        STATE.add((WAIT, perf_counter_ns(), None, id(self), True))
        try:
            item = original(self)
        except BaseException:
            STATE.add((STOPS, perf_counter_ns(), id(self)))
            raise
        STATE.add((WAITED, perf_counter_ns(), None, id(self), 0))
        return item

    kind.__next__ = hooked


def install_keras_trainer(trainer: Any) -> None:
    """Evaluation of Keras.

    Args:
        trainer: the module `keras.src.backend.<backend>.trainer`.
    """
    for name, kind in list(vars(trainer).items()):
        if name.endswith("Trainer") and isinstance(kind, type) and kind.__module__ == trainer.__name__:
            as_phase(kind, "evaluate", "evaluation")


def install_keras_saving(saving: Any) -> None:
    """Checkpoints of Keras.

    Args:
        saving: the module `keras.src.models.model`.
    """
    as_phase(saving.Model, "save", "checkpoint", lambda _, filepath, *__, **___: mark("checkpoint", str(filepath)))
    as_phase(saving.Model, "save_weights", "checkpoint", lambda _, filepath, *__, **___: mark("checkpoint", str(filepath)))
