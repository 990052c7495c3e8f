"""Turn the progress that a log shows into times of steps: means over windows in which the clock of the bar is exact enough."""

from typing import NamedTuple

from shippers.formats.progress_lines import KERAS, Progress

#: A window ends when its time is this many times what the clock of the bar may be off: seconds are then right to a tenth.
_TIMES_RESOLUTION = 10
_MOST_BARS, _MOST_WINDOWS = 64, 200_000


class Window(NamedTuple):
    """Some steps that follow each other."""

    last_step: int
    steps: int
    seconds: float


class Bar:
    """One bar, through as many epochs as it has."""

    def __init__(self, first: Progress) -> None:
        self.windows: list[Window] = []
        self.evaluation_s = 0.0
        self.evaluates = first.evaluates and first.bar != KERAS
        self._before = 0
        self.ended = False
        self._begin(first)

    def _begin(self, line: Progress) -> None:
        # bars tell when they began; lines with times of day do not
        of_day = line.total == 0
        self._last = self._mark = line if of_day else line._replace(done=0, seconds=0.0)
        self._paused_s = self._pending_s = 0.0
        self._fresh = True

    @property
    def seconds(self) -> float:
        """Of all its steps."""
        return sum(window.seconds for window in self.windows)

    @property
    def open_s(self) -> float:
        """Since the last window."""
        return max(self._last.seconds - self._mark.seconds - self._paused_s, 0.0)

    def restart(self, line: Progress) -> None:
        """A new epoch, or a bar that is drawn anew."""
        self.finish()
        self._before += self._last.done if self._last.total else 0
        self._begin(line)

    def add(self, line: Progress) -> None:
        if line.done < self._last.done or line.seconds < self._last.seconds - 2 * line.resolution_s:
            self.restart(line)
        # what was waited for lies before this line only if the bar went on
        self._paused_s, self._pending_s = self._paused_s + self._pending_s, 0.0
        if line.bar == KERAS and line.evaluates and line.done == self._last.done:
            self.evaluation_s += max(line.seconds - self._last.seconds, 0.0)
            self._mark = self._mark._replace(seconds=self._mark.seconds + line.seconds - self._last.seconds)
        self._last = line
        if line.done > self._mark.done and line.seconds - self._mark.seconds >= _TIMES_RESOLUTION * line.resolution_s:
            self._close()

    def pause(self, seconds: float) -> None:
        """An evaluation ran while the bar stood still."""
        if self._last.done:
            self._pending_s += seconds
            self.evaluation_s += seconds

    def finish(self) -> None:
        """Count what is left since the last window: with the last window of this epoch, or by the rate that the bar shows."""
        steps, seconds = self._last.done - self._mark.done, self._last.seconds - self._mark.seconds - self._paused_s
        if steps <= 0:
            return
        if self._fresh or not self.windows:
            if seconds < 2 * self._last.resolution_s and self._last.rate_s is not None:
                seconds = self._last.rate_s * steps
            self._keep(steps, seconds)
        else:
            last = self.windows.pop()
            self._keep(last.steps + steps, last.seconds + max(seconds, 0.0))
        self._mark, self._paused_s = self._last, 0.0

    def _close(self) -> None:
        steps = self._last.done - self._mark.done
        seconds = self._last.seconds - self._mark.seconds - self._paused_s
        if self._paused_s and seconds < _TIMES_RESOLUTION * self._last.resolution_s:
            return
        self._keep(steps, seconds)
        self._mark, self._paused_s, self._fresh = self._last, 0.0, False

    def _keep(self, steps: int, seconds: float) -> None:
        if seconds > 0 and len(self.windows) < _MOST_WINDOWS:
            self.windows.append(Window(self._before + self._last.done, steps, seconds))


class Bars:
    """All bars of one log."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int], Bar] = {}

    def add(self, line: Progress) -> None:
        if line.bar == KERAS and not line.total:
            for (name, total), one in self._bars.items():
                if name == KERAS:
                    one.restart(line._replace(total=total))
            return
        key = (line.bar, line.total)
        bar = self._bars.get(key)
        if bar is None:
            if len(self._bars) >= _MOST_BARS:
                return
            bar = self._bars[key] = Bar(line)
        if not bar.evaluates:
            bar.add(line)
            return
        if line.done == line.total and not bar.ended:  # the last line is often drawn twice
            self.pause(line.seconds)
        bar.ended = line.done == line.total

    def pause(self, seconds: float) -> None:
        """An evaluation ran."""
        for bar in self._bars.values():
            if not bar.evaluates:
                bar.pause(seconds)

    def now_s(self) -> float:
        """How long the steps so far took, of the bar that is furthest."""
        return max((bar.seconds + bar.open_s for bar in self._bars.values() if not bar.evaluates), default=0.0)

    def longest(self) -> Bar | None:
        """The bar that took most time, which is the training; None when no bar tells of a step."""
        bars = [bar for bar in self._bars.values() if not bar.evaluates]
        for bar in bars:
            bar.finish()
        return max((bar for bar in bars if bar.windows), key=lambda bar: bar.seconds, default=None)
