"""Readings that take a call of NVML each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pynvml

_MEGA, _MILLI, _PERCENT = 1e6, 1e-3, 0.01
_SM, _MEMORY = 1, 2  # clocks
_CHIP, _SLOWDOWN = 0, 1  # sensor, threshold

#: Bits of the reasons for which clocks are held low.
EVENT_BITS: dict[int, str] = {
    0x1: "gpu.clocks_event.idle", 0x2: "gpu.clocks_event.application_clocks", 0x4: "gpu.clocks_event.software_power_cap",
    0x8: "gpu.clocks_event.hardware_slowdown", 0x10: "gpu.clocks_event.sync_boost", 0x20: "gpu.clocks_event.software_thermal",
    0x40: "gpu.clocks_event.hardware_thermal", 0x80: "gpu.clocks_event.power_brake"}


class Call(NamedTuple):
    """One call; what it gives, and what it is called where it cannot be had."""

    name: str
    metrics: tuple[str, ...]
    read: Callable[[Any], Mapping[str, float]]
    in_place_of: str | None = None
    """Made only where this metric has not come from a field or an earlier call."""


def _gives(metric: str, name: str, *arguments: int, factor: float = 1.0, in_place_of: str | None = None) -> Call:
    function = getattr(pynvml, name)

    def read(handle: Any) -> Mapping[str, float]:
        return {metric: function(handle, *arguments) * factor}

    return Call(name, (metric,), read, in_place_of)


def _utilization(handle: Any) -> Mapping[str, float]:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {"gpu.busy_ratio": rates.gpu * _PERCENT, "gpu.memory.busy_ratio": rates.memory * _PERCENT}


def _memory(handle: Any) -> Mapping[str, float]:
    info = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
    return {"gpu.memory.used_bytes": float(info.used), "gpu.memory.free_bytes": float(info.free),
            "gpu.memory.reserved_bytes": float(info.reserved), "gpu.memory.total_bytes": float(info.total)}


def _memory_of_old(handle: Any) -> Mapping[str, float]:
    info = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {"gpu.memory.used_bytes": float(info.used), "gpu.memory.free_bytes": float(info.free),
            "gpu.memory.total_bytes": float(info.total)}


def _reasons(handle: Any) -> Mapping[str, float]:
    bits = _REASONS(handle)
    return {metric: float(bits & bit != 0) for bit, metric in EVENT_BITS.items()}


# the name before driver 535; pynvml of that time has only that one
_REASONS = getattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)


def _reasons_of_old(handle: Any) -> Mapping[str, float]:
    bits = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return {metric: float(bits & bit != 0) for bit, metric in EVENT_BITS.items()}


def _active_links(handle: Any) -> Mapping[str, float]:
    active = links = 0
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            active += pynvml.nvmlDeviceGetNvLinkState(handle, link)
            links += 1
        except (pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_NotSupported):
            break  # links are numbered without gaps
    if not links:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return {"gpu.nvlink.links": float(links), "gpu.nvlink.links_active": float(active)}


_MEMORY_METRICS = ("gpu.memory.used_bytes", "gpu.memory.free_bytes", "gpu.memory.reserved_bytes", "gpu.memory.total_bytes")
_EVENT_METRICS = tuple(EVENT_BITS.values())

#: Of a MIG instance there is less: the rest belongs to the whole GPU.
OF_INSTANCE: tuple[Call, ...] = (Call("nvmlDeviceGetMemoryInfo_v2", _MEMORY_METRICS, _memory),)

FAST: tuple[Call, ...] = (
    Call("nvmlDeviceGetUtilizationRates", ("gpu.busy_ratio", "gpu.memory.busy_ratio"), _utilization),
    *OF_INSTANCE,
    Call("nvmlDeviceGetMemoryInfo", _MEMORY_METRICS, _memory_of_old, "gpu.memory.used_bytes"),
    _gives("gpu.clock.sm_hz", "nvmlDeviceGetClockInfo", _SM, factor=_MEGA),
    _gives("gpu.clock.memory_hz", "nvmlDeviceGetClockInfo", _MEMORY, factor=_MEGA),
    _gives("gpu.temperature_celsius", "nvmlDeviceGetTemperature", _CHIP),
    Call("nvmlDeviceGetCurrentClocksEventReasons", _EVENT_METRICS, _reasons),
    Call("nvmlDeviceGetCurrentClocksThrottleReasons", _EVENT_METRICS, _reasons_of_old, "gpu.clocks_event.idle"),
    # under load the link is at its full width, at idle it is not: these belong beside the load
    _gives("gpu.pcie.generation", "nvmlDeviceGetCurrPcieLinkGeneration"),
    _gives("gpu.pcie.width", "nvmlDeviceGetCurrPcieLinkWidth"),
    _gives("gpu.power_w", "nvmlDeviceGetPowerUsage", factor=_MILLI, in_place_of="gpu.power_w"),
)

SLOW: tuple[Call, ...] = (
    _gives("gpu.performance_state", "nvmlDeviceGetPerformanceState"),
    _gives("gpu.temperature.margin_celsius", "nvmlDeviceGetMarginTemperature"),
    _gives("gpu.temperature.slowdown_celsius", "nvmlDeviceGetTemperatureThreshold", _SLOWDOWN),
    _gives("gpu.power.limit_w", "nvmlDeviceGetEnforcedPowerLimit", factor=_MILLI),
    _gives("gpu.power.default_limit_w", "nvmlDeviceGetPowerManagementDefaultLimit", factor=_MILLI, in_place_of="gpu.power.default_limit_w"),
    _gives("gpu.clock.sm_max_hz", "nvmlDeviceGetMaxClockInfo", _SM, factor=_MEGA),
    _gives("gpu.clock.memory_max_hz", "nvmlDeviceGetMaxClockInfo", _MEMORY, factor=_MEGA),
    _gives("gpu.clock.sm_application_hz", "nvmlDeviceGetApplicationsClock", _SM, factor=_MEGA),
    _gives("gpu.pcie.generation_max", "nvmlDeviceGetMaxPcieLinkGeneration"),
    _gives("gpu.pcie.width_max", "nvmlDeviceGetMaxPcieLinkWidth"),
    _gives("gpu.pcie.replays", "nvmlDeviceGetPcieReplayCounter", in_place_of="gpu.pcie.replays"),
    _gives("gpu.fan_ratio", "nvmlDeviceGetFanSpeed", factor=_PERCENT),
    Call("nvmlDeviceGetEncoderUtilization", ("gpu.encoder.busy_ratio",),
         lambda handle: {"gpu.encoder.busy_ratio": pynvml.nvmlDeviceGetEncoderUtilization(handle)[0] * _PERCENT}),
    Call("nvmlDeviceGetDecoderUtilization", ("gpu.decoder.busy_ratio",),
         lambda handle: {"gpu.decoder.busy_ratio": pynvml.nvmlDeviceGetDecoderUtilization(handle)[0] * _PERCENT}),
    Call("nvmlDeviceGetNvLinkState", ("gpu.nvlink.links", "gpu.nvlink.links_active"), _active_links),
    Call("nvmlDeviceGetMigMode", ("gpu.mig.enabled",),
         lambda handle: {"gpu.mig.enabled": float(pynvml.nvmlDeviceGetMigMode(handle)[0])}),
)
