"""Keep one reading process running: start it, end it when the driver hangs, start it anew, never in haste."""

import dataclasses
from collections.abc import Callable
from typing import Any

from pinchpoint.clock import Clock
from shippers.gpu import protocol
from shippers.gpu.process import ReadingProcess
from shippers.gpu.skips import Skips
from shippers.gpu.states import GpuState, before_start

_KILL_S = 0.2
_LEAVE_S = 1.5
_SOONEST_S, _LATEST_S = 1.0, 600.0
_NOTHING_HERE_S = 60.0
_WELL_S = 60.0
_OPEN_DEADLINE_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How often GPUs are read, and how long calls may take."""

    interval_s: float = 1.0
    slow_interval_s: float = 30.0
    deadline_s: float = 5.0
    skip_s: float = 60.0
    """How long a GPU is left alone the first time a call for it did not return."""


class Keeper:
    """The reading process of this host, or the reason why there is none."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock, self._pace = clock, pace
        self.skips = Skips(pace.skip_s)
        self._deaf = Skips(pace.skip_s)
        """Of events: not listened to for a while, since waiting for them did not return."""
        self.process: ReadingProcess | None = None
        self.state = GpuState.STARTING
        self.text = ""
        """More about the state, in the words of the driver."""
        self.devices = 0
        """How many GPUs the driver knows."""
        self.starts = 0
        self._dying: list[ReadingProcess] = []
        """Killed, and not ended: the kernel holds them in a call of the driver. At most two, then nothing is started."""
        self._start_s = clock.monotonic_s()
        self._delay_s = 0.0
        self._began_s = self._heard_s = 0.0

    def lines(self, take: Callable[[list[Any]], None]) -> None:
        """Hand out what the process told, start it when that is due, and end it when it hangs."""
        self._tend()
        process = self.process
        if process is None:
            return
        now_s = self._clock.monotonic_s()
        is_over = process.has_ended()  # asked first: what it told before its end is read below
        hangs = False
        for line in process.lines():
            words = protocol.parse(line)
            if words is None:
                continue
            self._heard_s = now_s
            match words:
                case [protocol.STATE, str(reason), str(text), int(devices)]:
                    self.state, self.text, self.devices = GpuState[reason.upper()], text, devices
                    continue
                case [protocol.HANG, None, protocol.EVENT_WAIT, *_]:
                    hangs = True
                    self._deaf.add(protocol.EVENTS, now_s)
                    self._start_s = now_s  # readings go on at once
                case [protocol.HANG, int() | None as index, *_]:
                    hangs = True
                    self._hang(index, now_s)
            take(words)
        if is_over:
            self._has_ended(process, now_s)
        elif hangs:
            self._end(process, now_s)
        elif now_s - self._heard_s > max(3 * self._pace.deadline_s, 10.0):
            # it watches over itself; when even that is silent, the whole process is held
            take([protocol.HANG, None, "everything", round(now_s - self._heard_s, 3)])
            self._hang(None, now_s)
            self._end(process, now_s)

    def _tend(self) -> None:
        now_s = self._clock.monotonic_s()
        for process in [one for one in self._dying if one.has_ended()]:
            process.close()
            self._dying.remove(process)
        if self.process is not None:
            for index in (*self.skips.over(now_s), *self._events_due(now_s)):
                self.process.order(index)
        elif len(self._dying) > 1:
            self.state = GpuState.STUCK
        elif now_s >= self._start_s:
            self._start(now_s)

    def _start(self, now_s: float) -> None:
        vendor = before_start()
        if isinstance(vendor, GpuState):
            self.state = vendor
            self._wait(now_s, _NOTHING_HERE_S)
            return
        pace = self._pace
        # those whose time is over are tried again by this start
        self.skips.over(now_s)
        self._events_due(now_s)
        task = {"interval_s": pace.interval_s, "slow_interval_s": pace.slow_interval_s, "deadline_s": pace.deadline_s,
                "open_deadline_s": max(_OPEN_DEADLINE_S if pace.deadline_s >= 1 else 0.0, pace.deadline_s),
                "skip": self.skips.skipped(now_s) + self._deaf.skipped(now_s), "vendor": vendor}
        try:
            self.process = ReadingProcess(task)
        except OSError as error:
            self.state, self.text = GpuState.FAILED, f"the reading process cannot be started: {error.strerror}"
            self._wait(now_s, _SOONEST_S)
            return
        self.state, self.text = GpuState.STARTING, ""
        self.starts += 1
        self._began_s = self._heard_s = now_s

    def _events_due(self, now_s: float) -> list[int]:
        """Whether events are to be listened to again; that they come cannot be seen, so it is taken for granted until it hangs again."""
        due = self._deaf.over(now_s)
        for index in due:
            self._deaf.answered(index, now_s)
        return due

    @property
    def is_deaf(self) -> bool:
        """Whether events are not listened to, since waiting for them did not return."""
        return bool(self._deaf.waiting())

    def _hang(self, index: int | None, now_s: float) -> None:
        if index is None:
            self.state = GpuState.SILENT
            self._wait(now_s, _NOTHING_HERE_S)
        else:
            self.skips.add(index, now_s)
            self._start_s = now_s  # the others are read on at once

    def _has_ended(self, process: ReadingProcess, now_s: float) -> None:
        was_reading = self.state in (GpuState.READING, GpuState.DRIVER_GONE)
        process.close()
        self.process = None
        if self.state in (GpuState.READING, GpuState.STARTING):
            self.state, self.text = GpuState.FAILED, "the reading process ended"
        if was_reading and now_s - self._began_s > _WELL_S:
            self._delay_s = 0.0
        self._wait(now_s, _SOONEST_S if was_reading or self._delay_s else _NOTHING_HERE_S)

    def _wait(self, now_s: float, least_s: float) -> None:
        """Start again after twice the time of the last wait."""
        self._delay_s = min(max(self._delay_s * 2, least_s), _LATEST_S)
        self._start_s = now_s + self._delay_s

    def _end(self, process: ReadingProcess, now_s: float) -> None:
        """Kill it, and start another one where that is due."""
        if process.kill(_KILL_S):
            process.close()
        else:
            self._dying.append(process)
        self.process = None
        if self._start_s <= now_s:
            self._tend()

    def held(self) -> list[int]:
        """Processes that were killed and do not end."""
        return [process.pid for process in self._dying]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.leave(_LEAVE_S)
            self.process = None
