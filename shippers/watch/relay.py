"""Copy the output of a command byte for byte, and show each chunk to a tap."""

import contextlib
import os
import select
import stat
from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
# What a pipe that polls as writable takes without blocking (PIPE_BUF).
_SAFE_BYTES = 4096
#: Of what is printed behind a live view this much is shown at its end.
HELD_BYTES = 1 << 18
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Relay:
    """One output of the command on its way to ours.

    Nothing is read while the reader of our output has not taken what was read before, so the command is slowed as if it wrote
    there itself. When that reader goes away our end is closed, and the command meets the same broken pipe.
    """

    def __init__(self, source: int, target: int, tap: Callable[[bytes], None]) -> None:
        self._source = source
        self._target, self._most_bytes = _without_blocking(target)
        self._tap = tap
        self._pending = memoryview(b"")
        self._reading = True
        self._held: bytearray | None = None
        self._held_cut = False
        self.broken = False

    @property
    def open(self) -> bool:
        """Whether something may still come through."""
        return self._reading or bool(self._pending)

    def hold(self) -> None:
        """Keep the end of what is read, up to `HELD_BYTES`, while something else has the screen; the command does not wait."""
        self._held = bytearray()

    def release(self) -> None:
        """Pass on what was kept, from the beginning of a line, and from now on everything."""
        if self._held is None:
            return
        kept, self._held = bytes(self._held), None
        self._pending = memoryview(kept.partition(b"\n")[2] if self._held_cut else kept)

    def interest(self) -> dict[int, int]:
        """What to poll for."""
        if self._pending:
            return {self._target: select.POLLOUT}
        if self._reading:
            return {self._source: select.POLLIN, self._target: 0}  # 0: only that the reader has gone
        return {}

    def handle(self, ready: dict[int, int]) -> bool:
        """Do what can be done without waiting; returns whether a byte moved."""
        if not self.open:
            return False
        if ready.get(self._target, 0) & _GONE:
            self._break()
            return False
        if self._pending:
            return bool(ready.get(self._target, 0) & select.POLLOUT) and self._write()
        if ready.get(self._source, 0) & (select.POLLIN | _GONE):
            return self._read()
        return False

    def stop_reading(self) -> None:
        """Read no more; what was read is still passed on."""
        if self._reading:
            self._reading = False
            os.close(self._source)

    def _read(self) -> bool:
        try:
            data = os.read(self._source, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no program holds the pseudo terminal any more
            data = b""
        if not data:
            self.stop_reading()
            return False
        self._pending = memoryview(data)
        self._tap(data)
        if self._held is not None:
            self._held += data
            self._pending = memoryview(b"")
            if len(self._held) > 2 * HELD_BYTES:
                del self._held[:-HELD_BYTES]
                self._held_cut = True
        elif self._most_bytes == _CHUNK_BYTES:  # it cannot block: most of the time this spares another turn of the loop
            self._write()
        return True

    def _write(self) -> bool:
        try:
            written = os.write(self._target, self._pending[: self._most_bytes])
        except BlockingIOError:
            return False
        except OSError:
            self._break()
            return False
        self._pending = self._pending[written:]
        return True

    def _break(self) -> None:
        self.broken = True
        self._pending = memoryview(b"")
        self.stop_reading()


def _without_blocking(target: int) -> tuple[int, int]:
    """A descriptor of the same output that does not block, and how much to write to it at once.

    To change the one we were given would reach every process that shares it, so a pipe or a terminal is opened anew.
    """
    mode = os.fstat(target).st_mode
    if stat.S_ISREG(mode):
        return target, _CHUNK_BYTES  # a file takes all, and opened anew it would have a place of its own
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with contextlib.suppress(OSError):  # a terminal that belongs to somebody else, as after su
            return os.open(f"/proc/self/fd/{target}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), _CHUNK_BYTES
    return target, _SAFE_BYTES


class KeyRelay:
    """What is typed, on its way to the pseudo terminal of the command; the tap says what of it goes on."""

    def __init__(self, source: int, target: int, tap: Callable[[bytes], bytes]) -> None:
        self._source = source
        self._target = target
        self._tap = tap
        self._pending = b""

    def interest(self) -> dict[int, int]:
        return {self._target: select.POLLOUT} if self._pending else {self._source: select.POLLIN}

    def handle(self, ready: dict[int, int]) -> bool:
        """Do what can be done without waiting; returns False when the terminal has gone."""
        try:
            if ready.get(self._target, 0) & select.POLLNVAL:  # it was closed for the screen has gone
                return False
            if self._pending:
                if ready.get(self._target, 0) & select.POLLOUT:
                    self._pending = self._pending[os.write(self._target, self._pending) :]
            elif ready.get(self._source, 0):
                data = os.read(self._source, 1024)
                if not data:
                    return False
                self._pending = data
                self._pending = self._tap(data)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True
