"""Look at a run again and again, and draw what is seen."""

import os
from typing import Any

from pinchpoint.clock import Clock
from pinchpoint.config import Config
from shippers.diagnose import analysis
from shippers.live.recent import Recent
from shippers.live.screen import draw, plain
from shippers.live.sources import Source
from shippers.live.terminal import Screen

#: Looking takes at most this share of one core: a run of a thousand ranks is looked at less often.
_MOST_OF_A_CORE = 0.1
#: How far the training comes first.
NICE = 10
PLAIN_EVERY_S = 10.0


class View:
    """One run, looked at on a beat."""

    def __init__(self, source: Source, config: Config, clock: Clock, every_s: float) -> None:
        self._source, self._config, self._clock, self._every_s = source, config, clock, every_s
        self._recent = Recent()
        self._seen = -1
        self.picture: dict[str, Any] | None = None

    def look(self) -> float:
        """Take in what is new and look at it; returns for how long (seconds) to wait before the next time."""
        began_s = self._clock.monotonic_s()
        self._source.read(self._recent)
        if self._recent.seen != self._seen:
            self._seen = self._recent.seen
            self.picture = analysis("live")(self._recent.tables(), self._source.run_id, self._config)
        cost_s = self._clock.monotonic_s() - began_s
        return max(self._every_s - cost_s, cost_s / _MOST_OF_A_CORE - cost_s, 0.05)

    def run(self, screen: Screen, note: str) -> None:
        """Draw until the screen's keys or signals end it."""
        screen.show(draw(None, (), screen.page, note))
        wait_s = 0.0
        due_s = self._clock.monotonic_s()
        while screen.wait(wait_s):
            if self._clock.monotonic_s() >= due_s:
                due_s = self._clock.monotonic_s() + self.look()
            screen.show(draw(self.picture, self._recent.last_lines(), screen.page, note))
            wait_s = max(due_s - self._clock.monotonic_s(), 0.0)

    def line(self) -> str:
        """What is seen now in one line."""
        self.look()
        return plain(self.picture)


def stand_back() -> None:
    """Let whatever else runs here come first."""
    os.nice(NICE)
