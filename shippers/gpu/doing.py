"""Which call of the driver a thread is in, and since when."""

from pinchpoint.clock import SYSTEM_CLOCK


class Doing:
    """Written by the thread that calls, read by the one that watches over it; neither waits for the other."""

    __slots__ = ("call", "index", "since_s", "told")

    def __init__(self, index: int | None = None) -> None:
        self.call = ""
        self.index = index
        """Of the GPU; None for calls of the driver as a whole."""
        self.since_s = 0.0
        self.told = False
        """Whether it was told that this call hangs."""

    def begin(self, call: str, waits_s: float = 0.0) -> None:
        """A call is made now, which may wait so long (s) by itself before its deadline begins."""
        self.since_s = SYSTEM_CLOCK.monotonic_s() + waits_s
        self.call = call

    def end(self) -> None:
        """No call is being made."""
        self.call = ""
