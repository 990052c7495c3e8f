"""Which processes compute on a GPU or MIG instance, and how much of its memory each holds."""

from typing import Any

import pynvml

from shippers.gpu.doing import Doing
from shippers.gpu.errors import NEVER
from shippers.gpu.reader import checked


class Processes:
    """Of one handle. The dearest reading there is: milliseconds, in which the driver holds its lock."""

    def __init__(self, handle: Any, doing: Doing) -> None:
        self._handle, self._doing = handle, doing
        self.missing = ""

    def read(self) -> list[tuple[int, int]] | None:
        """Process and bytes of each; None where that cannot be told. Raises: LostError, DriverGoneError."""
        if self.missing:
            return None
        self._doing.begin("nvmlDeviceGetComputeRunningProcesses")
        try:
            found = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except pynvml.NVMLError as error:
            self.missing = NEVER.get(checked(error), "")
            return None
        finally:
            self._doing.end()
        return [(one.pid, one.usedGpuMemory or 0) for one in found]
