"""Steps out of scalars that a trainer logged, each with its step and the time of day it was written at."""

import math
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.job_lines import read_job_line
from shippers.formats.base import MOST_ROWS, Batch, Reading
from shippers.formats.intervals import Floats
from shippers.formats.job_errors import JobErrors
from shippers.formats.logged_tags import EVALUATION, STEP, counts_steps, timed
from shippers.formats.told import told

_MOST_TAGS, _MOST_POINTS = 10_000, 4_000_000
#: Steps between two points are records of their own up to so many; beyond that two points make one.
_MOST_STEPS = 1_000_000
_MOST_TIME_S = 1 << 33
_LONGEST_TAG = 256

Integers = NDArray[np.int64]


class _Series:
    """Where a tag was logged; its values are kept where they are times."""

    def __init__(self) -> None:
        self.steps, self.times, self.values = array("q"), array("d"), array("d")


class Logged:
    """The scalars of one run, as far as they tell when its steps were.

    Args:
        run: its name.
        source: what they are read of, which makes their ids.
    """

    def __init__(self, run: str, source: str) -> None:
        self._run = run[-_LONGEST_TAG:] or "logged"
        self._identity = records.content_id("logged", self._run, source)
        self._series: dict[str, _Series] = {}
        self._errors = JobErrors(source, self._run)
        self._points = self._left_out = 0

    def add(self, tag: str, step: int, time_s: float, value: float) -> None:
        """Take in one value; `time_s` is UTC seconds."""
        if not (0 <= time_s < _MOST_TIME_S and 0 <= step < 1 << 53) or len(tag) > _LONGEST_TAG:
            self._left_out += 1
            return
        if math.isnan(value) and "loss" in tag.lower():
            finding = read_job_line(b"loss: nan")
            if finding is not None:
                self._errors.add(finding, f"{tag}: nan at step {step}".encode(), round(time_s * NS))
        series = self._series.get(tag)
        if series is None:
            if len(self._series) >= _MOST_TAGS:
                self._left_out += 1
                return
            series = self._series[tag] = _Series()
        if self._points >= _MOST_POINTS:
            self._left_out += 1
            return
        self._points += 1
        series.steps.append(step)
        series.times.append(time_s)
        if timed(tag) is not None:
            series.values.append(value)

    def batches(self, reading: Reading) -> Iterator[Batch]:
        """The steps, the errors, and the shares that timers tell."""
        if self._left_out:
            reading.notes.append(f"{self._left_out} values are left out: at no possible time, or beyond {_MOST_POINTS} values "
                                 f"of {_MOST_TAGS} names")
        clock = self._clock()
        if clock is None:
            reading.notes.append("no name in it has values at two steps of the training: how long steps took is not known")
        else:
            yield from self._steps(clock)
            reading.notes.append("steps between two values share the time; what happened within a step is known where it was logged")
        yield from self._errors.batches()

    def _clock(self) -> "_Spans | None":
        """What lies between two values of the name that was logged most often."""
        longest = max((one for tag, one in self._series.items() if counts_steps(tag)), key=lambda one: len(one.steps), default=None)
        if longest is None:
            return None
        steps, times = np.array(longest.steps), np.array(longest.times)
        order = np.argsort(times, kind="stable")
        spans = _Spans(steps[order], times[order])
        return spans if len(spans.steps) else None

    def _steps(self, spans: "_Spans") -> Iterator[Batch]:
        found: dict[str, Floats] = {}
        for tag, one in self._series.items():
            what = timed(tag)
            if what is None:
                continue
            at = spans.containing(one) if what.what == EVALUATION else spans.ending_with(one)
            found[what.what] = found.get(what.what, 0.0) + _placed(one, at, len(spans.steps)) * what.seconds
        spent = spans.seconds
        evaluation = np.minimum(found.pop(EVALUATION, np.zeros(len(spent))), spent)
        step = found.pop(STEP, None)
        spent = spent - evaluation
        if step is not None:
            spent = np.where(step > 0, np.minimum(step * spans.steps, spent), spent)
        counts = spans.steps if spans.steps.sum() <= _MOST_STEPS else np.ones(len(spans.steps), np.int64)
        each = spent / counts
        phases = _fitted({name: seconds * spans.steps / counts for name, seconds in found.items()}, each)
        if "forward" in phases:
            yield told(self._run, round(float(spans.begin[0]) * NS), {
                name: min(float((seconds * counts).sum() / spent.sum()), 1.0) for name, seconds in phases.items() if spent.sum() > 0})
        yield from self._records(spans, counts, each, evaluation, phases)

    def _records(self, spans: "_Spans", counts: Integers, each: Floats, evaluation: Floats, phases: dict[str, Floats]) -> Iterator[Batch]:
        """One record a step. They end where their span does: what else happened in it, as a checkpoint, comes before them."""
        span = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
        for first in range(0, len(span), MOST_ROWS):
            at, n = span[first:first + MOST_ROWS], number[first:first + MOST_ROWS]
            left = counts[at] - n
            evaluates = np.where(n == 0, evaluation[at], 0.0)
            start = spans.end[at] - left * each[at] - evaluates
            size = len(at)
            yield "step", records.batch("step", {
                "@timestamp": np.round(start * 1e6).astype(np.int64) * 1000,
                "event.id": [f"{self._identity}-{first + place}" for place in range(size)],
                "run.id": [self._run] * size, "rank": [0] * size,
                "step": spans.last[at] - left + 1, "duration_s": each[at] + evaluates,
                **{f"phase.{name}_s": seconds[at] for name, seconds in phases.items()},
                **({"phase.evaluation_s": evaluates} if evaluation.any() else {})})


class _Spans:
    """The spans between two values, each of some steps; what goes back in steps or does not go on in time is no span.

    >>> spans = _Spans(np.array([0, 10, 20, 10, 20]), np.array([0.0, 1.0, 2.0, 9.0, 10.0]))
    >>> spans.steps, spans.begin
    (array([10, 10, 10]), array([0., 1., 9.]))
    """

    def __init__(self, steps: Integers, times: Floats) -> None:
        forward = (np.diff(steps) > 0) & (np.diff(times) > 0)
        self.steps: Integers = np.diff(steps)[forward]
        self.last: Integers = steps[1:][forward]
        self.begin: Floats = times[:-1][forward]
        self.end: Floats = times[1:][forward]

    @property
    def seconds(self) -> Floats:
        """How long each took."""
        return self.end - self.begin

    def ending_with(self, series: _Series) -> Integers:
        """The span that ends at the step of each value; -1 where there is none."""
        order = np.argsort(self.last, kind="stable")
        steps = np.array(series.steps)
        place = np.searchsorted(self.last, steps, side="right", sorter=order) - 1
        found = order[place.clip(0)]
        return np.where((place >= 0) & (self.last[found] == steps), found, -1)

    def containing(self, series: _Series) -> Integers:
        """The span in whose time each value was logged; -1 where there is none."""
        times = np.array(series.times)
        place = np.searchsorted(self.end, times)
        inside = (place < len(self.end)) & (times > self.begin[place.clip(max=len(self.end) - 1)])
        return np.where(inside, place, -1)


def _placed(series: _Series, at: Integers, size: int) -> Floats:
    """The values by span, 0 where there is none; of several the last."""
    found, values = np.zeros(size), np.array(series.values)
    good = (at >= 0) & np.isfinite(values) & (values >= 0)
    found[at[good]] = values[good]
    return found


def _fitted(phases: dict[str, Floats], each: Floats) -> dict[str, Floats]:
    """Phases that together never exceed the step; printed communication overlaps with the others, so it gets what they leave."""
    communication = phases.pop("communication", None)
    known = np.sum(list(phases.values()), axis=0) if phases else np.zeros(len(each))
    fits = np.minimum(1.0, np.divide(each, known, out=np.ones(len(each)), where=known > 0))
    phases = {name: seconds * fits for name, seconds in phases.items()}
    if communication is not None:
        phases["communication"] = np.minimum(communication, each - known * fits).clip(0)
    return phases
