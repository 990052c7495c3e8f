"""Two GPUs of AMD for tests: the functions of amdsmi 7 that are called, with the keys, units and errors of its Python interface.

The second GPU does not support power, has no clock of its memory, and is lost while the file FAKE_AMD_LOST exists.
"""

import enum
import os
from pathlib import Path

from amdsmi import amdsmi_wrapper as codes

amdsmi_wrapper = codes


class AmdSmiLibraryException(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.err_code = code

    def get_error_code(self):
        return self.err_code

    def get_error_info(self, detailed=True):
        return f"AMDSMI_STATUS {self.err_code}" + " - more" * detailed


class AmdSmiClkType(enum.IntEnum):
    SYS = 0
    GFX = 0
    MEM = 4


class AmdSmiTemperatureType(enum.IntEnum):
    EDGE = 0
    HOTSPOT = 1
    VRAM = 2


class AmdSmiTemperatureMetric(enum.IntEnum):
    CURRENT = 0
    CRITICAL = 5


def _alive(handle):
    if handle == 1 and Path(os.environ["FAKE_AMD_LOST"]).exists():
        raise AmdSmiLibraryException(codes.AMDSMI_STATUS_NOT_FOUND)


def amdsmi_init(flag=None):
    pass


def amdsmi_shut_down():
    pass


def amdsmi_get_processor_handles():
    return [0, 1]


def amdsmi_get_gpu_driver_info(handle):
    return {"driver_name": "amdgpu", "driver_version": "6.12.12", "driver_date": "N/A"}


def amdsmi_get_gpu_device_uuid(handle):
    _alive(handle)
    return f"ccff74a1-0000-1000-80e0-c6d49f5b0d8{handle}"


def amdsmi_get_gpu_asic_info(handle):
    return {"market_name": "AMD Instinct MI300X OAM", "asic_serial": f"0x{handle:016x}", "target_graphics_version": "gfx942"}


def amdsmi_get_gpu_device_bdf(handle):
    return f"0000:{0xC0 + handle:02X}:00.0"


def amdsmi_get_gpu_activity(handle):
    _alive(handle)
    return {"gfx_activity": 80, "umc_activity": 40, "mm_activity": "N/A"}


def amdsmi_get_gpu_vram_usage(handle):
    return {"vram_total": 196592, "vram_used": 1024}


def amdsmi_get_clock_info(handle, clock_type):
    clock = 2100 if clock_type == AmdSmiClkType.GFX else "N/A" if handle else 1300
    return {"clk": clock, "min_clk": 500, "max_clk": clock, "clk_locked": False, "clk_deep_sleep": 0}


def amdsmi_get_power_info(handle):
    if handle:
        raise AmdSmiLibraryException(codes.AMDSMI_STATUS_NOT_SUPPORTED)
    return {"socket_power": 650, "current_socket_power": 650, "average_socket_power": "N/A", "power_limit": 750000000}


def amdsmi_get_energy_count(handle):
    return {"energy_accumulator": 1_000_000, "counter_resolution": 15.3, "timestamp": 1}


def amdsmi_get_temp_metric(handle, sensor, metric):
    return 100 if metric == AmdSmiTemperatureMetric.CRITICAL else 61 if sensor == AmdSmiTemperatureType.HOTSPOT else 52


def amdsmi_get_power_cap_info(handle):
    return {"power_cap": 750_000_000, "default_power_cap": 750_000_000, "dpm_cap": 0, "min_power_cap": 0, "max_power_cap": 750_000_000}


def amdsmi_get_gpu_total_ecc_count(handle):
    return {"correctable_count": 3, "uncorrectable_count": 0, "deferred_count": 0}


def amdsmi_get_pcie_info(handle):
    return {"pcie_static": {"max_pcie_width": 16, "max_pcie_speed": 32000, "pcie_interface_version": 5, "slot_type": "OAM"},
            "pcie_metric": {"pcie_width": 16, "pcie_speed": 16000, "pcie_bandwidth": 1, "pcie_replay_count": 7}}


def amdsmi_get_violation_status(handle):
    return {"active_ppt_pwr": True, "active_socket_thrm": False, "active_hbm_thrm": "N/A", "active_prochot_thrm": "N/A",
            "active_vr_thrm": "N/A"}


def amdsmi_get_gpu_process_list(handle):
    memory = {"gtt_mem": 0, "cpu_mem": 0, "vram_mem": 2048}
    return [{"name": "python", "pid": 4242, "mem": 5, "memory_usage": memory}] if handle == 0 else []
