"""Where `nvidia-smi -q` tells what, as text and as XML, in one spelling: lower case, words joined by `_`, sections by `/`."""

import re

from shippers.formats.gpu_readings import GpuReading, identity, is_broken, parse_value, set_label

_EVENTS = ("clocks_event_reasons", "clocks_throttle_reasons")

#: The ends of paths for each metric; the first that is there counts.
_METRICS: dict[str, tuple[str, ...]] = {
    "gpu.busy_ratio": ("utilization/gpu_util", "utilization/gpu"),
    "gpu.memory.busy_ratio": ("utilization/memory_util", "utilization/memory"),
    "gpu.encoder.busy_ratio": ("utilization/encoder_util", "utilization/encoder"),
    "gpu.decoder.busy_ratio": ("utilization/decoder_util", "utilization/decoder"),
    "gpu.memory.used_bytes": ("fb_memory_usage/used",),
    "gpu.memory.free_bytes": ("fb_memory_usage/free",),
    "gpu.memory.reserved_bytes": ("fb_memory_usage/reserved",),
    "gpu.memory.total_bytes": ("fb_memory_usage/total",),
    "gpu.clock.sm_hz": ("/clocks/sm_clock", "/clocks/sm"),
    "gpu.clock.memory_hz": ("/clocks/mem_clock", "/clocks/memory"),
    "gpu.clock.sm_max_hz": ("max_clocks/sm_clock", "max_clocks/sm"),
    "gpu.clock.memory_max_hz": ("max_clocks/mem_clock", "max_clocks/memory"),
    "gpu.clock.sm_application_hz": ("/applications_clocks/graphics_clock", "/applications_clocks/graphics"),
    "gpu.performance_state": ("/performance_state",),
    "gpu.temperature_celsius": ("temperature/gpu_temp", "temperature/gpu_current_temp"),
    "gpu.memory.temperature_celsius": ("temperature/memory_temp", "temperature/memory_current_temp"),
    "gpu.temperature.slowdown_celsius": ("temperature/gpu_temp_slow_threshold", "temperature/gpu_slowdown_temp"),
    "gpu.temperature.margin_celsius": ("temperature/gpu_temp_tlimit", "temperature/gpu_t.limit_temp"),
    "gpu.fan_ratio": ("/fan_speed",),
    "gpu.power_w": ("gpu_power_readings/average_power_draw", "gpu_power_readings/power_draw", "gpu_power_readings/instant_power_draw",
                    "gpu_power_readings/instantaneous_power_draw", "/power_readings/power_draw"),
    "gpu.power.limit_w": ("gpu_power_readings/current_power_limit", "power_readings/enforced_power_limit", "power_readings/power_limit"),
    "gpu.power.default_limit_w": ("power_readings/default_power_limit",),
    "gpu.ecc.corrected": ("ecc_errors/volatile/dram_correctable", "volatile/single_bit/total"),
    "gpu.ecc.uncorrected": ("ecc_errors/volatile/dram_uncorrectable", "volatile/double_bit/total"),
    "gpu.remapped_rows.corrected": ("remapped_rows/remapped_row_corr", "remapped_rows/correctable_error"),
    "gpu.remapped_rows.uncorrected": ("remapped_rows/remapped_row_unc", "remapped_rows/uncorrectable_error"),
    "gpu.remapped_rows.pending": ("remapped_rows/remapped_row_pending", "remapped_rows/pending"),
    "gpu.remapped_rows.failed": ("remapped_rows/remapped_row_failure", "remapped_rows/remapping_failure_occurred"),
    "gpu.mig.enabled": ("mig_mode/current_mig", "mig_mode/current"),
    "gpu.pcie.generation": ("pcie_gen/current_link_gen", "pcie_generation/current"),
    "gpu.pcie.generation_max": ("pcie_gen/max_link_gen", "pcie_generation/max"),
    "gpu.pcie.width": ("link_widths/current_link_width", "link_width/current"),
    "gpu.pcie.width_max": ("link_widths/max_link_width", "link_width/max"),
    "gpu.pcie.replays": ("pci/replay_counter", "pci/replays_since_reset"),
    "gpu.pcie.transmit_bytes_per_s": ("pci/tx_util", "pci/tx_throughput"),
    "gpu.pcie.receive_bytes_per_s": ("pci/rx_util", "pci/rx_throughput"),
    "gpu.clocks_event.idle": tuple(f"{one}/{end}" for one in _EVENTS for end in (f"{one[:-1]}_gpu_idle", "idle")),
    "gpu.clocks_event.application_clocks": tuple(f"{one}/{end}" for one in _EVENTS for end in (
        f"{one[:-1]}_applications_clocks_setting", "applications_clocks_setting")),
    "gpu.clocks_event.software_power_cap": tuple(f"{one}/{end}" for one in _EVENTS for end in (f"{one[:-1]}_sw_power_cap", "sw_power_cap")),
    "gpu.clocks_event.hardware_slowdown": tuple(f"{one}/{end}" for one in _EVENTS for end in (f"{one[:-1]}_hw_slowdown", "hw_slowdown")),
    "gpu.clocks_event.sync_boost": tuple(f"{one}/{end}" for one in _EVENTS for end in (f"{one[:-1]}_sync_boost", "sync_boost")),
    "gpu.clocks_event.software_thermal": tuple(f"{one}/{end}" for one in _EVENTS for end in (
        f"{one[:-1]}_sw_thermal_slowdown", "sw_thermal_slowdown")),
    "gpu.clocks_event.hardware_thermal": tuple(f"{one}/{end}" for one in _EVENTS for end in (
        f"{one[:-1]}_hw_thermal_slowdown", "hw_slowdown/hw_thermal_slowdown", "hw_thermal_slowdown")),
    "gpu.clocks_event.power_brake": tuple(f"{one}/{end}" for one in _EVENTS for end in (
        f"{one[:-1]}_hw_power_brake_slowdown", "hw_slowdown/hw_power_brake", "hw_power_brake_slowdown")),
}
_RECOVERY = ("gpu_recovery_action",)
_RECOVERIES = {"none": 0.0, "reset": 1.0, "reset required": 1.0, "reboot": 2.0, "reboot required": 2.0, "drain p2p": 3.0,
               "drain and reset": 4.0}
_LABELS = {"gpu.uuid": ("/uuid", "/gpu_uuid"), "gpu.name": ("/product_name",), "gpu.serial": ("/serial", "/serial_number"),
           "gpu.vbios": ("/vbios_version",), "gpu.index": ("/minor_number",), "gpu.architecture": ("/product_architecture",)}
_NOT_A_NAME = re.compile(r"[^a-z0-9.]+")


def path_name(text: str) -> str:
    """A name of nvidia-smi's in our spelling.

    >>> path_name("FB Memory Usage"), path_name("GPU T.Limit Temp")
    ('fb_memory_usage', 'gpu_t.limit_temp')
    """
    return _NOT_A_NAME.sub("_", text.strip().lower()).strip("_")


def reading_of(address: str, values: dict[str, str], time_ns: int, driver: str | None) -> GpuReading:
    """One GPU of all that `-q` tells of it.

    Args:
        address: PCI address, as printed.
        values: by path, which begins with `/`.
        time_ns: when.
        driver: version.
    """
    labels: dict[str, str] = {}
    set_label(labels, "gpu.pci.address", address)
    for label, ends in _LABELS.items():
        text = _find(values, ends)
        if text is not None:
            set_label(labels, label, text)
    if driver:
        set_label(labels, "gpu.driver_version", driver)
    metrics = {}
    for metric, ends in _METRICS.items():
        text = _find(values, ends)
        value = parse_value(metric, text) if text is not None else None
        if value is not None:
            metrics[metric] = value
    recovery = _find(values, _RECOVERY)
    if recovery is not None and recovery.strip().lower() in _RECOVERIES:
        metrics["gpu.recovery_action"] = _RECOVERIES[recovery.strip().lower()]
    return GpuReading(time_ns, identity(labels), metrics, labels, any(is_broken(text) for text in values.values()))


def _find(values: dict[str, str], ends: tuple[str, ...]) -> str | None:
    for end in ends:
        for path, text in values.items():
            if path.endswith(end):
                return text
    return None
