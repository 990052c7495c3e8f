"""Let the GPUs be read one after the other, without waiting for one that hangs.

Side by side they would only wait for the interpreter and for the driver's lock, and each would find cold caches: read in a row, eight
GPUs cost a third of that.
"""

import contextlib
import threading
from collections.abc import Iterator

_PATIENCE_S = 0.25


class Turn:
    """Held by the thread that reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, but not long: then whoever has it is left with it, and the others go on with a new one."""
        lock = self._lock
        if not lock.acquire(timeout=_PATIENCE_S):
            if self._lock is lock:
                self._lock = threading.Lock()
            lock = self._lock
            if not lock.acquire(timeout=_PATIENCE_S):
                yield
                return
        try:
            yield
        finally:
            lock.release()
