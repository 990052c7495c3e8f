"""What a process that uses a GPU did in each stretch of an eBPF trace: calls of CUDA, reads, and stretches without either."""

import numpy as np

from shippers.formats.intervals import Floats

#: A process that feeds a GPU calls CUDA every few milliseconds, or waits in a call; one that calls nothing for so long does something else.
#: Own estimate: the work between two launches is Python, some 10 to 100 us each.
LONGEST_BETWEEN_CALLS_NS = 20_000_000


class Windows:
    """A trace in stretches of equal length, times in ns."""

    def __init__(self, begin: int, end: int, count: int) -> None:
        self.begin, self.end, self.count = begin, end, count
        self.length = (end - begin) / count

    def spread(self, total: Floats, begin: int, end: int) -> None:
        """Add the time between two moments to the stretches that it lies in.

        >>> windows, total = Windows(0, 30, 3), np.zeros(3)
        >>> windows.spread(total, 5, 22)
        >>> total
        array([ 5., 10.,  2.])
        """
        begin, end = max(begin, self.begin), min(end, self.end)
        if end <= begin:
            return
        first = min(int((begin - self.begin) / self.length), self.count - 1)
        last = min(int((end - self.begin) / self.length), self.count - 1)
        if first == last:
            total[first] += end - begin
            return
        total[first] += self.begin + (first + 1) * self.length - begin
        total[first + 1:last] += self.length
        total[last] += end - (self.begin + last * self.length)


class Process:
    """One process, as its events come in the order of time."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.calls = 0
        self.first_fork: int | None = None
        self.off_cpu_ns = 0
        #: Time in calls that wait for the GPU.
        self.sync_ns = 0
        #: Time without a call of CUDA, in stretches of at least `LONGEST_BETWEEN_CALLS_NS`; and time that reads from disks took.
        self.without_calls, self.reads = np.zeros(windows.count), np.zeros(windows.count)
        #: Time off the processors in the main thread.
        self.off_cpu = np.zeros(windows.count)
        self._last_call = self._last_sync = windows.begin
        self._last_read = windows.begin

    def call(self, begin: int, end: int) -> None:
        """A call of CUDA; those inside another one change nothing."""
        self.calls += 1
        if begin - self._last_call >= LONGEST_BETWEEN_CALLS_NS:
            self._windows.spread(self.without_calls, self._last_call, begin)
        self._last_call = max(self._last_call, end)

    def sync(self, begin: int, end: int) -> None:
        """A call that waits for the GPU; what waits inside another one counts once."""
        self.sync_ns += max(end - max(begin, self._last_sync), 0)
        self._last_sync = max(self._last_sync, end)

    def read(self, begin: int, end: int) -> None:
        """A read from a disk; those at the same time count once."""
        self._windows.spread(self.reads, max(begin, self._last_read), end)
        self._last_read = max(self._last_read, end)

    def off(self, begin: int, end: int, *, main: bool) -> None:
        """Time in which a thread was on no processor."""
        self.off_cpu_ns += end - begin
        if main:
            self._windows.spread(self.off_cpu, begin, end)

    def left_out(self, begin: int, end: int, calls: int) -> None:
        """Calls between two times that were counted and not kept: as if each had come where nothing seemed to be called."""
        windows = self._windows
        first = min(max(int((begin - windows.begin) / windows.length), 0), windows.count)
        part = slice(first, min(max(int(np.ceil((end - windows.begin) / windows.length)), 0), windows.count))
        total = float(self.without_calls[part].sum())
        if total > 0:
            self.without_calls[part] *= max(total - calls * LONGEST_BETWEEN_CALLS_NS, 0.0) / total

    def finish(self) -> None:
        """The trace is through: what followed the last call was without any."""
        if self._windows.end - self._last_call >= LONGEST_BETWEEN_CALLS_NS:
            self._windows.spread(self.without_calls, self._last_call, self._windows.end)
