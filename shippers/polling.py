"""Read sources on a beat, in one thread."""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence

from pinchpoint.clock import Clock
from shippers.items import Item


@dataclasses.dataclass(slots=True)
class Task:
    """Something that is read each so many seconds."""

    name: str
    interval_s: float
    read: Callable[[], Iterable[Item]]
    due_s: float = 0.0
    failures: int = 0
    problem: str | None = None
    """Why the last reading failed; None when it did not."""


class Poller:
    """Reads tasks when they are due and pushes what they give; one that fails is counted and read again at its next time."""

    def __init__(self, tasks: Sequence[Task], push: Callable[[Sequence[Item]], bool], clock: Clock) -> None:
        self.tasks = tasks
        self.refused = 0
        """Items that the spool could not hold."""
        self._push, self._clock = push, clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)
        for task in tasks:
            task.due_s = clock.monotonic_s()

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Read no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def poll(self) -> float:
        """Read what is due; returns the seconds until something is again."""
        for task in self.tasks:
            now_s = self._clock.monotonic_s()
            if now_s < task.due_s:
                continue
            # beats that were missed are not made up for
            task.due_s += task.interval_s * max(1, -(-(now_s - task.due_s + 1e-9) // task.interval_s))
            self._read(task)
        return max(min((task.due_s for task in self.tasks), default=float("inf")) - self._clock.monotonic_s(), 0.0)

    def _read(self, task: Task) -> None:
        try:
            items = list(task.read())
        except Exception as error:
            # one sick source must not end the others
            task.failures += 1
            task.problem = f"{type(error).__name__}: {error}"
            return
        task.problem = None
        if items and not self._push(items):
            self.refused += len(items)

    def _run(self) -> None:
        while not self._ended.wait(min(self.poll(), 3600.0)):
            pass
