"""One GPU of this host: its handle, what it is, and its readings round by round."""

from typing import Any

import pynvml

from shippers.gpu import calls, field_table
from shippers.gpu.doing import Doing
from shippers.gpu.errors import UnavailableError
from shippers.gpu.gpm import METRICS as GPM_METRICS
from shippers.gpu.identity import labels_of
from shippers.gpu.mig import Instance, Instances
from shippers.gpu.processes import Processes
from shippers.gpu.reader import GpmReader, Reader, checked


class Device:
    """From the moment its handle was got until it is lost; one that returns is a new one, of which everything is learnt anew."""

    def __init__(self, index: int, driver: str, doing: Doing) -> None:
        """Raises: LostError, DriverGoneError, UnavailableError."""
        self.index, self._doing = index, doing
        doing.begin("nvmlDeviceGetHandleByIndex")
        try:
            self.handle: Any = pynvml.nvmlDeviceGetHandleByIndex(index)
            doing.begin("nvmlDeviceGetUUID")
            self.uuid: str = pynvml.nvmlDeviceGetUUID(self.handle)
        except pynvml.NVMLError as error:
            checked(error)
            raise UnavailableError(str(error)) from error
        self.labels = labels_of(self.handle, index, driver, doing)
        self._fast = Reader(self.handle, doing, field_table.FAST, calls.FAST)
        self._slow = Reader(self.handle, doing, field_table.SLOW, calls.SLOW)
        self._gpm = GpmReader(doing, self.handle, self._sample)
        self._gpm_has_answered = False
        self._processes = Processes(self.handle, doing)
        self._instances = Instances(self.handle, self.uuid, self.labels, doing)
        doing.end()

    def _sample(self, into: Any) -> None:
        pynvml.nvmlGpmSampleGet(self.handle, into)

    def read_fast(self) -> dict[str, float]:
        """What changes within seconds. Raises: LostError, DriverGoneError."""
        metrics = self._fast.read()
        given = self._gpm.read()
        metrics |= given
        if self._gpm.has_answered and not self._gpm_has_answered:
            # the rates of links come from GPM from now on
            self._gpm_has_answered = True
            self._fast.leave_out(tuple(given))
        self._doing.end()
        return metrics

    def read_slow(self) -> dict[str, float]:
        """What seldom changes. Raises: LostError, DriverGoneError."""
        return self._slow.read()

    def read_processes(self) -> list[tuple[int, int]] | None:
        """Process and bytes of each that computes on it; None where that cannot be told. Raises: LostError, DriverGoneError."""
        return self._processes.read()

    def new_parts(self) -> list[Instance]:
        """Find out which MIG instances there are now; returns those that were not there before. Raises: LostError, DriverGoneError."""
        return self._instances.look()

    def parts(self) -> list[Instance]:
        """The MIG instances that were found."""
        return list(self._instances.now.values())

    def missing(self) -> dict[str, str]:
        """Why a metric cannot be read here."""
        found = self._fast.missing | self._slow.missing
        if self._gpm.missing:
            found |= {name: self._gpm.missing for name, _ in GPM_METRICS.values() if name.endswith("_ratio")}
        if self._processes.missing:
            found["gpu.processes"] = self._processes.missing
        return found

    def close(self) -> None:
        """Give back what was allocated."""
        self._gpm.close()
        self._instances.close()
