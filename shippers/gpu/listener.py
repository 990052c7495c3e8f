"""Wait for events of the driver: errors of GPUs, as they happen."""

import collections
import contextlib
import ctypes
import threading
from collections.abc import Callable
from typing import Any

import pynvml

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu import protocol
from shippers.gpu.doing import Doing
from shippers.gpu.errors import DRIVER_GONE, GPU_IS_LOST, TIMEOUT, DriverGoneError

#: Bit of an event, and what it is called here.
KINDS: dict[int, str] = {
    0x1: "ecc_corrected", 0x2: "ecc_uncorrected", 0x8: "xid", 0x80: "power_source", 0x200: "ecc_storm", 0x400: "row_remap",
    0x800: "row_remap_failed", 0x1000: "poison", 0x2000: "poison_fatal", 0x4000: "gpu_unavailable", 0x8000: "recovery_action"}
_WAIT_MS = 1000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0

#: Time, UUID, kind, number.
Heard = Callable[[int, str, str, int], None]


class Listener:
    """The events of all GPUs that were registered, in a thread of their own; what came before registration is lost.

    GPUs are registered between two waits by the thread that waits, so that nothing else touches the set. Of a lost GPU waiting
    tells at once and for ever, so the set is then made anew without it.
    """

    def __init__(self, heard: Heard, stop: threading.Event) -> None:
        self._heard, self._stop = heard, stop
        self.doing = Doing()
        self._asked: collections.deque[tuple[Any, int, str]] = collections.deque()
        self._known: dict[str, tuple[Any, int]] = {}
        self._set: Any = None

    def register(self, handle: Any, index: int, uuid: str) -> None:
        """Listen to this GPU too."""
        self._asked.append((handle, index, uuid))

    def run(self) -> None:
        """Listen until told to stop. Raises: DriverGoneError."""
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stop.is_set():
                self.take_registrations()
                if self._set is None or not self._known:
                    self._stop.wait(_FIRST_PAUSE_S)
                    continue
                error = self._wait()
                if error in (0, TIMEOUT):
                    pause_s = _FIRST_PAUSE_S
                    continue
                if error in DRIVER_GONE:
                    raise DriverGoneError(error)
                # whatever it is, the next wait may tell it at once again
                self._make_anew()
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            self._free()

    def take_registrations(self) -> None:
        """Listen to what was registered since. Raises: DriverGoneError."""
        while self._asked:
            handle, index, uuid = self._asked.popleft()
            if self._set is None:
                try:
                    self._set = pynvml.nvmlEventSetCreate()
                except pynvml.NVMLError as error:
                    if error.value in DRIVER_GONE:
                        raise DriverGoneError(error.value) from error
                    return  # this driver tells no events
            if self._register(handle, index):
                self._known[uuid] = (handle, index)

    def _register(self, handle: Any, index: int) -> bool:
        self.doing.index = index
        try:
            self.doing.begin("nvmlDeviceGetSupportedEventTypes")
            supported = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
            wanted = sum(bit for bit in KINDS if bit & supported)
            self.doing.begin("nvmlDeviceRegisterEvents")
            if wanted:
                pynvml.nvmlDeviceRegisterEvents(handle, wanted, self._set)
            return bool(wanted)
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise DriverGoneError(error.value) from error
            return False
        finally:
            self.doing.end()
            self.doing.index = None

    def _wait(self) -> int:
        self.doing.begin(protocol.EVENT_WAIT, _WAIT_MS / 1000)
        try:
            event = pynvml.nvmlEventSetWait_v2(self._set, _WAIT_MS)
        except pynvml.NVMLError as error:
            return int(error.value)
        finally:
            self.doing.end()
        kind = KINDS.get(event.eventType)
        uuid = next((uuid for uuid, (handle, _) in self._known.items() if _address(handle) == _address(event.device)), None)
        if kind is not None and uuid is not None:
            self._heard(SYSTEM_CLOCK.now_ns(), uuid, kind, event.eventData)
        return 0

    def _make_anew(self) -> None:
        """With the GPUs that are there; those that are lost come again by `register` when they are back."""
        self._free()
        known, self._known = self._known, {}
        for uuid, (handle, index) in known.items():
            if not self._is_lost(handle, index):
                self._asked.append((handle, index, uuid))

    def _is_lost(self, handle: Any, index: int) -> bool:
        self.doing.index = index
        self.doing.begin("nvmlDeviceGetIndex")
        try:
            pynvml.nvmlDeviceGetIndex(handle)
        except pynvml.NVMLError as error:
            return bool(error.value == GPU_IS_LOST)
        finally:
            self.doing.end()
            self.doing.index = None
        return False

    def _free(self) -> None:
        if self._set is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)
            self._set = None


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
