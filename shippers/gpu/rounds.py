"""Read one GPU on the beat, in a thread of its own, so that a call that hangs costs no other GPU a reading."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu import protocol
from shippers.gpu.doing import Doing
from shippers.gpu.errors import LostError, UnavailableError
from shippers.gpu.turn import Turn

_LOOK_FOR_LOST_S = 10.0
_LEARNT_AFTER = 3  # rounds: GPM answers from the second on


Processes = list[tuple[int, int]] | None


class Part(Protocol):
    """A part of a GPU that is used like one, such as a MIG instance."""

    uuid: str
    labels: dict[str, str]

    def read(self) -> dict[str, float]:
        """Its metrics now."""

    def read_processes(self) -> Processes:
        """Process and bytes of each that computes on it; None where that cannot be told."""


class Gpu(Protocol):
    """One GPU, of whichever vendor. What reads raises LostError or DriverGoneError."""

    uuid: str
    labels: dict[str, str]

    def read_fast(self) -> dict[str, float]:
        """What changes within seconds."""

    def read_slow(self) -> dict[str, float]:
        """What seldom changes."""

    def read_processes(self) -> Processes:
        """As of a part."""

    def new_parts(self) -> Sequence[Part]:
        """Find out which parts there are now; returns those that were not there before."""

    def parts(self) -> Sequence[Part]:
        """Those that were found."""

    def missing(self) -> dict[str, str]:
        """Why a metric cannot be read here."""

    def close(self) -> None:
        """Give back what was allocated."""


#: Gets a GPU by its index. Raises: LostError, DriverGoneError, UnavailableError.
GetGpu = Callable[[int, Doing], Gpu]


class Rounds:
    """The rounds of one GPU; when it is lost, it is looked for until it is back."""

    def __init__(self, index: int, get: GetGpu, beat: tuple[float, float, float], teller: protocol.Teller, turn: Turn,
                 stop: threading.Event) -> None:
        """beat: when the first round is due, seconds between fast rounds, and between slow ones."""
        self._index, self._get, self._teller, self._turn, self._stop = index, get, teller, turn, stop
        self._first_s, self._interval_s, self._slow_interval_s = beat
        self.doing = Doing(index)
        self._uuid: str | None = None
        self._rounds = 0

    def run(self) -> None:
        """Read until told to stop. Raises: DriverGoneError; OSError when nobody reads any more."""
        while not self._stop.is_set():
            try:
                gpu = self._get(self._index, self.doing)
            except LostError:
                self._lost()
                continue
            except UnavailableError as error:
                self._lost(str(error))
                continue
            try:
                self._read(gpu)
            except LostError:
                self._lost()
            finally:
                self.doing.end()
                gpu.close()

    def _lost(self, why: str = "") -> None:
        self.doing.end()
        self._teller.tell(protocol.LOST, SYSTEM_CLOCK.now_ns(), self._index, self._uuid, why)
        self._stop.wait(_LOOK_FOR_LOST_S if self._interval_s >= 1 else _LOOK_FOR_LOST_S * self._interval_s)

    def _read(self, gpu: Gpu) -> None:
        self._uuid = gpu.uuid
        self._teller.tell(protocol.DEVICE, self._index, gpu.uuid, gpu.labels)
        clock = SYSTEM_CLOCK
        due_s = slow_due_s = self._first_s
        self._rounds = 0
        while not self._stop.wait(max(due_s - clock.monotonic_s(), 0.0)):
            began_s = clock.monotonic_s()
            # beats that were missed are not made up for
            due_s += self._interval_s * max(1, -(-(began_s - due_s + 1e-9) // self._interval_s))
            is_slow = began_s >= slow_due_s
            if is_slow:
                slow_due_s += self._slow_interval_s * max(1, -(-(began_s - slow_due_s + 1e-9) // self._slow_interval_s))
            with self._turn.taken():
                self._round(gpu, is_slow)

    def _round(self, gpu: Gpu, is_slow: bool) -> None:
        began_s = SYSTEM_CLOCK.monotonic_s()
        time_ns = SYSTEM_CLOCK.now_ns()
        metrics = gpu.read_fast()
        fast_s = SYSTEM_CLOCK.monotonic_s() - began_s
        if is_slow:
            metrics |= gpu.read_slow() | {"gpu.lost": 0.0, "gpu.unresponsive": 0.0}
            self._read_processes(time_ns, gpu.uuid, metrics, gpu.read_processes)
            for part in gpu.new_parts() if metrics.get("gpu.mig.enabled") or gpu.parts() else ():
                self._teller.tell(protocol.DEVICE, self._index, part.uuid, part.labels)
        slow_s = SYSTEM_CLOCK.monotonic_s() - began_s - fast_s
        self._teller.tell(protocol.READ, time_ns, gpu.uuid, metrics)
        for part in gpu.parts():
            metrics = part.read()
            if is_slow:
                self._read_processes(time_ns, part.uuid, metrics, part.read_processes)
            self._teller.tell(protocol.READ, time_ns, part.uuid, metrics)
        self.doing.end()
        self._rounds += 1
        if is_slow or self._rounds == _LEARNT_AFTER:
            self._teller.tell(protocol.LEARNT, self._index, gpu.missing(), round(fast_s * 1e6), round(slow_s * 1e6))

    def _read_processes(self, time_ns: int, uuid: str, metrics: dict[str, float], read: Callable[[], Processes]) -> None:
        found = read()
        if found is not None:
            metrics["gpu.processes"] = float(len(found))
            if found:
                self._teller.tell(protocol.PROCESSES, time_ns, uuid, found)
