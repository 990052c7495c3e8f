"""Turn readings of GPUs, as nvidia-smi prints them, into records under the names that pinchpoint gives them."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator

from pinchpoint import records
from pinchpoint.gpu_errors.addresses import pci_address
from pinchpoint.gpu_errors.events import event_document
from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.metrics import METRICS
from shippers.formats.base import Batch

_QUERY = re.compile(r"--query-gpu=([\w.]+)")
#: Names of `nvidia-smi --query-gpu` for each of our metrics: our table names the one that prints the same number.
BY_QUERY = {match[1]: name for name, metric in METRICS.items() if (match := _QUERY.search(metric.check))}
_NUMBER = re.compile(r"[-+]?\d{1,18}(?:\.\d{1,9})?")
_WORDS = {"active": 1.0, "not active": 0.0, "enabled": 1.0, "disabled": 0.0, "yes": 1.0, "no": 0.0, "none": 0.0}
#: What nvidia-smi prints in place of a number: not there, as against broken.
_ABSENT = ("n/a", "not supported", "requested functionality has been deprecated", "-", "not available", "")
_BROKEN = ("gpu is lost", "gpu requires reset", "gpu not found")
_LOST = re.compile(r"Unable to determine the device handle for (?:GPU|gpu) ?(?P<pci>[0-9a-fA-F:.]{7,20}?)[.:]? ")
#: nvidia-smi's units for ours.
_SCALE = {"ratio": 0.01, "bytes": float(1 << 20), "Hz": 1e6, "s": 1e-6, "bytes/s": 1e6}


@dataclasses.dataclass(slots=True)
class GpuReading:
    """One GPU at one time."""

    time_ns: int
    gpu: str
    """UUID, else PCI address, else index."""
    metrics: dict[str, float]
    labels: dict[str, str]
    broken: bool = False
    """Whether the driver said that it cannot reach the GPU."""


def parse_value(metric: str, text: str) -> float | None:
    """A printed value in the unit of our metric; None where there is none.

    >>> parse_value("gpu.memory.used_bytes", "1024 MiB"), parse_value("gpu.busy_ratio", "97 %"), parse_value("gpu.power_w", "[N/A]")
    (1073741824.0, 0.97, None)
    """
    text = text.strip().strip("[]").strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    match = _NUMBER.match(text.removeprefix("P") if metric == "gpu.performance_state" else text)
    if match is None:
        return None
    scale = _SCALE.get(METRICS[metric].unit, 1.0)
    rest = text[match.end():].strip() if text[:1] != "P" else ""
    if METRICS[metric].unit == "bytes/s" and rest.upper().startswith("KB"):
        scale = 1e3
    elif METRICS[metric].unit == "bytes" and rest.startswith("GiB"):
        scale = float(1 << 30)
    value = float(match[0]) * scale
    return value if math.isfinite(value) else None


def is_broken(text: str) -> bool:
    """Whether a printed value says that the GPU cannot be reached, and not only that it has no such reading."""
    return text.strip().strip("[]").strip().lower() in _BROKEN


def lost_gpu(line: str) -> str | None:
    """The address of a GPU that nvidia-smi says it cannot reach; None for any other line.

    >>> lost_gpu("Unable to determine the device handle for GPU 0000:9B:00.0: Unknown Error")
    '0000:9b:00.0'
    """
    match = _LOST.match(line)
    try:
        return pci_address(match["pci"]) if match is not None else None
    except ValueError:
        return None


def identity(labels: dict[str, str]) -> str:
    """What a GPU is called, as exactly as the input tells."""
    for name in ("gpu.uuid", "gpu.pci.address", "gpu.index"):
        if labels.get(name):
            return labels[name]
    return "0"


def set_label(labels: dict[str, str], name: str, text: str) -> None:
    """Keep a text about a GPU, the PCI address in our spelling; what says nothing is left out."""
    text = text.strip()
    if text.strip("[]").strip().lower() in _ABSENT:
        return
    if name == "gpu.pci.address":
        try:
            text = pci_address(text)
        except ValueError:
            return
    labels[name] = text[:200]


def batches(readings: Iterable[GpuReading]) -> Iterator[Batch]:
    """Metric records of readings, and an event for each error that they show, once for each GPU."""
    kept = [reading for reading in readings if reading.metrics or reading.broken]
    if not kept:
        return
    measured = [reading for reading in kept if reading.metrics]
    if measured:
        yield "metric", records.batch("metric", {
            "@timestamp": [one.time_ns for one in measured],
            "event.id": [records.content_id("nvidia-smi", one.gpu, one.time_ns, sorted(one.metrics)) for one in measured],
            "entity.kind": ["gpu"] * len(measured), "entity.id": [one.gpu for one in measured],
            "metrics": [list(one.metrics.items()) for one in measured], "labels": [_labels(one) for one in measured],
        })
    first: dict[tuple[str, str], tuple[GpuReading, Finding]] = {}
    for reading in kept:
        for finding in health(reading):
            first.setdefault((reading.gpu, finding.kind), (reading, finding))
    if first:
        told = [event_document(finding, reading.time_ns, host=None, gpu_uuid=reading.labels.get("gpu.uuid"))
                for reading, finding in first.values()]
        yield "event", records.batch("event", {
            "@timestamp": [reading.time_ns for reading, _ in first.values()],
            "event.id": [records.content_id("nvidia-smi", *key) for key in first],
            "event.action": [one["event.action"] for one in told], "event.reason": [one["event.reason"] for one in told],
            "labels": [list(one["labels"].items()) for one in told],
        })


def _labels(reading: GpuReading) -> list[tuple[str, str]] | None:
    return [item for item in reading.labels.items() if item[0] != "gpu.uuid"] or None


#: Readings that are errors by themselves when they are not 0: kind, severity, sentence and what to do.
_SICK = {
    "gpu.remapped_rows.failed": ("row_remap_failed", "fatal", "a bad row of memory could not be replaced", "replace the GPU"),
    "gpu.remapped_rows.pending": (
        "row_remap_pending", "error", "rows of memory wait for a reset of the GPU to be replaced",
        "reset the GPU when the work on it allows"),
    "gpu.ecc.uncorrected": (
        "ecc_uncorrected", "error", "memory errors that could not be corrected since the driver was loaded",
        "drain the node and reset the GPU; when it comes again, replace the GPU"),
    "gpu.recovery_action": (
        "recovery_action", "fatal", "the driver says that the GPU needs a reset or the node a restart",
        "do what nvidia-smi -q shows as GPU Recovery Action"),
}


def health(reading: GpuReading) -> Iterator[Finding]:
    """The errors that a reading shows."""
    device = reading.labels.get("gpu.pci.address", reading.gpu)
    labels = tuple((name, reading.labels[name]) for name in ("gpu.index", "gpu.pci.address") if name in reading.labels)
    if reading.broken:
        yield Finding("gpu_error", "gpu_lost", "hardware", "fatal", "the driver cannot reach the GPU", "drain the node and restart it",
                      device, labels)
    for metric, (kind, severity, reason, fix) in _SICK.items():
        if reading.metrics.get(metric, 0.0) > 0:
            yield Finding("gpu_error", kind, "hardware", severity, reason, fix, device, labels)
