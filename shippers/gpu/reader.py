"""Read what one GPU or MIG instance can tell, and learn once what it cannot."""

from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from shippers.gpu.calls import Call
from shippers.gpu.doing import Doing
from shippers.gpu.errors import DRIVER_GONE, GPU_IS_LOST, INVALID_ARGUMENT, NEVER, DriverGoneError, LostError
from shippers.gpu.field_batch import FieldBatch
from shippers.gpu.field_table import FieldReading
from shippers.gpu.gpm import Gpm


def checked(error: pynvml.NVMLError) -> int:
    """The number of an error that concerns one reading. Raises: LostError, DriverGoneError for one that concerns more."""
    if error.value == GPU_IS_LOST:
        raise LostError from error
    if error.value in DRIVER_GONE:
        raise DriverGoneError(error.value) from error
    return int(error.value)


class Reader:
    """Some readings of one handle, those of fields first."""

    def __init__(self, handle: Any, doing: Doing, fields: Sequence[FieldReading], calls: Sequence[Call]) -> None:
        self._handle, self._doing = handle, doing
        self._batch = FieldBatch(handle, fields)
        self._calls = list(calls)
        self._missing: dict[str, str] = {}
        self._given: set[str] = set()
        self.failed = 0
        """Calls that failed and may work the next time."""

    def read(self) -> dict[str, float]:
        """What can be read now. Raises: LostError, DriverGoneError."""
        self._doing.begin("nvmlDeviceGetFieldValues")
        metrics = self._batch.read()
        never = []
        for call in self._calls:
            if call.in_place_of in metrics:
                never.append(call)
                continue
            self._doing.begin(call.name)
            try:
                metrics.update(call.read(self._handle))
            except pynvml.NVMLError as error:
                if (number := checked(error)) in NEVER:
                    never.append(call)
                    self._missing |= dict.fromkeys(call.metrics, NEVER[number])
                else:
                    self.failed += 1
        self._doing.end()
        if never:
            self._calls = [call for call in self._calls if call not in never]
        self._given.update(metrics)
        return metrics

    def leave_out(self, metrics: Sequence[str]) -> None:
        """Read these fields no more: they come from elsewhere."""
        self._batch.leave_out(metrics)

    @property
    def missing(self) -> dict[str, str]:
        """Why a metric cannot be read here; what came in another way is not missing."""
        return {metric: why for metric, why in (self._batch.missing | self._missing).items() if metric not in self._given}


class GpmReader:
    """The GPM metrics of one handle, where it has them."""

    def __init__(self, doing: Doing, device: Any, sample: Callable[[Any], object]) -> None:
        """device: the GPU, also of a MIG instance. Raises: LostError, DriverGoneError."""
        self._doing = doing
        self._gpm: Gpm | None = None
        self.missing = ""
        """Why there are none."""
        doing.begin("nvmlGpmQueryDeviceSupport")
        try:
            if pynvml.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
                self._gpm = Gpm(sample)
            else:
                self.missing = "not supported by this GPU"
        except pynvml.NVMLError as error:
            self.missing = NEVER.get(checked(error), str(error))

    def read(self) -> dict[str, float]:
        """Means since the call before. Raises: LostError, DriverGoneError."""
        if self._gpm is None:
            return {}
        self._doing.begin("nvmlGpmSampleGet")
        try:
            return self._gpm.read()
        except pynvml.NVMLError as error:
            number = checked(error)
            # two samples at one time are an invalid argument too, which the next round is not
            if number in NEVER and number != INVALID_ARGUMENT and not self._gpm.has_answered:
                self.missing = NEVER[number]
                self.close()
            return {}

    @property
    def has_answered(self) -> bool:
        """Whether it is known which of its metrics there are."""
        return self._gpm is not None and self._gpm.has_answered

    def close(self) -> None:
        if self._gpm is not None:
            self._gpm.close()
            self._gpm = None
