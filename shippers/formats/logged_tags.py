"""Names under which trainers log times, as scalars of TensorBoard and MLflow: what each of them times, and in which unit."""

import re
from typing import NamedTuple

from shippers.formats.step_lines import PHASE_OF_TIMER

#: What a step took as a whole, beside its phases.
STEP = "step"
#: What an evaluation took, as a whole.
EVALUATION = "evaluation"


class Timed(NamedTuple):
    """What a scalar times."""

    what: str
    """`step`, `evaluation`, or a phase of a step."""
    seconds: float
    """Of one unit of its values."""


_TAGS: dict[str, Timed] = {
    # Megatron-LM and Megatron-DeepSpeed; NeMo; torchtitan; verl; the names of many loops of one's own
    "iteration-time": Timed(STEP, 1.0), "iteration-time/iteration-time": Timed(STEP, 1.0), "train_step_timing in s": Timed(STEP, 1.0),
    "time_metrics/end_to_end(s)": Timed(STEP, 1.0), "time_metrics/data_loading(s)": Timed("data_wait", 1.0),
    "perf/time_per_step": Timed(STEP, 1.0), "timing_s/step": Timed(STEP, 1.0), "timing_s/save_checkpoint": Timed("checkpoint", 1.0),
    "timing_s/testing": Timed("evaluation", 1.0),
    **{f"{prefix}{name}{suffix}": Timed(what, seconds) for prefix in ("", "train/", "perf/", "time/")
       for name, what in (("step_time", STEP), ("iter_time", STEP), ("iteration_time", STEP), ("batch_time", STEP),
                          ("data_time", "data_wait"), ("data_loading_time", "data_wait"),
                          ("dataloader_time", "data_wait"), ("forward_time", "forward"),
                          ("backward_time", "backward"), ("optimizer_time", "optimizer"))
       for suffix, seconds in (("", 1.0), ("_s", 1.0), ("_sec", 1.0), ("_ms", 1e-3))},
    # Hugging Face Trainer
    "eval/runtime": Timed(EVALUATION, 1.0), "eval_runtime": Timed(EVALUATION, 1.0),
}
_TIMERS = {f"{name.decode()}-time": Timed(phase, 1.0) for name, phase in PHASE_OF_TIMER.items()}
_EVALUATES = re.compile(r"(?:^|[/_\s-])(?:eval|evaluation|val|valid|validation|test)(?:[/_\s-]|$)", re.IGNORECASE)
#: Their steps count samples, tokens, or the epochs.
_OTHER_STEPS = re.compile(r"vs samples|vs tokens|^Train/Samples/|^epoch_|(?:^|/)epoch$", re.IGNORECASE)


def timed(tag: str) -> Timed | None:
    """What a scalar times; None for one that is no time.

    >>> timed("train/step_time_ms"), timed("forward-compute-time").what, timed("train/loss")
    (Timed(what='step', seconds=0.001), 'forward', None)
    """
    return _TAGS.get(tag) or _TIMERS.get(tag)


def counts_steps(tag: str) -> bool:
    """Whether the steps it is logged at are those of the training.

    >>> [counts_steps(tag) for tag in ("train/loss", "val_loss", "lm loss vs samples", "epoch_loss")]
    [True, False, False, False]
    """
    return not _EVALUATES.search(tag) and not _OTHER_STEPS.search(tag)
