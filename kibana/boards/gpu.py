"""Which device is not doing its work, and whose run is on it?"""

from kibana.boards import ids
from kibana.dashboards import row
from kibana.model import Board, Chart, Control, Heat, Is, Layer, Listing, Metric, Number, Operation, Table, Terms, Unit
from kibana.views import VIEWS

_METRICS, _FEATURES, _STEPS, _EVENTS = VIEWS["metric"], VIEWS["feature"], VIEWS["step"], VIEWS["event"]
_GPU, _HOST, _DISK = Is("entity.kind", "gpu"), Is("entity.kind", "host"), Is("entity.kind", "disk")
#: Flags that say that clocks are held low for heat or by the power supply.
_HOT = tuple(f"metrics.gpu.clocks_event.{name}" for name in ("hardware_slowdown", "software_thermal", "hardware_thermal", "power_brake"))
_BY_GPU = Terms("entity.id", "GPU", 16)
_BY_HOST = Terms("host.name", "Host", 10)


def _metric(operation: Operation, name: str, label: str, unit: Unit = "", alarm: tuple[float, float] | None = None) -> Metric:
    return Metric(operation, f"metrics.{name}", label, unit, alarm=alarm)


def _feature(operation: Operation, name: str, label: str, unit: Unit = "", alarm: tuple[float, float] | None = None) -> Metric:
    return Metric(operation, f"features.{name}", label, unit, alarm=alarm)


BOARD = Board(
    ids.GPU, "[pinchpoint] GPU and host health", "GPUs and hosts", "Which device is not doing its work, and whose run is on it?",
    (Control("host", "Host", _METRICS, "host.name"),),
    (
        row(5,
            (Number("gpus", "GPUs reporting", _METRICS, Metric("unique_count", "entity.id", "GPUs reporting", "count"), (_GPU,)), 8),
            (Number("busy", "Busy", _METRICS, _metric("average", "gpu.busy_ratio", "Busy", "ratio"), (_GPU,),
                    "Mean over GPUs and time"), 8),
            (Number("hottest", "Hottest", _METRICS, _metric("max", "gpu.temperature_celsius", "Hottest", "°C"), (_GPU,)), 8),
            (Number("throttled", "Throttled", _METRICS, Metric("unique_count", "entity.id", "Throttled", "count"),
                    (_GPU, Is(_HOT, ">0")), "GPUs, by heat or power brake", (1, 3)), 8),
            (Number("errors", "GPU errors", _EVENTS, Metric("count", None, "GPU errors", "count"), (Is("event.action", "gpu_error"),),
                    "XID and others, as events", (1, 5)), 8),
            (Number("latest", "Latest reading", _METRICS, Metric("max", "@timestamp", "Latest reading"), (_GPU,)), 8)),
        row(13, (Table(
            "gpus-table", "GPUs: those held at lower clocks first; an empty cell was not reported", _METRICS,
            (Terms("entity.id", "GPU", 200, by=0),),
            (_metric("average", "gpu.clocks_event.hardware_slowdown", "Slowed by hardware", "ratio", alarm=(0.01, 0.1)),
             _metric("average", "gpu.clocks_event.software_thermal", "Slowed for heat", "ratio", alarm=(0.01, 0.1)),
             _metric("average", "gpu.clocks_event.software_power_cap", "At the power limit", "ratio"),
             Metric("last_value", "host.name", "Host"), _metric("average", "gpu.busy_ratio", "Busy", "ratio"),
             _metric("average", "gpu.sm.active_ratio", "SM active", "ratio"), _metric("max", "gpu.memory.used_bytes", "Memory", "bytes"),
             _metric("average", "gpu.power_w", "Power", "W"), _metric("max", "gpu.temperature_celsius", "Hottest", "°C"),
             _metric("min", "gpu.clock.sm_hz", "Lowest clock", "Hz"), _metric("max", "gpu.clock.sm_max_hz", "Highest possible", "Hz"),
             _metric("last_value", "gpu.last_xid", "Last XID"), Metric("max", "@timestamp", "Last reading")),
            where=(_GPU,), discover=True), 48)),
        row(10,
            (Chart("busy-spread", "Busy: least, median and most over the GPUs", (
                Layer(_METRICS, (_metric("min", "gpu.busy_ratio", "Least", "ratio"), _metric("median", "gpu.busy_ratio", "Median", "ratio"),
                                 _metric("max", "gpu.busy_ratio", "Most", "ratio")), where=(_GPU,)),), limits=(0, 1)), 16),
            (Chart("held", "Held at lower clocks: share of readings, by reason", (
                Layer(_METRICS, (
                    _metric("average", "gpu.clocks_event.hardware_thermal", "Heat, by hardware", "ratio"),
                    _metric("average", "gpu.clocks_event.software_thermal", "Heat, by driver", "ratio"),
                    _metric("average", "gpu.clocks_event.power_brake", "Power brake", "ratio"),
                    _metric("average", "gpu.clocks_event.software_power_cap", "Power limit", "ratio"),
                    _metric("average", "gpu.clocks_event.sync_boost", "Slower GPU of its group", "ratio")), where=(_GPU,)),),
                marks=True), 16),
            (Chart("held-counted", "The same, from counters of seconds: most of one GPU", (
                Layer(_FEATURES, (
                    _feature("max", "gpu.throttled.thermal_s", "Heat", "ratio"),
                    _feature("max", "gpu.throttled.hardware_thermal_s", "Heat, by hardware", "ratio"),
                    _feature("max", "gpu.throttled.software_thermal_s", "Heat, by driver", "ratio"),
                    _feature("max", "gpu.throttled.power_brake_s", "Power brake", "ratio"),
                    _feature("max", "gpu.throttled.power_s", "Power limit", "ratio")), where=(_GPU,)),), marks=True), 16)),
        row(12,
            (Heat("clock", "Clock of each GPU over time", _METRICS, Terms("entity.id", "GPU", 64, by=None),
                  _metric("average", "gpu.clock.sm_hz", "Clock", "Hz"), (_GPU,)), 24),
            (Heat("throttle", "Slowed by hardware, each GPU over time", _METRICS, Terms("entity.id", "GPU", 64, by=None),
                  _metric("average", "gpu.clocks_event.hardware_slowdown", "Share of time", "ratio"), (_GPU,)), 24)),
        row(10,
            (Chart("memory", "Memory in use", (
                Layer(_METRICS, (_metric("max", "gpu.memory.used_bytes", "In use", "bytes"),), _BY_GPU, (_GPU,)),)), 16),
            (Chart("temperature", "Temperature", (
                Layer(_METRICS, (_metric("max", "gpu.temperature_celsius", "Hottest", "°C"),), _BY_GPU, (_GPU,)),)), 16),
            (Chart("power", "Power, and the limit in force", (
                Layer(_METRICS, (_metric("max", "gpu.power_w", "Most", "W"), _metric("average", "gpu.power_w", "Mean", "W"),
                                 _metric("min", "gpu.power.limit_w", "Lowest limit", "W")), where=(_GPU,)),)), 16)),
        row(10,
            (Chart("links", "PCIe and NVLink, mean over the GPUs", (
                Layer(_METRICS, (_metric("average", "gpu.pcie.receive_bytes_per_s", "PCIe to the GPU", "bytes/s"),
                                 _metric("average", "gpu.pcie.transmit_bytes_per_s", "PCIe from the GPU", "bytes/s"),
                                 _metric("average", "gpu.nvlink.receive_bytes_per_s", "NVLink to the GPU", "bytes/s"),
                                 _metric("average", "gpu.nvlink.transmit_bytes_per_s", "NVLink from the GPU", "bytes/s")),
                      where=(_GPU,)),)), 24),
            (Chart("faults", "Faults a second, most of one GPU", (
                Layer(_FEATURES, (_feature("max", "gpu.ecc.corrected", "Memory errors corrected", "per_s"),
                                  _feature("max", "gpu.pcie.replays", "PCIe transfers repeated", "per_s"),
                                  _feature("max", "gpu.nvlink.crc_errors", "NVLink checksum errors", "per_s")), where=(_GPU,)),)), 24)),
        row(9,
            (Chart("cpu", "Processors in use", (
                Layer(_FEATURES, (_feature("average", "system.cpu.busy_s", "Processors in use"),), _BY_HOST, (_HOST,)),)), 12),
            (Chart("host-memory", "Memory available", (
                Layer(_METRICS, (_metric("min", "system.memory.available_bytes", "Available", "bytes"),), _BY_HOST, (_HOST,)),)), 12),
            (Chart("disk", "Disk busy, most of one disk", (
                Layer(_FEATURES, (_feature("max", "disk.busy_s", "Busy", "ratio"),), _BY_HOST, (_DISK,)),)), 12),
            (Chart("network", "Network", (
                Layer(_FEATURES, (_feature("sum", "nic.receive_bytes", "Received", "bytes/s"),
                                  _feature("sum", "nic.transmit_bytes", "Sent", "bytes/s")), where=(Is("entity.kind", "nic"),)),)), 12)),
        row(12,
            (Table("runs", "Whose run is on which GPU", _STEPS, (Terms("gpu.uuid", "GPU", 200),),
                   (Metric("max", "@timestamp", "Last step"), Metric("last_value", "run.id", "Run"),
                    Metric("last_value", "run.workload", "Workload"), Metric("last_value", "rank", "Rank"),
                    Metric("last_value", "host.name", "Host"), Metric("median", "duration_s", "Median step", "s"))), 24),
            (Listing("gpu-errors", "Errors of GPUs and hosts", "pinchpoint-errors"), 24)),
    ), since="now-24h")
