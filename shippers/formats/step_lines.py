"""Lines in which trainers print the time of a step: one pure function for Megatron-LM, DeepSpeed, NeMo, nanoGPT and their kin."""

import re
from typing import NamedTuple

#: A line beyond this is cut before it is looked at: no trainer prints a longer one, and patterns take their time.
_MOST_BYTES = 4096
_NUMBER = rb"(\d{1,15}(?:\.\d{1,12})?(?:[eE][+-]?\d{1,2})?)"

#: Printed timers by phase. `communication` are all sends, receives and reductions.
PHASE_OF_TIMER: dict[bytes, str] = {
    b"forward-compute": "forward", b"forward": "forward", b"fwd": "forward",
    b"backward-compute": "backward", b"backward": "backward", b"backward-backward": "backward", b"bwd_inner": "backward",
    b"optimizer": "optimizer", b"step": "optimizer",
    b"batch-generator": "data_wait", b"batch generator": "data_wait", b"batch_input": "data_wait",
    **dict.fromkeys((b"forward-recv", b"forward-send", b"backward-recv", b"backward-send", b"backward-send-forward-recv",
                     b"forward-send-backward-recv", b"forward-send-forward-recv", b"backward-send-backward-recv", b"backward-allreduce",
                     b"backward-params-all-reduce", b"backward-embedding-all-reduce", b"bwd_allreduce", b"all-grads-sync",
                     b"params-all-gather", b"layernorm-grads-all-reduce", b"embedding-grads-all-reduce", b"grads-all-reduce",
                     b"grads-reduce-scatter"), "communication"),
}


class StepTime(NamedTuple):
    """A line that tells how long a step took."""

    step: int
    seconds: float
    """Of one step, the mean since the line before."""


class Timers(NamedTuple):
    """A line that tells how long the parts of the step before it took."""

    seconds: dict[str, float]
    """By phase; what is unknown is left out."""


def _in(unit: bytes) -> float:
    return {b"ms": 1e-3, b"us": 1e-6}.get(unit, 1.0)


def _megatron(line: bytes, at: int) -> StepTime | None:
    """`iteration N/ M | … | elapsed time per iteration (ms): X |`; `step_blocks` reads the usual ones of these."""
    step, time = _ITERATION.search(line, max(at - _MOST_BETWEEN, 0), at), _ELAPSED.match(line, at)
    return _step(step[1], time[2], _in(time[1])) if step is not None and time is not None else None


def _named(line: bytes) -> StepTime | None:
    found = _NAMED.search(line)
    if not found:
        return None
    time = _TIME.search(line, found.end())
    if not time:
        return None
    unit = time[2] or (b"ms" if b"(ms)" in time[0] else b"s")
    return _step(found[1], time[1], _in(unit.lower()))


def _step(step: bytes, value: bytes, unit: float) -> StepTime | None:
    seconds = float(value) * unit
    return StepTime(int(step), seconds) if 0 < seconds < 1e6 else None


_MOST_BETWEEN = 450
_ITERATION = re.compile(rb"iteration {1,12}(\d{1,12})/")
_MEGATRON = b"elapsed time per iteration ("
_ELAPSED = re.compile(rb"elapsed time per iteration \((m?s)\): " + _NUMBER)
#: `iter 100: loss 2.3, time 123.45ms` (nanoGPT), `steps: 10 loss: 1.2 iter time (s): 0.51` (DeepSpeed), `step:9/100 … step_avg:12.3ms`.
_NAMED = re.compile(rb"(?:^|[\s\[|,])(?:global[_ ]?step|steps?|iteration|iter)(?:: ?|=| )\[? ?(\d{1,12})\b", re.IGNORECASE)
_TIME = re.compile(
    rb"(?:(?:step|iter|iteration|batch)[ _-]?time|time[ _]per[ _](?:step|iteration)|train_step_timing|step_avg|(?<![\w.-])(?:time|dt))"
    rb"(?: in s| ?\((?:m?s|sec)\))?[:= ] ?" + _NUMBER + rb" ?(ms|us|s)?(?![\w.])", re.IGNORECASE)
_TIMER = re.compile(rb"\| ([a-z0-9_ -]{1,60}?): ([\d.]{1,20})")
_TIMER_LINE = re.compile(rb"^\s{2,}([a-z0-9-]{1,60}) \.{2,}: \(([\d.]{1,20}), ([\d.]{1,20})\)")


def parse_line(line: bytes) -> StepTime | Timers | None:
    """What a line tells of a step; None for any other line.

    >>> parse_line(b"iter 100: loss 2.31, time 125.00ms, mfu 30.1%")
    StepTime(step=100, seconds=0.125)
    >>> parse_line(b"time (ms) | forward-compute: 300.0 | batch-generator: 3.0")
    Timers(seconds={'forward': 0.3, 'data_wait': 0.003})
    """
    line = line[:_MOST_BYTES]
    at = line.find(_MEGATRON)
    if at >= 0:
        return _megatron(line, at)
    if b"(ms)" in line and b"|" in line:
        return _timers(line)
    if b"...: (" in line:
        return _timer_line(line)
    if b"ti" not in line and b"dt" not in line and b"step_avg" not in line:
        return None
    return _named(line)


def _timers(line: bytes) -> Timers | None:
    start = line.find(b"time (ms)")
    if start < 0:
        return None
    seconds: dict[str, float] = {}
    for name, value in _TIMER.findall(line, start):
        _add(seconds, name.strip(), value)
    return Timers(seconds) if seconds else None


def _timer_line(line: bytes) -> Timers | None:
    """`    forward-compute ....: (min, max)`: the rank that took longest, since the others wait for it."""
    found = _TIMER_LINE.match(line)
    seconds: dict[str, float] = {}
    if found:
        _add(seconds, found[1], found[3])
    return Timers(seconds) if seconds else None


def _add(seconds: dict[str, float], timer: bytes, milliseconds: bytes) -> None:
    phase = PHASE_OF_TIMER.get(timer)
    try:
        value = float(milliseconds) / 1000
    except ValueError:
        return
    if phase and value < 1e6:
        seconds[phase] = seconds.get(phase, 0.0) + value
