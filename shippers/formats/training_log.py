"""Logs of trainers (Megatron-LM, DeepSpeed, NeMo, nanoGPT and their kin): the time of each step, and the timers printed beside it."""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.job_lines import has_nan, read_job_line
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.intervals import Floats
from shippers.formats.job_errors import JobErrors
from shippers.formats.lines import read_blocks
from shippers.formats.step_blocks import Integers, parse_block
from shippers.formats.step_lines import StepTime, Timers, parse_line
from shippers.formats.told import told

#: A line that sums up more steps than this counts as one: the counter jumped.
_MOST_IN_ONE = 1000
#: Steps that a line sums up are repeated as records of their own up to this many, later ones count once.
_MOST_REPEATED = 1_000_000
_HEAD_LINES = 2
_SETTING = re.compile(rb"(?:^|[\s:>])([a-z][a-z0-9_]{1,60}) \.{3,80} ([^\r\n]{1,200})$")
_MOST_SETTING_BYTES = 400


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
        #: When the step of the last line ended.
        self.now_s = 0.0
        self.printed_s = 0.0
        self.phases_s: dict[str, float] = {}
        self._identity = records.content_id("log", run)
        self._count = 0
        self._last: int | None = None
        #: Of each line: the step, its seconds, and how many steps it sums up; timers of those that have any, by their place.
        self._steps, self._seconds, self._times = array("q"), array("d"), array("q")
        self._timers: dict[int, dict[str, float]] = {}
        #: Seconds from the beginning to the first of these lines.
        self._begin_s = 0.0

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, found: StepTime) -> None:
        step, seconds = found
        last = self._last
        times = step - (last or 0)
        if not 0 < times <= _MOST_IN_ONE or (last is None and times > 100) or self._count + times > _MOST_REPEATED:
            times = 1
        self._last = step
        self._count += times
        self._steps.append(step)
        self._seconds.append(seconds)
        self._times.append(times)
        self.now_s += seconds * times

    def extend(self, steps: Integers, seconds: Floats) -> None:
        """Many steps that follow each other, each with a line of its own."""
        before = np.concatenate(([self._last or 0], steps[:-1]))
        times = steps - before
        times[(times <= 0) | (times > _MOST_IN_ONE)] = 1
        if self._last is None and times[0] > 100:
            times[0] = 1
        times[self._count + np.cumsum(times) > _MOST_REPEATED] = 1
        self._last = int(steps[-1])
        self._count += int(times.sum())
        self._steps.frombytes(steps.tobytes())
        self._seconds.frombytes(seconds.tobytes())
        self._times.frombytes(times.tobytes())
        self.now_s += float(seconds @ times)

    def add_timers(self, found: Timers) -> None:
        """Timers of the step of the last line."""
        if self._steps:
            timers = self._timers.setdefault(len(self._steps) - 1, {})
            for phase, seconds in found.seconds.items():
                timers[phase] = timers.get(phase, 0.0) + seconds

    def batches(self) -> Iterator[Batch]:
        """The steps since this was asked last; the loader's time is part of the forward pass that calls it."""
        times, seconds = np.array(self._times), np.array(self._seconds)
        duration = np.repeat(seconds, times)
        # the last of the steps that a line sums up is the one it names
        ends = np.cumsum(times)
        steps = np.repeat(np.array(self._steps), times) - np.repeat(ends, times) + np.arange(1, len(duration) + 1)
        starts = self._begin_s + np.concatenate(([0.0], np.cumsum(duration)[:-1]))
        phases = {name: np.repeat(values, times) for name, values in self._phases(seconds).items()}
        first = self._count - len(duration)
        for begin in range(0, len(duration), MOST_ROWS):
            part = slice(begin, begin + MOST_ROWS)
            size = len(duration[part])
            yield "step", records.batch("step", {
                "@timestamp": np.round(starts[part] * NS).astype(np.int64),
                "event.id": pc.binary_join_element_wise(self._identity, pa.array(np.arange(first + begin, first + begin + size))
                                                        .cast(pa.string()), "-"),
                "run.id": pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([self.run])).cast(pa.string()),
                "rank": np.zeros(size, np.int64), "step": steps[part], "duration_s": duration[part],
                **{f"phase.{name}_s": values[part] for name, values in phases.items()}})
        self._steps, self._seconds, self._times = array("q"), array("d"), array("q")
        self._timers, self._begin_s = {}, self.now_s

    def _phases(self, seconds: Floats) -> dict[str, Floats]:
        """Seconds of each phase of the step of each line, of those that any timer tells; sums for the whole log beside it."""
        if not self._timers:
            return {}
        for place, timers in self._timers.items():
            if "forward" in timers:
                self.printed_s += self._seconds[place] * self._times[place]
                for phase, spent in timers.items():
                    self.phases_s[phase] = self.phases_s.get(phase, 0.0) + spent * self._times[place]
        places = np.array(list(self._timers))
        found = {name: np.zeros(len(seconds)) for name in ("data_wait", "forward", "backward", "optimizer", "communication")}
        for name, values in found.items():
            values[places] = [timers.get(name, 0.0) for timers in self._timers.values()]
        communication = found.pop("communication")
        found["forward"] = (found["forward"] - found["data_wait"]).clip(0)
        known = sum(found.values())
        fits = np.minimum(1.0, np.divide(seconds, known, out=np.ones(len(seconds)), where=known > 0))
        found = {name: values * fits for name, values in found.items()}
        found["communication"] = np.minimum(communication, seconds - sum(found.values()))
        return {name: values for name, values in found.items() if values.any()}


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each step a line tells of, errors where they stand, and the printed timers as shares of the printed time.

    Raises: InputError when nothing can be read.
    """
    log = _Log(path.name.split(".", maxsplit=1)[0] or "log")
    errors = JobErrors(path.name, log.run)
    for block in read_blocks(path, reading.notes):
        found = parse_block(block)
        done = 0
        for place in [*np.flatnonzero(~found.is_step).tolist(), len(found.start)]:
            if done < place:
                # not before the next step: until then timers of the last one may come
                if len(log) >= MOST_ROWS:
                    yield from log.batches()
                log.extend(found.step[done:place], found.seconds[done:place])
            done = place + 1
            if place < len(found.start):
                line = block[found.start[place] : found.end[place]]
                told_of = parse_line(line)
                if type(told_of) is StepTime and len(log) >= MOST_ROWS:
                    yield from log.batches()
                _take_in(line, told_of, log, errors)
                if b" ..." in line:
                    _read_setting(line, reading)
    if len(log):
        yield from log.batches()
    yield from errors.batches()
    if log.printed_s > 0:
        yield told(log.run, 0, {phase: min(seconds / log.printed_s, 1.0) for phase, seconds in log.phases_s.items()})
    reading.notes.append("its lines carry no times of day that are used: steps lie end to end, what happened between them is not seen")


def _take_in(line: bytes, found: StepTime | Timers | None, log: _Log, errors: JobErrors) -> None:
    if type(found) is StepTime:
        log.add(found)
    elif type(found) is Timers:
        log.add_timers(found)
    # a line of a step tells of no other error than a loss that is no number
    finding = read_job_line(line) if found is None or has_nan(line) else None
    if finding is not None:
        errors.add(finding, line, round(log.now_s * NS))


def _read_setting(line: bytes, reading: Reading) -> None:
    """`  micro_batch_size ............ 4`, as Megatron-LM prints its arguments; without what may be a secret."""
    found = _SETTING.search(line[:_MOST_SETTING_BYTES])
    if found is not None:
        reading.set(found[1].decode(), found[2].strip().decode("utf-8", "replace"))


FORMAT = Format("training_log", recognises, read)
