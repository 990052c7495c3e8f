"""Make records of notes, in the thread that writes them."""

from __future__ import annotations

from pinchpoint.auto.loop import Loop
from pinchpoint.auto.noting import STATE
from pinchpoint.auto.trouble import turned_off
from pinchpoint.sdk.place import Place
from pinchpoint.sdk.writing import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Recorder(Writer):
    """The writer of one process, which reads the notes before it writes."""

    # a thread that wakes up finds cold caches, so many steps at once cost less
    write_every_s = 1.0

    def __init__(self, place: Place, at_exit: Callable[[], None]) -> None:
        super().__init__(place, at_exit)
        self.loop = Loop(self.put)

    def start(self) -> None:
        """Begin the thread: there is something to write."""
        STATE.writes = True
        self._begin_thread()

    def close(self) -> None:
        """Read and write what is left."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2.0)
        if self._thread is None or not self._thread.is_alive():
            self._read_all()
            self.loop.close()
        super().close()

    def leave_to_parent(self) -> None:
        """After a fork: what was noted is the parent's."""
        self.begin_in_child()
        super().close()

    def _write_all(self) -> None:
        self._read_all()
        super()._write_all()

    def _read_all(self) -> None:
        notes, read = STATE.notes, self.loop.read
        try:
            while notes:
                read(*notes.popleft())
            STATE.times_waits = self.loop.waits_matter
        except Exception as error:
            turned_off("all", error)
            STATE.owner = 0
