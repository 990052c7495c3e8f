"""The MIG instances of a GPU that is split."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pynvml

from shippers.gpu import calls
from shippers.gpu.doing import Doing
from shippers.gpu.processes import Processes
from shippers.gpu.reader import GpmReader, Reader, checked


class Instance:
    """One MIG instance: memory, processes, and what GPM tells. The rest belongs to the whole GPU."""

    def __init__(self, parent: Any, handle: Any, uuid: str, labels: dict[str, str], doing: Doing) -> None:
        self.uuid, self.labels = uuid, labels
        self._reader = Reader(handle, doing, (), calls.OF_INSTANCE)
        self._processes = Processes(handle, doing)
        doing.begin("nvmlDeviceGetGpuInstanceId")
        number = pynvml.nvmlDeviceGetGpuInstanceId(handle)
        self._gpm = GpmReader(doing, parent, functools.partial(pynvml.nvmlGpmMigSampleGet, parent, number))

    def read(self) -> dict[str, float]:
        """Its metrics now. Raises: LostError, DriverGoneError."""
        return self._reader.read() | self._gpm.read()

    def read_processes(self) -> list[tuple[int, int]] | None:
        """Process and bytes of each that computes on it; None where that cannot be told. Raises: LostError, DriverGoneError."""
        return self._processes.read()

    def close(self) -> None:
        self._gpm.close()


class Instances:
    """The instances that a GPU has now; they are made and taken away while it runs."""

    def __init__(self, parent: Any, uuid: str, labels: dict[str, str], doing: Doing) -> None:
        self._parent, self._uuid, self._labels, self._doing = parent, uuid, labels, doing
        self.now: dict[str, Instance] = {}

    def look(self) -> list[Instance]:
        """Find out which there are; returns the new ones. Raises: LostError, DriverGoneError."""
        handles = dict(self._handles())
        for uuid in self.now.keys() - handles.keys():
            self.now.pop(uuid).close()
        new = []
        for uuid in handles.keys() - self.now.keys():
            labels = self._labels | {"gpu.parent.uuid": self._uuid}
            with contextlib.suppress(pynvml.NVMLError):
                labels["gpu.name"] = pynvml.nvmlDeviceGetName(handles[uuid])
            try:
                self.now[uuid] = Instance(self._parent, handles[uuid], uuid, labels, self._doing)
            except pynvml.NVMLError as error:
                checked(error)  # it went away between two calls, or will be there the next time
                continue
            new.append(self.now[uuid])
        return new

    def _handles(self) -> Iterator[tuple[str, Any]]:
        try:
            self._doing.begin("nvmlDeviceGetMaxMigDeviceCount")
            most = pynvml.nvmlDeviceGetMaxMigDeviceCount(self._parent)
        except pynvml.NVMLError as error:
            checked(error)
            return
        for place in range(most):
            self._doing.begin("nvmlDeviceGetMigDeviceHandleByIndex")
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self._parent, place)
                yield pynvml.nvmlDeviceGetUUID(handle), handle
            except pynvml.NVMLError as error:
                checked(error)  # places may be empty
        self._doing.end()

    def close(self) -> None:
        for instance in self.now.values():
            instance.close()
        self.now.clear()
