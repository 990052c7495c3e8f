"""Output of `nvidia-smi dmon` and `nvidia-smi pmon`, with times (-o DT) or without."""

from collections.abc import Iterator
from pathlib import Path

from pinchpoint import records
from pinchpoint.clock import NS
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.gpu_readings import GpuReading, batches
from shippers.formats.lines import read_lines
from shippers.formats.smi_times import smi_time_ns

#: Columns of dmon, our metric and the factor to its unit. Violations in percent (pviol) are the share of the last interval and no counter.
_DMON = {"pwr": ("gpu.power_w", 1.0), "gtemp": ("gpu.temperature_celsius", 1.0), "temp": ("gpu.temperature_celsius", 1.0),
         "mtemp": ("gpu.memory.temperature_celsius", 1.0), "sm": ("gpu.busy_ratio", 0.01), "mem": ("gpu.memory.busy_ratio", 0.01),
         "enc": ("gpu.encoder.busy_ratio", 0.01), "dec": ("gpu.decoder.busy_ratio", 0.01), "mclk": ("gpu.clock.memory_hz", 1e6),
         "pclk": ("gpu.clock.sm_hz", 1e6), "fb": ("gpu.memory.used_bytes", float(1 << 20)), "sbecc": ("gpu.ecc.corrected", 1.0),
         "dbecc": ("gpu.ecc.uncorrected", 1.0), "pci": ("gpu.pcie.replays", 1.0), "rxpci": ("gpu.pcie.receive_bytes_per_s", 1e6),
         "txpci": ("gpu.pcie.transmit_bytes_per_s", 1e6), "gract": ("gpu.graphics.active_ratio", 0.01),
         "smutil": ("gpu.sm.active_ratio", 0.01),
         "smocc": ("gpu.sm.occupancy_ratio", 0.01), "tensor": ("gpu.tensor.active_ratio", 0.01), "dram": ("gpu.memory.active_ratio", 0.01)}
_BATCH = 20_000


def header_of(line: str) -> list[str] | None:
    """The columns of a header line; None when it is none.

    >>> header_of("# gpu    pwr  gtemp     sm"), header_of("#Date       Time        gpu   pwr  gtemp")
    (['gpu', 'pwr', 'gtemp', 'sm'], ['date', 'time', 'gpu', 'pwr', 'gtemp'])
    """
    if not line.startswith("#"):
        return None
    names = line[1:].lower().split()
    if "gpu" not in names[:3]:
        return None
    return names if sum(name in _DMON for name in names) >= 2 or "pid" in names else None


def recognises(head: bytes) -> bool:
    """Whether one of its first lines is a header of dmon or pmon."""
    return any(header_of(line.decode("utf-8", "replace").strip()) is not None for line in head[:4096].split(b"\n")[:5])


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of GPUs (dmon), and of processes on them (pmon)."""
    columns: list[str] = []
    written = int(path.stat().st_mtime) * NS
    gpus: list[GpuReading] = []
    processes: list[dict[str, str]] = []
    beat, seen = 0, set[str]()
    for line, _ in read_lines(path, reading.notes):
        text = line.decode("utf-8", "replace").strip()
        header = header_of(text)
        if header is not None:
            columns = header
        if not text or text.startswith("#"):
            continue
        cells = text.split(None, len(columns) - 1) if columns else []
        row = dict(zip(columns, cells, strict=False))
        if len(cells) < len(columns) - ("command" in columns) or not row.get("gpu", "").isdecimal() or len(row["gpu"]) > 4:
            reading.reject(line, "no row of nvidia-smi dmon or pmon")
            continue
        if "pid" in columns:
            processes.append(row)
        else:
            if row["gpu"] in seen:
                beat, seen = beat + 1, set()
            seen.add(row["gpu"])
            time_ns = smi_time_ns(f"{row.get('date', '')} {row.get('time', '')}") if "date" in row else written + beat * NS
            gpus.append(GpuReading(time_ns if time_ns is not None else written, row["gpu"], _metrics(row), {"gpu.index": row["gpu"]}))
        if len(gpus) >= _BATCH:
            yield from batches(gpus)
            gpus = []
    if "date" not in columns and beat:
        reading.notes.append("no times in it (-o DT adds them): one second is assumed between rows")
    yield from batches(gpus)
    if processes:
        yield from _processes(processes, written)


def _metrics(row: dict[str, str]) -> dict[str, float]:
    found = {}
    for name, cell in row.items():
        if name in _DMON and cell.replace(".", "", 1).isdecimal() and len(cell) < 16:
            metric, scale = _DMON[name]
            found[metric] = float(cell) * scale
    return found


def _processes(rows: list[dict[str, str]], written: int) -> Iterator[Batch]:
    """Memory that processes hold on GPUs, and how many processes each GPU has."""
    made: dict[tuple[int, str, str], dict[str, float]] = {}
    labels: dict[tuple[int, str, str], list[tuple[str, str]]] = {}
    for row in rows:
        time_ns = (smi_time_ns(f"{row['date']} {row.get('time', '')}") if "date" in row else None) or written
        gpu = (time_ns, "gpu", row["gpu"])
        pid = row.get("pid", "-")
        made.setdefault(gpu, {"gpu.processes": 0.0})["gpu.processes"] += pid.isdecimal()
        labels[gpu] = [("gpu.index", row["gpu"])]
        if pid.isdecimal() and row.get("fb", "-").isdecimal():
            key = (time_ns, "process", pid[:12])
            made[key] = {"process.gpu.memory_bytes": float(row["fb"][:12]) * (1 << 20)}
            labels[key] = [("gpu.index", row["gpu"]), ("process.name", row.get("command", "")[:64]), ("process.pid", pid[:12])]
    yield "metric", records.batch("metric", {
        "@timestamp": [key[0] for key in made], "event.id": [records.content_id("pmon", *key) for key in made],
        "entity.kind": [key[1] for key in made], "entity.id": [key[2] for key in made],
        "metrics": [list(metrics.items()) for metrics in made.values()], "labels": [labels[key] for key in made],
    })


FORMAT = Format("nvidia_smi_table", recognises, read)
