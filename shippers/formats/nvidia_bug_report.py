"""Reports of nvidia-bug-report.sh: its sections of nvidia-smi, of the kernel's log and of processes, each read as such."""

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path

from pinchpoint.clock import NS
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.gpu_readings import batches
from shippers.formats.kernel_lines import parse_line
from shippers.formats.kernel_log import read_kernel_lines
from shippers.formats.lines import MOST_LINE_BYTES, read_lines
from shippers.formats.nvidia_smi_text import HEADLINE, readings
from shippers.formats.process_list import header_of, read_processes

#: Lines of a section that are kept; a kernel log of a long uptime has some 100,000.
_MOST_LINES = 1_000_000
_RULE = "____"


def recognises(head: bytes) -> bool:
    """Whether it says at its beginning that it is one."""
    return b"NVIDIA bug report log file" in head[:4096] or b"nvidia-bug-report.sh Version" in head[:4096]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """What the sections hold; the rest of the report (X, modules, PCI) is passed over.

    Raises: InputError when nothing can be read.
    """
    written_ns = int(path.stat().st_mtime) * NS
    written = datetime.datetime.fromtimestamp(written_ns // NS, datetime.UTC)
    lines = (line[:MOST_LINE_BYTES].decode("utf-8", "replace").rstrip("\r") for line, _ in read_lines(path, reading.notes))
    seen: set[str] = set()
    found: set[str] = set()
    for kind, section in sections(lines, written):
        found.add(kind)
        if kind == "nvidia_smi":
            yield from batches(list(readings(section, written_ns)))
        elif kind == "process_list":
            yield from read_processes(section, written_ns, reading)
        else:
            # dmesg and journalctl both hold the same lines
            fresh = [line for line in section if line not in seen]
            seen.update(fresh)
            yield from read_kernel_lines(fresh, written, reading)
    for kind in ("nvidia_smi", "kernel_log"):
        if kind not in found:
            reading.notes.append(f"no section {kind} in it: run nvidia-bug-report.sh as root")


def sections(lines: Iterable[str], written: datetime.datetime) -> Iterator[tuple[str, list[str]]]:
    """The sections that can be read, each with its lines, found by what they hold."""
    kind, kept = "", list[str]()
    for line in lines:
        if line.startswith(_RULE):
            if kept:
                yield kind, kept
            kind, kept = "", []
            continue
        begins = _begins(line, written)
        if begins and begins != kind:
            if kept:
                yield kind, kept
            kind, kept = begins, []
        if kind and len(kept) < _MOST_LINES and (kind != "kernel_log" or parse_line(line, written) is not None):
            kept.append(line)
    if kept:
        yield kind, kept


def _begins(line: str, written: datetime.datetime) -> str:
    """The kind of section that a line is the first of; empty when it tells of none."""
    if HEADLINE in line:
        return "nvidia_smi"
    if header_of(line) is not None:
        return "process_list"
    parsed = parse_line(line, written)
    return "kernel_log" if parsed is not None and parsed.from_kernel else ""


FORMAT = Format("nvidia_bug_report", recognises, read)
