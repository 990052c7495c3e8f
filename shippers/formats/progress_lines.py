"""Lines of progress (tqdm, Lightning, Keras, torchtitan) and of the Hugging Face Trainer: how far a job is, and since when."""

import datetime
import re
from collections.abc import Mapping
from typing import NamedTuple

#: A line beyond this is cut before it is looked at: patterns take their time.
_MOST_BYTES = 4096
#: The name of bars of Keras, which draws one for each epoch; a line without a total says that an epoch begins.
KERAS = "keras"
_ANSI = re.compile(rb"\x1b\[[0-9;]{0,16}[A-Za-z]|\x08")
_COUNT = rb"(\d{1,12})/(\d{1,12})"
_TQDM = re.compile(rb"^([^|%]{0,120}?)(\d{1,3})%\|[^|]{0,400}\|\s{0,20}" + _COUNT
                   + rb" \[(?:(\d{1,5}):)?(\d{1,2}):(\d\d)<[^,\]]{1,20}, {0,4}(\d{1,9}(?:\.\d{1,4})?|\?)(it/s|s/it)?")
_KERAS = re.compile(rb"^\s{0,8}" + _COUNT + rb" (?:[\xe2\x94\x81\xb8\x95\xba ]{1,400}|\[[=>.]{1,200}\] )?(?:- )?"
                    rb"(?:ETA: )?(?:\d{1,4}:)?(?:\d{1,3}:)?\d{1,7}s?(?: -)? (\d{1,9})(s|ms|us)/(?:step|epoch)\b")
_STEP = re.compile(rb"(?:^|[\s\]])step: {0,8}(\d{1,12})\s{1,8}loss: {0,8}[-\d.na]")
_RANK = re.compile(rb"^\[(?:default|rank)?(\d{1,6})\]:")
_WHEN = re.compile(rb"\b(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?")
_EPOCH = re.compile(rb"^Epoch \d{1,9}/\d{1,9}\s{0,8}$")
_RUNTIME = re.compile(rb"'((?:train|eval(?:_\w{1,60})?)_(?:runtime|steps_per_second))': ?'?(\d{1,15}(?:\.\d{1,12})?(?:e[+-]?\d\d)?)\b")
#: What bars of training are called; every other name is of a download, a table that is made or an evaluation.
_TRAINING = re.compile(rb"^\s*(?:(?:\[?rank ?\d{1,6}\]?:? ?)?"
                       rb"(?:epochs?|train(?:ing)?|steps?|iterations?|iter)\b[^|]{0,100}?)?[\s:]*$", re.IGNORECASE)
_EVALUATION = re.compile(rb"^\s*(?:validation|validating|sanity checking|testing|evaluat)", re.IGNORECASE)
_DIGITS = re.compile(rb"[\d.]+")


class Progress(NamedTuple):
    """A line that tells how far a job is."""

    bar: str
    """What it is a bar of, the same for all its lines."""
    done: int
    total: int
    """0 where the line does not tell."""
    seconds: float
    """Since the bar began, or since 1970."""
    resolution_s: float
    """How far `seconds` may be off."""
    rate_s: float | None = None
    """Seconds of a step as the bar shows them."""
    evaluates: bool = False
    """Whether it is a bar of an evaluation, or the time since the last line was one."""


class Runtime(NamedTuple):
    """A line of the Trainer that says how long the training or an evaluation took."""

    train_s: float | None
    eval_s: float | None
    steps: int | None
    """Of the training, as far as its steps per second tell."""


def parse_progress(line: bytes) -> Progress | Runtime | None:
    """What a line tells of progress; None for any other line.

    >>> parse_progress(b" 12%|#2  | 120/1000 [01:02<07:35,  1.93it/s]")[:4]
    ('', 120, 1000, 62.0)
    >>> parse_progress(b"{'eval_loss': 2.1, 'eval_runtime': 12.5, 'epoch': 1.0}").eval_s
    12.5
    """
    line = line[:_MOST_BYTES]
    if b"\x1b" in line or b"\x08" in line:
        line = _ANSI.sub(b"", line)
    if b"%|" in line:
        return _tqdm(line)
    if b"_runtime'" in line:
        return runtime_of({name.decode(): value.decode() for name, value in _RUNTIME.findall(line)})
    if b"/step" in line or b"/epoch" in line:
        return _keras(line)
    if line.startswith(b"Epoch ") and _EPOCH.match(line):
        return Progress(KERAS, 0, 0, 0.0, 1.0)
    if b"step:" in line and b"loss:" in line:
        return _stamped(line)
    return None


def _tqdm(line: bytes) -> Progress | None:
    found = _TQDM.match(line)
    if found is None:
        return None
    name, rate = found[1], None
    if found[8] != b"?" and found[9] and float(found[8]) > 0:
        rate = float(found[8]) if found[9] == b"s/it" else 1 / float(found[8])
    evaluates = _EVALUATION.match(name) is not None
    if not evaluates and not _TRAINING.match(name):
        return None
    seconds = int(found[5] or 0) * 3600 + int(found[6]) * 60 + int(found[7])
    bar = _DIGITS.sub(b"", name).strip(b" :").decode("utf-8", "replace")
    return Progress(bar, int(found[3]), int(found[4]), float(seconds), 1.0, rate, evaluates)


def _keras(line: bytes) -> Progress | None:
    found = _KERAS.match(line)
    if found is None:
        return None
    done, unit = int(found[1]), {b"s": 1.0, b"ms": 1e-3, b"us": 1e-6}[found[4]]
    mean_s = int(found[3]) * unit  # since the epoch began
    # the last line of an epoch comes after its evaluation, and its mean holds that
    return Progress(KERAS, done, int(found[2]), done * mean_s, max(done * unit / 2, 1e-6), mean_s or None, b" val_" in line)


def _stamped(line: bytes) -> Progress | None:
    found, when = _STEP.search(line), _WHEN.search(line[:200])
    if found is None or when is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(f"{when[1].decode()}T{when[2].decode()}+00:00")
    except ValueError:
        return None
    rank = _RANK.match(line)
    fraction = float(b"0." + (when[3] or b"0"))
    return Progress(f"steps of rank {int(rank[1])}" if rank else "steps", int(found[1]), 0, moment.timestamp() + fraction,
                    1e-3 if when[3] else 1.0)


def runtime_of(told: Mapping[str, object]) -> Runtime | None:
    """What one entry of the Trainer's log says of time; None when it says nothing of it."""
    train_s = seconds_of(told.get("train_runtime"))
    eval_s = seconds_of(told.get("eval_runtime"))
    if eval_s is None and train_s is None:
        # several sets are evaluated as eval_<name>_runtime
        eval_s = next((seconds for key, value in told.items() if key.startswith("eval_") and key.endswith("_runtime")
                       and (seconds := seconds_of(value)) is not None), None)
    rate = seconds_of(told.get("train_steps_per_second"))
    if train_s is None and eval_s is None:
        return None
    return Runtime(train_s, eval_s, round(train_s * rate) if train_s is not None and rate is not None else None)


def seconds_of(value: object) -> float | None:
    """A number that can be a time, in the Trainer's newest version a text; None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < 1e9 else None
