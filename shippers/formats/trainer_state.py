"""`trainer_state.json` of the Hugging Face Trainer: the mean time of a step, and the share of evaluations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_until_damaged
from shippers.formats.progress_bars import Window
from shippers.formats.progress_lines import runtime_of
from shippers.formats.progress_log import steps_of
from shippers.formats.told import told

_MOST_BYTES = 256 << 20
_MARKS = (b'"global_step"', b'"log_history"', b'"is_world_process_zero"', b'"logging_steps"')
_ENOUGH = 2


class _State(msgspec.Struct):
    log_history: list[Any]
    global_step: int = 0


def recognises(head: bytes) -> bool:
    """Whether it is an object with keys of that file; the history comes before most of them."""
    return head.lstrip()[:1] == b"{" and b'"log_history"' in head and sum(mark in head for mark in _MARKS) >= _ENOUGH


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """The steps of the last training in it with their mean time, evaluations included, and the share of these.

    Raises: InputError when it cannot be read, is too large, or no such file.
    """
    data = bytearray()
    for chunk in read_until_damaged(path, reading.notes):
        data += chunk
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path}: longer than {_MOST_BYTES} bytes, which no trainer_state.json is")
    try:
        state = msgspec.json.decode(data, type=_State)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no trainer_state.json: {error}") from error
    run = path.resolve().parent.name if path.stem == "trainer_state" else path.stem
    begun = step = 0
    evaluations_s = 0.0
    last: tuple[int, int, float, float] | None = None
    for entry in state.log_history:
        if not isinstance(entry, dict) or not isinstance(entry.get("step", 0), int):
            reading.reject(msgspec.json.encode(entry), "no entry of a log_history")
            continue
        step = min(max(entry.get("step", step), 0), 10**12)
        found = runtime_of(entry)
        if found is not None and found.eval_s is not None:
            evaluations_s += found.eval_s
        elif found is not None and found.train_s is not None and step > begun:
            last = (begun, step, found.train_s, evaluations_s)
            begun, evaluations_s = step, 0.0
    if last is None:
        reading.notes.append("no train_runtime in it: it is written when the training ends, before that only the output tells times")
        return
    first, step, train_s, evaluations_s = last
    yield from steps_of(run or "trainer", [Window(step, step - first, train_s)])
    if evaluations_s:
        yield told(run or "trainer", 0, {"evaluation": min(evaluations_s / train_s, 1.0)})
    reading.notes.append("it tells the mean of all steps alone: what became slower is in the output")


FORMAT = Format("trainer_state", recognises, read)
