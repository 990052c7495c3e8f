"""Output of `nvidia-smi --query-gpu=… --format=csv`, also repeated as by `-l` or without units."""

import csv
from collections.abc import Iterator
from pathlib import Path

from pinchpoint.clock import NS
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.gpu_readings import BY_QUERY, GpuReading, batches, identity, is_broken, lost_gpu, parse_value, set_label
from shippers.formats.lines import read_lines
from shippers.formats.smi_times import smi_time_ns

#: Other names that nvidia-smi takes for the same, older ones too.
_ALSO = {
    "clocks.current.sm": "clocks.sm", "clocks.current.memory": "clocks.mem", "clocks.current.graphics": "clocks.sm",
    "clocks.gr": "clocks.sm",
    "clocks.max.graphics": "clocks.max.sm", "power.draw.average": "power.draw", "power.draw.instant": "power.draw",
    "power.limit": "enforced.power.limit", "pcie.link.gen.current": "pcie.link.gen.gpucurrent",
    "ecc.errors.uncorrected.volatile.device_memory": "ecc.errors.uncorrected.volatile.total",
    "ecc.errors.corrected.volatile.device_memory": "ecc.errors.corrected.volatile.total",
}
_ROWS = {"remapped_rows.pending": "gpu.remapped_rows.pending", "remapped_rows.failure": "gpu.remapped_rows.failed",
         "remapped_rows.correctable": "gpu.remapped_rows.corrected", "remapped_rows.uncorrectable": "gpu.remapped_rows.uncorrected"}
_LABELS = {"uuid": "gpu.uuid", "gpu_uuid": "gpu.uuid", "index": "gpu.index", "name": "gpu.name", "gpu_name": "gpu.name",
           "pci.bus_id": "gpu.pci.address", "gpu_bus_id": "gpu.pci.address", "driver_version": "gpu.driver_version",
           "vbios_version": "gpu.vbios", "serial": "gpu.serial", "gpu_serial": "gpu.serial"}
_BITS = {0x1: "idle", 0x2: "application_clocks", 0x4: "software_power_cap", 0x8: "hardware_slowdown", 0x10: "sync_boost",
         0x20: "software_thermal", 0x40: "hardware_thermal", 0x80: "power_brake"}
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
_BATCH = 20_000


def columns_of(line: str) -> list[str] | None:
    """The names of a header line; None when it is none of nvidia-smi's.

    >>> columns_of("timestamp, index, utilization.gpu [%]")
    ['timestamp', 'index', 'utilization.gpu']
    """
    names = [cell.partition("[")[0].strip().lower() for cell in line.split(",")]
    known = sum(name in _LABELS or name in _REASONS or metric_of(name) is not None for name in names)
    return names if known and known + ("timestamp" in names) >= max(len(names) / 2, 1) else None


def metric_of(name: str) -> str | None:
    """Our metric for a name of nvidia-smi's."""
    name = name.replace("clocks_throttle_reasons", "clocks_event_reasons")
    return _ROWS.get(name) or BY_QUERY.get(_ALSO.get(name, name))


def recognises(head: bytes) -> bool:
    """Whether its first line is a header of nvidia-smi's."""
    line = head.lstrip(b"\xef\xbb\xbf \r\n").partition(b"\n")[0]
    return 0 < len(line) < 8192 and b"," in line and columns_of(line.decode("utf-8", "replace")) is not None


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of each GPU and time."""
    columns: list[str] | None = None
    rows: list[GpuReading] = []
    place = int(path.stat().st_mtime) * NS
    untimed = False
    for line, _ in read_lines(path, reading.notes):
        text = line.decode("utf-8", "replace").strip("\ufeff\r ")
        header = columns_of(text) if "," in text and len(text) < 8192 else None
        if header is not None:
            columns = header
            continue
        if not text:
            continue
        row = _row(columns, text, place)
        if row is None:
            reading.reject(line, "no row of nvidia-smi's" if columns else "no header: query again without noheader")
            continue
        untimed |= "timestamp" not in (columns or ())
        rows.append(row)
        if len(rows) >= _BATCH:
            yield from batches(rows)
            rows = []
    if untimed:
        reading.notes.append("no timestamp in it: --query-gpu=timestamp,… adds it; all rows count as of when the file was written")
    yield from batches(rows)


def _row(columns: list[str] | None, text: str, place: int) -> GpuReading | None:
    """A row as a reading; one without a time counts as of `place`."""
    address = lost_gpu(text)
    if address is not None:
        return GpuReading(place, address, {}, {"gpu.pci.address": address}, True)
    cells = next(csv.reader([text], skipinitialspace=True), [])
    if columns is None or len(cells) != len(columns):
        return None
    time_ns: int | None = place
    metrics: dict[str, float] = {}
    labels: dict[str, str] = {}
    broken = False
    for name, cell in zip(columns, cells, strict=True):
        broken |= is_broken(cell)
        metric = metric_of(name)
        if name == "timestamp":
            time_ns = smi_time_ns(cell)
        elif name in _LABELS:
            set_label(labels, _LABELS[name], cell)
        elif name in _REASONS and cell.startswith("0x"):
            metrics |= _reasons(cell)
        elif metric is not None and (value := parse_value(metric, cell)) is not None:
            metrics[metric] = value
    return None if time_ns is None else GpuReading(time_ns, identity(labels), metrics, labels, broken)


def _reasons(text: str) -> dict[str, float]:
    try:
        bits = int(text, 16)
    except ValueError:
        return {}
    return {f"gpu.clocks_event.{name}": float(bool(bits & bit)) for bit, name in _BITS.items()}


FORMAT = Format("nvidia_smi_csv", recognises, read)
