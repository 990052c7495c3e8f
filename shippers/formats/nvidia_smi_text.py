"""Output of `nvidia-smi -q` as text, also repeated as by `-l`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pinchpoint.clock import NS
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.gpu_readings import GpuReading, batches, lost_gpu
from shippers.formats.lines import read_lines
from shippers.formats.nvidia_smi_paths import path_name, reading_of
from shippers.formats.smi_times import smi_time_ns

HEADLINE = "NVSMI LOG"
#: Lines about one GPU, at most; real ones have some hundreds.
_MOST_VALUES = 5000
_BATCH = 5000


def recognises(head: bytes) -> bool:
    """Whether it has the headline of nvidia-smi -q near its beginning."""
    return b"==NVSMI LOG==" in head[:4096]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of each GPU, and events of the errors that they show."""
    written = int(path.stat().st_mtime) * NS
    lines = (line.decode("utf-8", "replace").rstrip("\r") for line, _ in read_lines(path, reading.notes))
    kept: list[GpuReading] = []
    for one in readings(lines, written):
        kept.append(one)
        if len(kept) >= _BATCH:
            yield from batches(kept)
            kept = []
    yield from batches(kept)


def readings(lines: Iterable[str], written_ns: int) -> Iterator[GpuReading]:
    """Each GPU of each log in lines of nvidia-smi -q.

    Args:
        lines: without newlines.
        written_ns: the time of what carries none, UTC ns.
    """
    time_ns, driver, address = written_ns, None, ""
    values: dict[str, str] = {}
    sections: list[tuple[int, str]] = []
    for line in lines:
        text = line.strip()
        if HEADLINE in text or (line.startswith("GPU ") and ":" in line):
            if address:
                yield reading_of(address, values, time_ns, driver)
            address, values, sections = text[4:].strip() if line.startswith("GPU ") else "", {}, []
            continue
        lost = lost_gpu(text)
        if lost is not None:
            yield GpuReading(time_ns, lost, {}, {"gpu.pci.address": lost}, True)
        if not text or lost is not None:
            continue
        indent = len(line) - len(line.lstrip())
        name, colon, value = text.partition(" : ")
        if not address:
            if name.strip() == "Timestamp":
                time_ns = smi_time_ns(value) or written_ns
            elif name.strip() == "Driver Version":
                driver = value.strip()
            continue
        while sections and sections[-1][0] >= indent:
            sections.pop()
        if colon:
            if len(values) < _MOST_VALUES:
                values.setdefault("/" + "/".join([*(section for _, section in sections), path_name(name)]), value.strip())
        elif len(sections) < 20:
            sections.append((indent, path_name(text)))
    if address:
        yield reading_of(address, values, time_ns, driver)


FORMAT = Format("nvidia_smi", recognises, read)
