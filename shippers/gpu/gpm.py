"""Read how busy the parts of a GPU are, from GPU performance monitoring (GPM): Hopper and later, MIG instances too.

A metric is the mean between two samples. The sample of the round before is kept, so that nothing waits for a second one, and
profilers are not disturbed, for GPM is not what they use.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import pynvml

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu.errors import NEVER

_LEAST_S = 0.1  # samples nearer to each other give no metrics
_PERCENT, _MIB_A_SECOND = 0.01, float(1 << 20)

#: By number of the GPM metric: ours, and the factor.
METRICS: dict[int, tuple[str, float]] = {
    1: ("gpu.graphics.active_ratio", _PERCENT), 2: ("gpu.sm.active_ratio", _PERCENT), 3: ("gpu.sm.occupancy_ratio", _PERCENT),
    5: ("gpu.tensor.active_ratio", _PERCENT), 10: ("gpu.memory.active_ratio", _PERCENT), 11: ("gpu.fp64.active_ratio", _PERCENT),
    12: ("gpu.fp32.active_ratio", _PERCENT), 13: ("gpu.fp16.active_ratio", _PERCENT),
    20: ("gpu.pcie.transmit_bytes_per_s", _MIB_A_SECOND), 21: ("gpu.pcie.receive_bytes_per_s", _MIB_A_SECOND),
    60: ("gpu.nvlink.receive_bytes_per_s", _MIB_A_SECOND), 61: ("gpu.nvlink.transmit_bytes_per_s", _MIB_A_SECOND),
}


class Gpm:
    """The samples of one GPU or MIG instance; to be closed before the library is shut down."""

    def __init__(self, sample: Callable[[Any], object]) -> None:
        """sample: takes one, of whatever it is, into what it is given. Raises: pynvml.NVMLError."""
        self._sample = sample
        self._before, self._now = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
        self._before_s: float | None = None
        self._get = pynvml.c_nvmlGpmMetricsGet_t()
        self._ask(list(METRICS))
        self.missing: dict[str, str] = {}
        self.has_answered = False

    def _ask(self, numbers: list[int]) -> None:
        self._numbers = numbers
        self._get.version, self._get.numMetrics = pynvml.NVML_GPM_METRICS_GET_VERSION, len(numbers)
        for place, number in enumerate(numbers):
            self._get.metrics[place].metricId = number

    def read(self) -> dict[str, float]:
        """The means since the call before; nothing the first time. Raises: pynvml.NVMLError."""
        now_s = SYSTEM_CLOCK.monotonic_s()
        if self._before_s is not None and now_s - self._before_s < _LEAST_S:
            return {}
        self._sample(self._now)
        metrics = {} if self._before_s is None else self._means()
        self._before, self._now, self._before_s = self._now, self._before, now_s
        return metrics

    def _means(self) -> dict[str, float]:
        self._get.sample1, self._get.sample2 = self._before, self._now
        pynvml.nvmlGpmMetricsGet(self._get)
        metrics = {}
        for place, number in enumerate(self._numbers):
            one = self._get.metrics[place]
            name, factor = METRICS[number]
            if one.nvmlReturn == 0 and one.value == one.value:
                metrics[name] = one.value * factor
            elif one.nvmlReturn in NEVER and not self.has_answered:
                self.missing[name] = NEVER[one.nvmlReturn]
        if not self.has_answered:
            self.has_answered = True
            self._ask([number for number in self._numbers if METRICS[number][0] not in self.missing])
        return metrics

    def close(self) -> None:
        for sample in (self._before, self._now):
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlGpmSampleFree(sample)
