"""GPUs of AMD, through their `amdsmi`: the same rounds and metrics as those of NVIDIA, as far as there are any."""

from collections.abc import Callable, Mapping
from typing import Any

import amdsmi

from shippers.gpu.doing import Doing
from shippers.gpu.errors import CannotOpenError, DriverGoneError, LostError
from shippers.gpu.rounds import Part

_MEGA, _MIB, _PERCENT, _MICRO = 1e6, float(1 << 20), 0.01, 1e-6
#: Mega-transfers a second of a lane, by generation of PCIe.
_GENERATIONS = {2500: 1, 5000: 2, 8000: 3, 16000: 4, 32000: 5, 64000: 6}

Metrics = Mapping[str, float]


def _known(found: Mapping[str, object]) -> dict[str, float]:
    """What was measured: amdsmi says "N/A" of the rest."""
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _scaled(value: object, factor: float) -> float | None:
    return value * factor if isinstance(value, int | float) else None


def _activity(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_gpu_activity(handle)
    return _known({"gpu.busy_ratio": _scaled(found["gfx_activity"], _PERCENT),
                   "gpu.memory.busy_ratio": _scaled(found["umc_activity"], _PERCENT)})


def _memory(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_gpu_vram_usage(handle)
    total, used = found["vram_total"] * _MIB, found["vram_used"] * _MIB
    return {"gpu.memory.total_bytes": total, "gpu.memory.used_bytes": used, "gpu.memory.free_bytes": total - used}


def _clocks(handle: Any) -> Metrics:
    chip = amdsmi.amdsmi_get_clock_info(handle, amdsmi.AmdSmiClkType.GFX)
    memory = amdsmi.amdsmi_get_clock_info(handle, amdsmi.AmdSmiClkType.MEM)
    return _known({"gpu.clock.sm_hz": _scaled(chip["clk"], _MEGA), "gpu.clock.sm_max_hz": _scaled(chip["max_clk"], _MEGA),
                   "gpu.clock.memory_hz": _scaled(memory["clk"], _MEGA), "gpu.clock.memory_max_hz": _scaled(memory["max_clk"], _MEGA)})


def _power(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_power_info(handle)
    # one of them is there, by family of cards
    return _known({"gpu.power_w": next((found[name] for name in ("current_socket_power", "average_socket_power")
                                        if isinstance(found[name], int)), None)})


def _energy(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_energy_count(handle)
    return {"gpu.energy_j": found["energy_accumulator"] * found["counter_resolution"] * _MICRO}


def _temperature(metric: str, sensor: str, kind: str = "CURRENT") -> Callable[[Any], Metrics]:
    def read(handle: Any) -> Metrics:
        return {metric: float(amdsmi.amdsmi_get_temp_metric(handle, amdsmi.AmdSmiTemperatureType[sensor],
                                                            amdsmi.AmdSmiTemperatureMetric[kind]))}

    return read


def _limits(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_power_cap_info(handle)
    return {"gpu.power.limit_w": found["power_cap"] * _MICRO, "gpu.power.default_limit_w": found["default_power_cap"] * _MICRO}


def _errors(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_gpu_total_ecc_count(handle)
    return {"gpu.ecc.corrected": float(found["correctable_count"]), "gpu.ecc.uncorrected": float(found["uncorrectable_count"])}


def _pcie(handle: Any) -> Metrics:
    found = amdsmi.amdsmi_get_pcie_info(handle)
    most, now = found["pcie_static"], found["pcie_metric"]
    return _known({"gpu.pcie.width": now["pcie_width"], "gpu.pcie.width_max": most["max_pcie_width"],
                   "gpu.pcie.generation": _GENERATIONS.get(now["pcie_speed"]),
                   "gpu.pcie.generation_max": _GENERATIONS.get(most["max_pcie_speed"]), "gpu.pcie.replays": now["pcie_replay_count"]})


def _violations(handle: Any) -> Metrics:
    """Whether power or heat holds the clocks low just now; the library measures that for a tenth of a second."""
    found = amdsmi.amdsmi_get_violation_status(handle)
    flags: dict[str, object] = {"gpu.clocks_event.software_power_cap": found["active_ppt_pwr"]}
    for metric, heat in (("gpu.clocks_event.software_thermal", ("socket_thrm", "hbm_thrm")),
                         ("gpu.clocks_event.hardware_thermal", ("prochot_thrm", "vr_thrm"))):
        known = [found[f"active_{name}"] for name in heat if isinstance(found[f"active_{name}"], bool)]
        flags[metric] = any(known) if known else None
    return _known(flags)


_FAST: dict[str, Callable[[Any], Metrics]] = {
    "amdsmi_get_gpu_activity": _activity, "amdsmi_get_gpu_vram_usage": _memory, "amdsmi_get_clock_info": _clocks,
    "amdsmi_get_power_info": _power, "amdsmi_get_energy_count": _energy,
    "amdsmi_get_temp_metric, HOTSPOT": _temperature("gpu.temperature_celsius", "HOTSPOT"),
    "amdsmi_get_temp_metric, VRAM": _temperature("gpu.memory.temperature_celsius", "VRAM")}
_SLOW: dict[str, Callable[[Any], Metrics]] = {
    "amdsmi_get_power_cap_info": _limits, "amdsmi_get_gpu_total_ecc_count": _errors, "amdsmi_get_pcie_info": _pcie,
    "amdsmi_get_violation_status": _violations,
    "amdsmi_get_temp_metric, CRITICAL": _temperature("gpu.temperature.slowdown_celsius", "HOTSPOT", "CRITICAL")}


class AmdSession:
    """The driver's library, open."""

    def __init__(self, doing: Doing) -> None:
        """Raises: CannotOpenError."""
        try:
            doing.begin("amdsmi_init")
            amdsmi.amdsmi_init()
            doing.begin("amdsmi_get_processor_handles")
            self._handles = amdsmi.amdsmi_get_processor_handles()
        except amdsmi.AmdSmiLibraryException as error:
            gone = error.get_error_code() == amdsmi.amdsmi_wrapper.AMDSMI_STATUS_DRIVER_NOT_LOADED
            raise CannotOpenError("no_driver" if gone else "failed", error.get_error_info(detailed=False)) from error
        finally:
            doing.end()
        self.devices = len(self._handles)
        if not self.devices:
            self.close()
            raise CannotOpenError("no_gpu", "the driver knows no GPU")
        self.driver: str = amdsmi.amdsmi_get_gpu_driver_info(self._handles[0])["driver_version"]

    def device(self, index: int, doing: Doing) -> "AmdDevice":
        """Raises: LostError, DriverGoneError."""
        return AmdDevice(self._handles[index], index, self.driver, doing)

    @staticmethod
    def close() -> None:
        amdsmi.amdsmi_shut_down()


class AmdDevice:
    """One GPU, from when it was found until it is lost."""

    def __init__(self, handle: Any, index: int, driver: str, doing: Doing) -> None:
        """Raises: LostError, DriverGoneError."""
        self.index, self._handle, self._doing = index, handle, doing
        try:
            doing.begin("amdsmi_get_gpu_device_uuid")
            self.uuid: str = amdsmi.amdsmi_get_gpu_device_uuid(handle)
            doing.begin("amdsmi_get_gpu_asic_info")
            chip = amdsmi.amdsmi_get_gpu_asic_info(handle)
            address = amdsmi.amdsmi_get_gpu_device_bdf(handle)
        except amdsmi.AmdSmiLibraryException as error:
            raise _worse(error) or LostError from error
        self.labels = {"gpu.index": str(index), "gpu.driver_version": driver, "gpu.name": str(chip["market_name"]),
                       "gpu.serial": str(chip["asic_serial"]), "gpu.architecture": str(chip["target_graphics_version"]),
                       "gpu.pci.address": address.lower()}
        self._fast, self._slow = dict(_FAST), dict(_SLOW)
        self._missing: dict[str, str] = {}
        doing.end()

    def read_fast(self) -> dict[str, float]:
        """What changes within seconds. Raises: LostError, DriverGoneError."""
        return self._read(self._fast)

    def read_slow(self) -> dict[str, float]:
        """What seldom changes. Raises: LostError, DriverGoneError."""
        return self._read(self._slow)

    def read_processes(self) -> list[tuple[int, int]] | None:
        """Process and bytes of each that computes on it; None where that cannot be told."""
        self._doing.begin("amdsmi_get_gpu_process_list")
        try:
            found = amdsmi.amdsmi_get_gpu_process_list(self._handle)
        except amdsmi.AmdSmiLibraryException:
            return None
        finally:
            self._doing.end()
        return [(one["pid"], one["memory_usage"]["vram_mem"]) for one in found]

    def new_parts(self) -> list[Part]:
        """None: partitions of a GPU are GPUs to the driver."""
        return []

    def parts(self) -> list[Part]:
        """None."""
        return []

    def missing(self) -> dict[str, str]:
        """Why something cannot be read here, by the call."""
        return dict(self._missing)

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, readers: dict[str, Callable[[Any], Metrics]]) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for call, read in list(readers.items()):
            self._doing.begin(call)
            try:
                metrics.update(read(self._handle))
            except amdsmi.AmdSmiLibraryException as error:
                if (worse := _worse(error)) is not None:
                    raise worse from error
                if error.get_error_code() in _NEVER:
                    self._missing[call] = error.get_error_info(detailed=False)
                    del readers[call]
        self._doing.end()
        return metrics


_CODES = amdsmi.amdsmi_wrapper
_NEVER = (_CODES.AMDSMI_STATUS_NOT_SUPPORTED, _CODES.AMDSMI_STATUS_NOT_YET_IMPLEMENTED, _CODES.AMDSMI_STATUS_INVAL,
          _CODES.AMDSMI_STATUS_NO_PERM)


def _worse(error: Any) -> Exception | None:
    """An error that concerns more than one reading; None for one that does not."""
    code = error.get_error_code()
    if code in (_CODES.AMDSMI_STATUS_NOT_INIT, _CODES.AMDSMI_STATUS_DRIVER_NOT_LOADED):
        return DriverGoneError(code)
    return LostError() if code == _CODES.AMDSMI_STATUS_NOT_FOUND else None
