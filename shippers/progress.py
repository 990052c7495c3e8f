"""Step times from the progress lines that training programs print."""

import dataclasses
import re
from collections.abc import Iterable, Iterator

from pinchpoint.clock import NS

#: Shorter iterations are those of a progress bar over something else: files, samples, tokens.
SHORTEST_STEP_S = 0.0005
_LONGEST_STEP_S = 86_400.0
#: A jump of more steps between two lines is a restart or another counter.
_MOST_STEPS_A_LINE = 10_000
_LOOKED_AT = 2000
# A smoothed rate this near to the clock is the clock; what is left beyond is time outside of steps.
_SMOOTHING = 0.7

# Every repetition is bounded and only the start of a line is looked at, so a hostile line costs no more than a long one.
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_UNIT = r"(?:it|iter|iteration|step|batch)(?:s|es)?"
_BAR = re.compile(rf"(\d{{1,12}})/(\d{{1,12}}) \[[\d:]{{1,12}}<[\d:?]{{1,12}}, {{0,8}}(?:{_NUMBER} ?{_UNIT}/s|{_NUMBER} ?s/{_UNIT}|\?)")
_KERAS = re.compile(rf"(\d{{1,12}})/(\d{{1,12}}) \[?[━╸╺=>.-]{{3,100}}\]? (?:- )?[\d:smh]{{1,12}} {_NUMBER} ?(s|ms|us|µs)/step")
_NAMED = re.compile(r"(?<![a-z])(step|iter|iteration|it|batch)(?![a-z_])[\"']? {0,4}[:=#]? {0,4}\[?\s{0,8}"
                    r"(\d{1,12})(?![\d.])(?: {0,4}(?:/|of) {0,4}(\d{1,12}))?", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch:? {0,2}\[\d{1,9}\] {0,2}\[ {0,12}(\d{1,12}) ?/ {0,12}(\d{1,12})\]", re.IGNORECASE)
_RANK = re.compile(r"\brank[ _:=\[]{0,3}(\d{1,6})", re.IGNORECASE)
_NO_WORD = re.compile(r"[^A-Za-z]+")

#: How a line with a step number gives the time of one step: pattern, and its unit in seconds where the line names none.
_DURATIONS = (
    (re.compile(rf"elapsed time per iteration \(ms\): {{0,4}}{_NUMBER}"), 0.001),
    (re.compile(rf"{_NUMBER} ?(s|sec|secs|seconds|ms)/{_UNIT}\b"), 1.0),
    (re.compile(rf"(?<![a-z])(?:step|iter|iteration|batch)[_ ]?time_ms[\"']?[ :=]{{1,4}}{_NUMBER}", re.IGNORECASE), 0.001),
    (re.compile(rf"(?<![a-z])(?:step|iter|iteration|batch)[_ ]?time(?:_s)?[\"']?[ :=]{{1,4}}{_NUMBER} ?(ms|s|us|µs)?(?![\d:a-z])",
                re.IGNORECASE), 1.0),
    (re.compile(rf"\b(?:time|dt)[\"']?[ :=]{{1,4}}{_NUMBER} ?(ms|us|µs)\b", re.IGNORECASE), 1.0),
)
_RATE = re.compile(rf"{_NUMBER} ?{_UNIT}/s(?:ec)?\b")
# Without a unit `time` may be the time since the start; beside the time of the data it is that of the step.
_TIME_AND_DATA = re.compile(r"\btime:?\s{1,4}(\d{1,6}\.\d{1,9})(?![\d:]).{0,80}?\bdata(?:_time)?:?\s{1,4}(\d{1,6}\.\d{1,9})(?![\d:])",
                            re.IGNORECASE)
_UNITS_S = {"ms": 0.001, "us": 1e-6, "µs": 1e-6}


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What one line says."""

    series: tuple[str, str]
    """Lines of the same loop share it."""
    rank: int
    step: int
    duration_s: float | None = None
    data_wait_s: float | None = None
    smoothed: bool = False
    """Whether the line's duration is a mean over more than the steps since the line before."""


@dataclasses.dataclass(frozen=True, slots=True)
class StepTime:
    """One step, as far as lines tell."""

    start_ns: int
    duration_s: float
    rank: int
    step: int
    epoch: int
    data_wait_s: float | None = None


def parse_line(line: str) -> Progress | None:
    """What a line says of the progress of a training loop; None when it says nothing that is certain.

    >>> parse_line("step 120 loss 2.1 0.31 s/it").duration_s
    0.31
    >>> parse_line(" 12%|## | 120/1000 [00:37<04:34,  4.00it/s]").duration_s
    0.25
    """
    text = line[:_LOOKED_AT]
    rank_found = _RANK.search(text[:200])
    rank = int(rank_found[1]) if rank_found else 0
    if bar := _BAR.search(text):
        words = _NO_WORD.sub(" ", text[: bar.start()])[-60:]
        duration_s = 1 / float(bar[3]) if bar[3] and float(bar[3]) else float(bar[4]) if bar[4] else None
        return Progress(("bar " + words.strip(), bar[2]), rank, int(bar[1]), _plausible(duration_s), smoothed=True)
    if keras := _KERAS.search(text):
        return Progress(("keras", keras[2]), rank, int(keras[1]), _plausible(_seconds(keras[3], keras[4], 1.0)), smoothed=True)
    if epoch := _EPOCH.search(text):
        duration_s, data_wait_s = _time_of_step(text)
        return Progress(("epoch", epoch[2]), rank, int(epoch[1]), duration_s, data_wait_s)
    if named := _NAMED.search(text):
        duration_s, data_wait_s = _time_of_step(text)
        return Progress((named[1].lower(), named[3] or ""), rank, int(named[2]), duration_s, data_wait_s)
    return None


def _time_of_step(text: str) -> tuple[float | None, float | None]:
    """Duration of a step and its wait for data, in seconds, as a line gives them."""
    for pattern, unit_s in _DURATIONS:
        if found := pattern.search(text):
            return _plausible(_seconds(found[1], found[2] if pattern.groups > 1 else None, unit_s)), None
    if (rate := _RATE.search(text)) and float(rate[1]):
        return _plausible(1 / float(rate[1])), None
    if both := _TIME_AND_DATA.search(text):
        duration_s, data_wait_s = _plausible(float(both[1])), float(both[2])
        return duration_s, data_wait_s if duration_s is not None and data_wait_s <= duration_s else None
    return None, None


def _seconds(number: str, unit: str | None, default_s: float) -> float:
    return float(number) * (_UNITS_S.get(unit.lower(), 1.0) if unit else default_s)


def _plausible(duration_s: float | None) -> float | None:
    return duration_s if duration_s is not None and 0 < duration_s < _LONGEST_STEP_S else None


class ProgressReader:
    """Collects the lines of a run, and makes steps of those of its finest loop."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], dict[int, list[tuple[int, Progress]]]] = {}

    def feed(self, time_ns: int, line: str) -> None:
        """Take in a line that arrived at time_ns (UTC ns); times must not go back by much."""
        progress = parse_line(line)
        if progress is not None:
            self._series.setdefault(progress.series, {}).setdefault(progress.rank, []).append((time_ns, progress))

    def steps(self) -> Iterator[StepTime]:
        """The steps of the loop with most steps, rank after rank; of a loop over something finer than steps, nothing."""
        loops = [[list(_lay_out(lines)) for lines in ranks.values()] for ranks in self._series.values()]
        steps = max(([step for rank in loop for step in rank] for loop in loops), key=len, default=[])
        if steps and sum(step.duration_s for step in steps) / len(steps) >= SHORTEST_STEP_S:
            yield from steps


def steps_from_lines(lines: Iterable[tuple[int, str]]) -> list[StepTime]:
    """The steps that lines with their times of arrival (UTC ns) tell of.

    Steps of a rank are in order and do not overlap. A line's own number is the duration of the steps since the line before,
    unless the clock says that it cannot be; without one the clock is divided by the steps.

    >>> [step.duration_s for step in steps_from_lines([(0, "step 1"), (2 * NS, "step 5")])]
    [0.5, 0.5, 0.5, 0.5]
    """
    reader = ProgressReader()
    for time_ns, line in lines:
        reader.feed(time_ns, line)
    return list(reader.steps())


def _lay_out(lines: list[tuple[int, Progress]]) -> Iterator[StepTime]:
    """Put the steps of one rank on the clock, backwards from the arrival of the lines that report them."""
    passed, epoch = 0, 0
    last: int | None = None
    before_ns: int | None = None
    for time_ns, burst in _bursts(lines):
        reported: list[tuple[int, int, Progress]] = []
        for progress in burst:
            if last is not None and progress.step == last:
                continue
            if last is not None and progress.step < last:  # the counter began again
                passed, epoch, last = passed + last, epoch + 1, 0
            count = progress.step - last if last is not None and progress.step - last <= _MOST_STEPS_A_LINE else 1
            reported += [(passed + progress.step - count + 1 + number, epoch, progress) for number in range(count)]
            last = progress.step
        if reported:
            elapsed_s = None if before_ns is None else (time_ns - before_ns) / NS
            yield from _place(reported, time_ns, elapsed_s)
            before_ns = time_ns


def _place(reported: list[tuple[int, int, Progress]], end_ns: int, elapsed_s: float | None) -> Iterator[StepTime]:
    """The steps that end at end_ns; elapsed_s is the time since the steps before them, None for the first."""
    known = [progress.duration_s for _, _, progress in reported if progress.duration_s is not None]
    if not known and elapsed_s is None:
        return
    share_s = sum(known) / len(known) if known else (elapsed_s or 0.0) / len(reported)
    durations_s = [share_s if progress.duration_s is None else progress.duration_s for _, _, progress in reported]
    total_s = sum(durations_s)
    smoothed = reported[-1][2].smoothed
    if elapsed_s is not None and total_s > 0 and (total_s > elapsed_s or (smoothed and total_s > _SMOOTHING * elapsed_s)):
        durations_s = [duration_s * elapsed_s / total_s for duration_s in durations_s]
        total_s = elapsed_s
    start_s = -total_s
    for (step, epoch, progress), duration_s in zip(reported, durations_s, strict=True):
        if duration_s > 0:
            wait_s = None if progress.data_wait_s is None else min(progress.data_wait_s, duration_s)
            yield StepTime(end_ns + round(start_s * NS), duration_s, progress.rank, step, epoch, wait_s)
        start_s += duration_s


def _bursts(lines: list[tuple[int, Progress]]) -> Iterator[tuple[int, list[Progress]]]:
    """Lines that arrived together: a program that writes into a pipe hands over many at once."""
    burst: list[Progress] = []
    burst_ns = None
    for time_ns, progress in lines:
        if burst_ns is not None and time_ns > burst_ns:
            yield burst_ns, burst
            burst, burst_ns = [], None
        burst_ns = time_ns if burst_ns is None else burst_ns
        burst.append(progress)
    if burst_ns is not None:
        yield burst_ns, burst
