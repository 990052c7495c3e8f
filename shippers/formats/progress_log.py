"""Output of jobs that show their progress: Hugging Face Trainer, tqdm, Lightning, Keras, torchtitan."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.job_lines import has_nan, read_job_line
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.job_errors import JobErrors
from shippers.formats.lines import read_lines
from shippers.formats.progress_bars import Bars, Window
from shippers.formats.progress_lines import KERAS, Progress, Runtime, parse_progress
from shippers.formats.told import told

_MOST_STEPS = 1_000_000
_HEAD_LINES = 2


def recognises(head: bytes) -> bool:
    """Whether two lines of the beginning tell of different progress, or one how long training or evaluation took."""
    found: set[tuple[str, int, int]] = set()
    for line in head.replace(b"\r", b"\n").split(b"\n"):
        one = parse_progress(line)
        if isinstance(one, Runtime):
            return True
        if one is not None and (one.bar == KERAS or not one.evaluates) and (one.total or one.bar != KERAS):
            found.add((one.bar, one.total, one.done))
        if len(found) >= _HEAD_LINES:
            return True
    return False


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """The steps of the bar that took most time, without evaluations, and their share; errors where they stand.

    Raises: InputError when nothing can be read.
    """
    run, bars, runtimes = path.name.split(".", maxsplit=1)[0] or "log", Bars(), list[Runtime]()
    evaluation_s, errors = 0.0, JobErrors(path.name, run)
    for line, _ in read_lines(path, reading.notes, at_returns=True):
        found = parse_progress(line)
        if isinstance(found, Progress):
            bars.add(found)
        elif found is not None and found.eval_s is not None and not any(one.train_s for one in runtimes):
            bars.pause(found.eval_s)
            evaluation_s += found.eval_s
        elif found is not None and found.train_s is not None:
            runtimes = [found]
        finding = read_job_line(line) if found is None or has_nan(line) else None
        if finding is not None:
            errors.add(finding, line, round(bars.now_s() * NS))
    bar = bars.longest()
    windows = list(bar.windows) if bar is not None else []
    if bar is not None:
        evaluation_s = bar.evaluation_s
    elif runtimes and runtimes[0].train_s is not None and runtimes[0].steps:
        windows = [Window(runtimes[0].steps, runtimes[0].steps, max(runtimes[0].train_s - evaluation_s, 1e-9))]
    yield from steps_of(run, windows)
    yield from errors.batches()
    whole_s = sum(window.seconds for window in windows) + evaluation_s
    if windows and evaluation_s:
        yield told(run, 0, {"evaluation": min(evaluation_s / whole_s, 1.0)})
    reading.notes.append("steps lie end to end, and each has the mean time of the steps around it: progress tells no single step"
                         if windows else "no time of steps in it")


def steps_of(run: str, windows: list[Window]) -> Iterator[Batch]:
    """Step records of windows, each step with the mean of its window; beyond a million steps a window counts once."""
    identity, now_s, count = records.content_id("progress", run), 0.0, 0
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    size = 0
    for window in windows:
        times = window.steps if count + size + window.steps <= _MOST_STEPS else 1
        last = window.last_step
        for done in range(0, times, MOST_ROWS):
            part = min(MOST_ROWS, times - done)
            waiting.append((np.arange(last - times + 1 + done, last - times + 1 + done + part),
                            np.full(part, window.seconds / window.steps)))
            size += part
            if size >= MOST_ROWS:
                batch, now_s = _steps(run, identity, waiting, now_s, count)
                yield batch
                waiting, count, size = [], count + size, 0
    if waiting:
        yield _steps(run, identity, waiting, now_s, count)[0]


def _steps(run: str, identity: str, parts: list[tuple[np.ndarray, np.ndarray]], now_s: float, first: int) -> tuple[Batch, float]:
    steps, duration = (np.concatenate(column) for column in zip(*parts, strict=True))
    ends = now_s + np.cumsum(duration)
    size = len(steps)
    return ("step", records.batch("step", {
        "@timestamp": np.round((ends - duration) * NS).astype(np.int64), "event.id": [f"{identity}-{first + n}" for n in range(size)],
        "run.id": [run] * size, "rank": [0] * size, "step": steps, "duration_s": duration})), float(ends[-1])


FORMAT = Format("progress_log", recognises, read)
