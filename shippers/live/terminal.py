"""The screen a live view is drawn on, and the keys that end it."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from shippers.live.screen import Page

_QUIT = b"qQ"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"


class _Lines:
    """Lines that fill the screen; a carriage return before each line feed, for a terminal that is raw moves down alone."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(self._lines):
            # erased before it is drawn: after a line as wide as the terminal that would take its last cell
            yield Segment("\r\n\x1b[2K" if number else "\x1b[H\x1b[2K")
            yield from line.render(console)


class Screen:
    """Holds a terminal while a view is drawn on it, and gives it back as it was, however the view ends."""

    def __init__(self, keys: int, console: Console) -> None:
        """Take the screen.

        Args:
            keys: descriptor of the keys; its end ends the view.
            console: the terminal.
        """
        self._keys, self._console = keys, console
        self._attributes: list[Any] | None = None
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._ended = self._stop_asked = False
        self._before = {number: signal.signal(number, self._on_signal)
                        for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGTSTP, signal.SIGHUP)}
        self._enter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._leave()
        os.close(self._wake)
        os.close(self._woken)

    @property
    def page(self) -> Page:
        width, height = self._console.size
        return Page(max(width, 10), max(height, 4), self._console.options.ascii_only)

    def show(self, lines: Sequence[Text]) -> None:
        """Draw; lines are those of `page`."""
        self._console.print(_Lines(lines), end="", crop=False)

    def wait(self, seconds: float) -> bool:
        """Wait until it is time to draw again: after so many seconds, or at once when the window changed. False to end."""
        if self._ended:
            return False
        ready, _, _ = select.select([self._keys, self._woken], [], [], seconds)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 512)
        if self._keys in ready:
            try:
                data = os.read(self._keys, 64)
            except OSError:  # the window was closed
                return False
            if not data or any(key in data for key in _QUIT):
                return False
        if self._stop_asked:
            self._stop()
        return not self._ended

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTSTP:
            self._stop_asked = True
        elif number != signal.SIGWINCH:
            self._ended = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"!")

    def _stop(self) -> None:
        """Give the terminal back, stop as ^Z stops, and take it again when continued."""
        self._stop_asked = False
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()

    def _enter(self) -> None:
        with contextlib.suppress(termios.error):  # keys that come through a pipe
            self._attributes = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys, termios.TCSADRAIN)
        self._write(_ENTER)

    def _leave(self) -> None:
        self._write(_LEAVE)
        if self._attributes is not None:
            with contextlib.suppress(termios.error):  # it hung up
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._attributes)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._console.file.write(text)
            self._console.file.flush()


@contextlib.contextmanager
def screen_of(keys: int) -> Iterator[Screen | None]:
    """The terminal at stdout as a screen; None where stdout is none, or one that can only print."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with Screen(keys, console) as screen:
        yield screen
