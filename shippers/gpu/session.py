"""The driver of NVIDIA, open: its GPUs, and its events."""

import contextlib
import threading

import pynvml

from shippers.gpu.device import Device
from shippers.gpu.doing import Doing
from shippers.gpu.errors import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, NO_PERMISSION, VERSION_MISMATCH, CannotOpenError
from shippers.gpu.listener import Heard, Listener

_REASONS = {DRIVER_NOT_LOADED: "no_driver", LIBRARY_NOT_FOUND: "no_library", VERSION_MISMATCH: "version_mismatch",
            NO_PERMISSION: "forbidden"}


class Session:
    """Opened once in a process; a driver that was replaced takes a new process, for the library stays loaded."""

    def __init__(self, doing: Doing, heard: Heard, stop: threading.Event) -> None:
        """heard: is told what happens, as long as `stop` is not set. Raises: CannotOpenError."""
        try:
            doing.begin("nvmlInit")
            pynvml.nvmlInit()
            try:
                doing.begin("nvmlDeviceGetCount")
                self.devices: int = pynvml.nvmlDeviceGetCount()
                doing.begin("nvmlSystemGetDriverVersion")
                self.driver: str = pynvml.nvmlSystemGetDriverVersion()
            except pynvml.NVMLError:
                self.close()
                raise
        except pynvml.NVMLError as error:
            raise CannotOpenError(_REASONS.get(error.value, "failed"), str(error)) from error
        finally:
            doing.end()
        if not self.devices:
            self.close()
            raise CannotOpenError("no_gpu", "the driver knows no GPU")
        self.listener = Listener(heard, stop)

    def device(self, index: int, doing: Doing) -> Device:
        """A GPU, whose events are listened to from now on. Raises: LostError, DriverGoneError, UnavailableError."""
        device = Device(index, self.driver, doing)
        self.listener.register(device.handle, index, device.uuid)
        return device

    @staticmethod
    def close() -> None:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
