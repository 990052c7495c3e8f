"""The driver's library, open: how many GPUs there are, and of which driver."""

import contextlib

import pynvml

from shippers.gpu.doing import Doing
from shippers.gpu.errors import DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, NO_PERMISSION, VERSION_MISMATCH


class CannotOpenError(Exception):
    """There is nothing to read; the first argument is the reason, a value of `GpuState`, the second says more."""


_REASONS = {DRIVER_NOT_LOADED: "no_driver", LIBRARY_NOT_FOUND: "no_library", VERSION_MISMATCH: "version_mismatch",
            NO_PERMISSION: "forbidden"}


class Session:
    """Opened once in a process; a driver that was replaced takes a new process, for the library stays loaded."""

    def __init__(self, doing: Doing) -> None:
        """Raises: CannotOpenError."""
        try:
            doing.begin("nvmlInit")
            pynvml.nvmlInit()
            try:
                doing.begin("nvmlDeviceGetCount")
                self.devices = pynvml.nvmlDeviceGetCount()
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

    @staticmethod
    def close() -> None:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
