"""The process that calls the driver: `python -m shippers.gpu.child`, started by the agent and ended with it.

It reads its task as JSON from its arguments, orders from its input, and writes lines of `protocol`. Each GPU has a thread, events have
one, and the first thread watches over them: what calls for longer than the deadline is told, and the agent kills this process.
"""

import dataclasses
import json
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu import protocol
from shippers.gpu.doing import Doing
from shippers.gpu.errors import CannotOpenError, DriverGoneError
from shippers.gpu.rounds import Gpu, Rounds
from shippers.gpu.turn import Turn

#: Whoever waits for the end of this process waits for this; the kernel takes back what a thread in a call still holds.
_LEAVE_WITHIN_S = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What is to be read."""

    interval_s: float
    slow_interval_s: float
    deadline_s: float
    """For each call."""
    open_deadline_s: float
    """For opening the driver, which may have to wake the GPUs."""
    skip: tuple[int, ...] = ()
    """Indexes of GPUs that are left alone until ordered otherwise; `protocol.EVENTS` for events."""
    vendor: str = "nvidia"
    """Whose driver is read: nvidia or amd."""


class Driver(Protocol):
    """The driver of a vendor, open."""

    devices: int
    driver: str

    def device(self, index: int, doing: Doing) -> Gpu:
        """A GPU. Raises: LostError, DriverGoneError, UnavailableError."""

    def close(self) -> None:
        """Let go of it."""


class Child:
    """The process, from opening the driver to its end."""

    def __init__(self, task: Task, teller: protocol.Teller) -> None:
        self._task, self._teller = task, teller
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._opening, self._turn = Doing(), Turn()
        self._doings: list[Doing] = []
        self._session: Driver | None = None
        self._read: set[int] = set()
        self._first_s = 0.0
        self._listen: Callable[[], None] | None = None
        """Listens to events; None once it does, and where nothing tells any."""

    def run(self, orders: int) -> None:
        """Read until the orders end."""
        self._start(self._open, "open")
        wait_s = min(self._task.deadline_s / 4, 1.0)
        while not self._stop.is_set():
            if select.select([orders], [], [], wait_s)[0]:
                data = os.read(orders, 4096)
                if not data:
                    break
                for word in data.split():
                    self._add(int(word))
            self._teller.tell(protocol.ALIVE)
            self._watch()
        self._stop.set()
        due_s = SYSTEM_CLOCK.monotonic_s() + _LEAVE_WITHIN_S
        for thread in self._threads:
            thread.join(max(due_s - SYSTEM_CLOCK.monotonic_s(), 0.0))
        if self._session is not None and not any(thread.is_alive() for thread in self._threads):
            self._session.close()

    def _open(self) -> None:
        try:
            session = self._open_driver()
        except CannotOpenError as error:
            self._teller.tell(protocol.STATE, *error.args, 0)
            self._stop.set()
            return
        self._session = session
        self._first_s = SYSTEM_CLOCK.monotonic_s()
        self._teller.tell(protocol.STATE, "reading", session.driver, session.devices)
        for index in range(session.devices):
            if index not in self._task.skip:
                self._add(index)

    def _open_driver(self) -> Driver:
        # the bindings of one vendor are loaded, and no others
        if self._task.vendor == "amd":
            from shippers.gpu.amd import AmdSession

            return AmdSession(self._opening)
        from shippers.gpu.session import Session

        session = Session(self._opening, lambda *heard: self._teller.tell(protocol.EVENT, *heard), self._stop)
        self._listen = session.listener.run
        self._doings.append(session.listener.doing)
        if protocol.EVENTS not in self._task.skip:
            self._add_events()
        return session

    def _add_events(self) -> None:
        listen, self._listen = self._listen, None
        if listen is not None:
            self._start(listen, "events")

    def _add(self, index: int) -> None:
        """Read this GPU from now on, or listen to events."""
        if index == protocol.EVENTS:
            self._add_events()
            return
        if self._session is None or index in self._read:
            return
        beat = (self._first_s, self._task.interval_s, self._task.slow_interval_s)
        rounds = Rounds(index, self._session.device, beat, self._teller, self._turn, self._stop)
        self._read.add(index)
        self._doings.append(rounds.doing)
        self._start(rounds.run, f"gpu-{index}")

    def _start(self, run: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                run()
            except DriverGoneError as error:
                self._leave("driver_gone", f"NVML error {error.args[0]}")
            except OSError:
                self._stop.set()  # nobody reads any more
            except Exception as error:  # a thread that dies unseen would look like a GPU that tells nothing
                self._leave("failed", f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _leave(self, reason: str, text: str) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._teller.tell(protocol.STATE, reason, text, 0)

    def _watch(self) -> None:
        now_s = SYSTEM_CLOCK.monotonic_s()
        for doing, deadline_s in [(self._opening, self._task.open_deadline_s), *((one, self._task.deadline_s) for one in self._doings)]:
            call, since_s = doing.call, doing.since_s
            if call and now_s - since_s > deadline_s and not doing.told:
                doing.told = True
                self._teller.tell(protocol.HANG, doing.index, call, round(now_s - since_s, 3))


def main() -> None:
    """Take the task, and read until the input ends."""
    # the driver's library must not write between our lines
    lines = os.dup(1)
    os.dup2(2, 1)
    given = json.loads(sys.argv[1])
    Child(Task(**(given | {"skip": tuple(given["skip"])})), protocol.Teller(lines)).run(0)
    sys.stdout.flush()
    os._exit(0)  # a thread may still be in a call


if __name__ == "__main__":
    main()
