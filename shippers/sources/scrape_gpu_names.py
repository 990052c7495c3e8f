"""What the metrics of exporters of GPUs are called here: dcgm-exporter, AMD's device-metrics-exporter, Intel's XPU Manager."""

from shippers.sources.scrape_name import Name, table

_MIB = float(1 << 20)
_MEGA = 1e6

#: Of the mask of reasons for which clocks are low.
CLOCKS_EVENTS: tuple[Name, ...] = tuple(Name(f"gpu.clocks_event.{name}", "gpu", bit=bit) for bit, name in (
    (0x1, "idle"), (0x2, "application_clocks"), (0x4, "software_power_cap"), (0x8, "hardware_slowdown"), (0x10, "sync_boost"),
    (0x20, "software_thermal"), (0x40, "hardware_thermal"), (0x80, "power_brake")))

# The violation times come in ns: NVML gives them so. Help texts of older exporters say us.
DCGM: dict[str, tuple[Name, ...]] = table("gpu", prefix="DCGM_FI_", rows=(
    ("DEV_GPU_UTIL", "gpu.busy_ratio", 0.01),
    ("DEV_MEM_COPY_UTIL", "gpu.memory.busy_ratio", 0.01),
    ("DEV_ENC_UTIL", "gpu.encoder.busy_ratio", 0.01),
    ("DEV_DEC_UTIL", "gpu.decoder.busy_ratio", 0.01),
    ("DEV_FB_USED", "gpu.memory.used_bytes", _MIB),
    ("DEV_FB_FREE", "gpu.memory.free_bytes", _MIB),
    ("DEV_FB_RESERVED", "gpu.memory.reserved_bytes", _MIB),
    ("DEV_FB_TOTAL", "gpu.memory.total_bytes", _MIB),
    ("DEV_SM_CLOCK", "gpu.clock.sm_hz", _MEGA),
    ("DEV_MEM_CLOCK", "gpu.clock.memory_hz", _MEGA),
    ("DEV_GPU_TEMP", "gpu.temperature_celsius", 1.0),
    ("DEV_MEMORY_TEMP", "gpu.memory.temperature_celsius", 1.0),
    ("DEV_POWER_USAGE", "gpu.power_w", 1.0),
    ("DEV_TOTAL_ENERGY_CONSUMPTION", "gpu.energy_j", 1e-3),
    ("DEV_POWER_VIOLATION", "gpu.throttled.power_s", 1e-9),
    ("DEV_THERMAL_VIOLATION", "gpu.throttled.thermal_s", 1e-9),
    ("DEV_SYNC_BOOST_VIOLATION", "gpu.throttled.sync_boost_s", 1e-9),
    ("DEV_BOARD_LIMIT_VIOLATION", "gpu.throttled.board_limit_s", 1e-9),
    ("DEV_LOW_UTIL_VIOLATION", "gpu.throttled.low_utilization_s", 1e-9),
    ("DEV_RELIABILITY_VIOLATION", "gpu.throttled.reliability_s", 1e-9),
    ("DEV_XID_ERRORS", "gpu.last_xid", 1.0),
    ("DEV_ECC_SBE_VOL_TOTAL", "gpu.ecc.corrected", 1.0),
    ("DEV_ECC_DBE_VOL_TOTAL", "gpu.ecc.uncorrected", 1.0),
    ("DEV_CORRECTABLE_REMAPPED_ROWS", "gpu.remapped_rows.corrected", 1.0),
    ("DEV_UNCORRECTABLE_REMAPPED_ROWS", "gpu.remapped_rows.uncorrected", 1.0),
    ("DEV_ROW_REMAP_FAILURE", "gpu.remapped_rows.failed", 1.0),
    ("DEV_PCIE_REPLAY_COUNTER", "gpu.pcie.replays", 1.0),
    ("PROF_PCIE_TX_BYTES", "gpu.pcie.transmit_bytes_per_s", 1.0),
    ("PROF_PCIE_RX_BYTES", "gpu.pcie.receive_bytes_per_s", 1.0),
    ("PROF_NVLINK_TX_BYTES", "gpu.nvlink.transmit_bytes_per_s", 1.0),
    ("PROF_NVLINK_RX_BYTES", "gpu.nvlink.receive_bytes_per_s", 1.0),
    ("PROF_GR_ENGINE_ACTIVE", "gpu.graphics.active_ratio", 1.0),
    ("PROF_SM_ACTIVE", "gpu.sm.active_ratio", 1.0),
    ("PROF_SM_OCCUPANCY", "gpu.sm.occupancy_ratio", 1.0),
    ("PROF_PIPE_TENSOR_ACTIVE", "gpu.tensor.active_ratio", 1.0),
    ("PROF_PIPE_FP64_ACTIVE", "gpu.fp64.active_ratio", 1.0),
    ("PROF_PIPE_FP32_ACTIVE", "gpu.fp32.active_ratio", 1.0),
    ("PROF_PIPE_FP16_ACTIVE", "gpu.fp16.active_ratio", 1.0),
    ("PROF_DRAM_ACTIVE", "gpu.memory.active_ratio", 1.0),
    ("DEV_MAX_SM_CLOCK", "gpu.clock.sm_max_hz", _MEGA),
    ("DEV_MAX_MEM_CLOCK", "gpu.clock.memory_max_hz", _MEGA),
    ("DEV_APP_SM_CLOCK", "gpu.clock.sm_application_hz", _MEGA),
    ("DEV_PSTATE", "gpu.performance_state", 1.0),
    ("DEV_FAN_SPEED", "gpu.fan_ratio", 0.01),
    ("DEV_SLOWDOWN_TEMP", "gpu.temperature.slowdown_celsius", 1.0),
    ("DEV_ENFORCED_POWER_LIMIT", "gpu.power.limit_w", 1.0),
    ("DEV_POWER_MGMT_LIMIT_DEF", "gpu.power.default_limit_w", 1.0),
    ("DEV_ROW_REMAP_PENDING", "gpu.remapped_rows.pending", 1.0),
    ("DEV_GPU_RECOVERY_ACTION", "gpu.recovery_action", 1.0),
    ("DEV_GET_GPU_RECOVERY_ACTION", "gpu.recovery_action", 1.0),  # its name before
    ("DEV_MIG_MODE", "gpu.mig.enabled", 1.0),
    ("DEV_PCIE_LINK_GEN", "gpu.pcie.generation", 1.0),
    ("DEV_PCIE_MAX_LINK_GEN", "gpu.pcie.generation_max", 1.0),
    ("DEV_PCIE_LINK_WIDTH", "gpu.pcie.width", 1.0),
    ("DEV_PCIE_MAX_LINK_WIDTH", "gpu.pcie.width_max", 1.0),
    ("DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", "gpu.nvlink.replays", 1.0),
    ("DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "gpu.nvlink.recoveries", 1.0),
)) | {
    # flits and data are checked apart
    "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL": (Name("gpu.nvlink.crc_errors", "gpu", adds_up=()),),
    "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL": (Name("gpu.nvlink.crc_errors", "gpu", adds_up=()),),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": CLOCKS_EVENTS,
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": CLOCKS_EVENTS,  # its name before
}

_AMD = table("gpu", (
    ("gpu_gfx_activity", "gpu.busy_ratio", 0.01),
    ("gpu_umc_activity", "gpu.memory.busy_ratio", 0.01),
    # each family of cards has one of these
    ("gpu_package_power", "gpu.power_w", 1.0),
    ("gpu_average_package_power", "gpu.power_w", 1.0),
    ("gpu_edge_temperature", "gpu.temperature_celsius", 1.0),
    ("gpu_junction_temperature", "gpu.temperature_celsius", 1.0),
    ("gpu_memory_temperature", "gpu.memory.temperature_celsius", 1.0),
    ("gpu_energy_consumed", "gpu.energy_j", 1e-6),
    ("gpu_total_vram", "gpu.memory.total_bytes", _MIB),
    ("gpu_used_vram", "gpu.memory.used_bytes", _MIB),
    ("gpu_free_vram", "gpu.memory.free_bytes", _MIB),
    ("gpu_ecc_correct_total", "gpu.ecc.corrected", 1.0),
    ("gpu_ecc_uncorrect_total", "gpu.ecc.uncorrected", 1.0),
    ("pcie_replay_count", "gpu.pcie.replays", 1.0),
    ("gpu_prof_gui_util_percent", "gpu.graphics.active_ratio", 0.01),
    ("gpu_prof_sm_active", "gpu.sm.active_ratio", 0.01),
    ("gpu_prof_occupancy_percent", "gpu.sm.occupancy_ratio", 0.01),
    ("gpu_prof_tensor_active_percent", "gpu.tensor.active_ratio", 0.01),
)) | {
    "gpu_clock": (Name("gpu.clock.sm_hz", "gpu", _MEGA, only=("clock_type", ("system", "GPU_CLOCK_TYPE_SYSTEM"))),
                  Name("gpu.clock.memory_hz", "gpu", _MEGA, only=("clock_type", ("memory", "GPU_CLOCK_TYPE_MEMORY")))),
}
#: Where the operator of Kubernetes runs the exporter, its metrics have a prefix.
AMD: dict[str, tuple[Name, ...]] = {f"{prefix}{exposed}": names for exposed, names in _AMD.items() for prefix in ("", "amd_")}

# Its ratios are shares of 1. Counters end in _total where the client of Prometheus makes them so.
INTEL: dict[str, tuple[Name, ...]] = table("gpu", prefix="xpum_", rows=(
    ("engine_ratio", "gpu.busy_ratio", 1.0),
    ("power_watts", "gpu.power_w", 1.0),
    ("energy_joules", "gpu.energy_j", 1.0),
    ("energy_joules_total", "gpu.energy_j", 1.0),
    ("memory_used_bytes", "gpu.memory.used_bytes", 1.0),
    ("memory_bandwidth_ratio", "gpu.memory.active_ratio", 1.0),
)) | {
    "xpum_temperature_celsius": (Name("gpu.temperature_celsius", "gpu", only=("location", ("gpu",))),
                                 Name("gpu.memory.temperature_celsius", "gpu", only=("location", ("mem",)))),
    "xpum_frequency_mhz": (Name("gpu.clock.sm_hz", "gpu", _MEGA, only=("type", ("actual",))),),
}

#: What DCGM shows instead of a value: blank, not found, not supported, not permitted, as 64-bit integer and as double.
DCGM_SENTINELS = frozenset(float(first + number) for first in (9223372036854775792, 140737488355328) for number in range(4))
