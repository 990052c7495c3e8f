"""Read one GPU on the beat, in a thread of its own, so that a call that hangs costs no other GPU a reading."""

import threading
from collections.abc import Callable

import pynvml

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu import protocol
from shippers.gpu.device import Device
from shippers.gpu.doing import Doing
from shippers.gpu.errors import LostError
from shippers.gpu.listener import Listener
from shippers.gpu.turn import Turn

_LOOK_FOR_LOST_S = 10.0
_LEARNT_AFTER = 3  # rounds: GPM answers from the second on


class Rounds:
    """The rounds of one GPU; when it is lost, it is looked for until it is back."""

    def __init__(self, index: int, driver: str, beat: tuple[float, float, float], teller: protocol.Teller, listener: Listener,
                 turn: Turn, stop: threading.Event) -> None:
        """beat: when the first round is due, seconds between fast rounds, and between slow ones."""
        self._index, self._driver, self._teller, self._listener = index, driver, teller, listener
        self._turn, self._stop = turn, stop
        self._first_s, self._interval_s, self._slow_interval_s = beat
        self.doing = Doing(index)
        self._uuid: str | None = None
        self._rounds = 0

    def run(self) -> None:
        """Read until told to stop. Raises: DriverGoneError; OSError when nobody reads any more."""
        while not self._stop.is_set():
            try:
                device = Device(self._index, self._driver, self.doing)
            except LostError:
                self._lost()
                continue
            except pynvml.NVMLError as error:
                self._lost(str(error))
                continue
            try:
                self._read(device)
            except LostError:
                self._lost()
            finally:
                self.doing.end()
                device.close()

    def _lost(self, why: str = "") -> None:
        self.doing.end()
        self._teller.tell(protocol.LOST, SYSTEM_CLOCK.now_ns(), self._index, self._uuid, why)
        self._stop.wait(_LOOK_FOR_LOST_S if self._interval_s >= 1 else _LOOK_FOR_LOST_S * self._interval_s)

    def _read(self, device: Device) -> None:
        self._uuid = device.uuid
        self._tell_device(device.index, device.uuid, device.labels)
        self._listener.register(device.handle, device.index, device.uuid)
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
                self._round(device, is_slow)

    def _round(self, device: Device, is_slow: bool) -> None:
        began_s = SYSTEM_CLOCK.monotonic_s()
        time_ns = SYSTEM_CLOCK.now_ns()
        metrics = device.read_fast()
        fast_s = SYSTEM_CLOCK.monotonic_s() - began_s
        if is_slow:
            metrics |= device.read_slow() | {"gpu.lost": 0.0, "gpu.unresponsive": 0.0}
            self._read_processes(time_ns, device.uuid, metrics, device.read_processes)
            for instance in device.instances.look() if metrics.get("gpu.mig.enabled") else ():
                self._tell_device(device.index, instance.uuid, instance.labels)
        slow_s = SYSTEM_CLOCK.monotonic_s() - began_s - fast_s
        self._teller.tell(protocol.READ, time_ns, device.uuid, metrics)
        for instance in device.instances.now.values():
            metrics = instance.read()
            if is_slow:
                self._read_processes(time_ns, instance.uuid, metrics, instance.processes.read)
            self._teller.tell(protocol.READ, time_ns, instance.uuid, metrics)
        self.doing.end()
        self._rounds += 1
        if is_slow or self._rounds == _LEARNT_AFTER:
            self._teller.tell(protocol.LEARNT, device.index, device.missing(), round(fast_s * 1e6), round(slow_s * 1e6))

    def _read_processes(self, time_ns: int, uuid: str, metrics: dict[str, float],
                        read: Callable[[], list[tuple[int, int]] | None]) -> None:
        found = read()
        if found is not None:
            metrics["gpu.processes"] = float(len(found))
            if found:
                self._teller.tell(protocol.PROCESSES, time_ns, uuid, found)

    def _tell_device(self, index: int, uuid: str, labels: dict[str, str]) -> None:
        self._teller.tell(protocol.DEVICE, index, uuid, labels)
