"""A person at a terminal, for tests of what people see there."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pinchpoint
from shippers.readable import is_readable

ROOT = str(Path(pinchpoint.__file__).parent.parent)
WATCH = [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\nfrom shippers.watch.cli import watch\n"
         "sys.exit(watch.main(standalone_mode=False))"]


class Person:
    """Sits at a terminal of 97 columns and 31 lines in which a program runs."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self._near = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        self.resize(97, 31)
        self.seen = b""
        self._mode = termios.tcgetattr(self._near)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._near, keys)

    def wait_for(self, text: bytes, seconds: float = 30.0) -> None:
        """Read what the program writes up to and with a text; what follows stays unread."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if is_readable(self._near, 0.1):
                try:
                    self.seen += os.read(self._near, 4096)
                except OSError:
                    raise AssertionError(self.seen) from None
        self.seen = self.seen.split(text, 1)[1]

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.seen
            if is_readable(self._near, 0.02):
                self.seen += os.read(self._near, 4096)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self._near)[3] & termios.ICANON

    def mode_is_as_before(self) -> bool:
        return termios.tcgetattr(self._near) == self._mode

    def leave(self) -> None:
        """Close the terminal."""
        if self._near >= 0:
            os.close(self._near)
            self._near = -1

    def send_away(self) -> None:
        """Close the terminal, and end what still runs there."""
        self.leave()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def end(self, seconds: float = 30.0) -> int:
        """How the program ended: its exit status, or minus the number of a signal."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._near >= 0 and is_readable(self._near, 0.02):
                try:
                    self.seen += os.read(self._near, 4096)
                except OSError:
                    self.leave()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it did not end: {self.seen!r}")
