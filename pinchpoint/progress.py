"""A progress bar for work that takes a while."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinchpoint.human import printable

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress(title: str, total: float | None = None, *, after_s: float = 2.0) -> Iterator[Callable[[float], None]]:
    """Show on stderr how far the work is, once it has taken `after_s`, if stderr is a terminal; gives a function to advance by.

    Args:
        title: what is being done.
        total: how much there is to do, in any unit; None when nobody knows.
        after_s: work that takes less shows nothing.
    """
    if not sys.stderr.isatty():
        yield lambda by: None
        return
    bar = _Bar(title, total)
    timer = threading.Timer(after_s, bar.show)
    timer.daemon = True
    timer.start()
    try:
        yield bar.advance
    finally:
        timer.cancel()
        timer.join()  # else it might show the bar after it was hidden
        bar.hide()


class _Bar:
    """A progress bar that costs nothing until it is shown."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title, self._total, self._done = printable(title), total, 0.0
        self._shown: Progress | None = None

    def advance(self, by: float) -> None:
        self._done += by
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self._done)

    def show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        shown = Progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(),
                         console=Console(stderr=True), transient=True)
        shown.update(shown.add_task(self._title, total=self._total), completed=self._done)
        shown.start()
        self._shown = shown

    def hide(self) -> None:
        if self._shown is not None:
            self._shown.stop()
