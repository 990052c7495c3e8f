"""Logs of trainers (Megatron-LM, DeepSpeed, NeMo, nanoGPT and their kin): the time of each step, and the timers printed beside it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.job_lines import has_nan, read_job_line
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.job_errors import JobErrors
from shippers.formats.lines import read_lines
from shippers.formats.step_lines import StepTime, Timers, parse_line
from shippers.formats.told import told

#: A line that sums up more steps than this counts as one: the counter jumped.
_MOST_IN_ONE = 1000
#: Steps that a line sums up are repeated as records of their own up to this many, later ones count once.
_MOST_REPEATED = 1_000_000
_HEAD_LINES = 2


def recognises(head: bytes) -> bool:
    """Whether two lines of the beginning tell the time of a step."""
    found = 0
    for line in head.split(b"\n"):
        found += isinstance(parse_line(line), StepTime)
        if found >= _HEAD_LINES:
            return True
    return False


class _Log:
    """Steps of one log, laid end to end: most lines carry no time of day."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.identity = records.content_id("log", run)
        self.now_s = 0.0
        self.count = 0
        self.last: int | None = None
        self.printed_s = 0.0
        self.phases_s: dict[str, float] = {}
        self.rows: list[tuple[float, int, float, dict[str, float]]] = []
        self.waiting: StepTime | None = None
        self.timers: dict[str, float] = {}

    def add(self, found: StepTime | Timers) -> None:
        if isinstance(found, Timers):
            if self.waiting is not None:
                for phase, seconds in found.seconds.items():
                    self.timers[phase] = self.timers.get(phase, 0.0) + seconds
            return
        self.flush()
        self.waiting = found

    def flush(self) -> None:
        """Take in the step whose timers, if it has any, are complete."""
        found, timers = self.waiting, self.timers
        self.waiting, self.timers = None, {}
        if found is None:
            return
        times = found.step - (self.last or 0)
        times = times if 0 < times <= _MOST_IN_ONE and (self.last is not None or times <= 100) else 1
        self.last = found.step
        if "forward" in timers:
            self.printed_s += found.seconds * times
            for phase, seconds in timers.items():
                self.phases_s[phase] = self.phases_s.get(phase, 0.0) + seconds * times
        if self.count + times > _MOST_REPEATED:
            times = 1
        for number in range(times):
            self.rows.append((self.now_s, found.step - times + 1 + number, found.seconds, timers))
            self.now_s += found.seconds
        self.count += times

    def batch(self) -> Batch:
        """The steps so far. The loader's time is part of the forward pass that calls it; timers together never exceed the step."""
        starts, steps, durations, timers = zip(*self.rows, strict=True)
        duration = np.array(durations)
        phases = {name: np.array([one.get(name, 0.0) for one in timers]) for name in ("data_wait", "forward", "backward", "optimizer")}
        phases["forward"] = (phases["forward"] - phases["data_wait"]).clip(0)
        known = sum(phases.values())
        fits = np.minimum(1.0, np.divide(duration, known, out=np.ones(len(duration)), where=known > 0))
        phases = {name: seconds * fits for name, seconds in phases.items()}
        communication = np.array([one.get("communication", 0.0) for one in timers])
        phases["communication"] = np.minimum(communication, duration - sum(phases.values()))
        size, first = len(steps), self.count - len(steps)
        self.rows = []
        return "step", records.batch("step", {
            "@timestamp": np.round(np.array(starts) * NS).astype(np.int64),
            "event.id": [f"{self.identity}-{first + n}" for n in range(size)],
            "run.id": [self.run] * size, "rank": [0] * size, "step": list(steps), "duration_s": duration,
            **{f"phase.{name}_s": seconds for name, seconds in phases.items() if seconds.any()}})


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each step a line tells of, errors where they stand, and the printed timers as shares of the printed time.

    Raises: InputError when nothing can be read.
    """
    log = _Log(path.name.split(".", maxsplit=1)[0] or "log")
    errors = JobErrors(path.name, log.run)
    for line, _ in read_lines(path, reading.notes):
        found = parse_line(line)
        if found is not None:
            log.add(found)
        # a line of a step tells of no other error than a loss that is no number
        finding = read_job_line(line) if found is None or has_nan(line) else None
        if finding is not None:
            errors.add(finding, line, round((log.now_s + (log.waiting.seconds if log.waiting is not None else 0.0)) * NS))
        if len(log.rows) >= MOST_ROWS:
            yield log.batch()
    log.flush()
    if log.rows:
        yield log.batch()
    yield from errors.batches()
    if log.printed_s > 0:
        yield told(log.run, 0, {phase: min(seconds / log.printed_s, 1.0) for phase, seconds in log.phases_s.items()})
    reading.notes.append("its lines carry no times of day that are used: steps lie end to end, what happened between them is not seen")


FORMAT = Format("training_log", recognises, read)
