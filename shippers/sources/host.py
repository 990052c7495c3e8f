"""Read the host: processors, memory, paging, pressure stall information, TCP and disks."""

import os
from pathlib import Path

from shippers.sources.cpu_frequency import CpuFrequency
from shippers.sources.reading import ROOT, KernelFile, Reading, number_after

_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the sectors of the disk
_NOT_DISKS = (b"loop", b"ram", b"zram", b"fd", b"sr")
_QUIET_DISK_EVERY = 10
_FREQUENCY_EVERY = 10  # a file or two for each processor


class HostSource:
    """Readings of one host and of its disks; files this kernel does not have are readings left out."""

    def __init__(self, host: str, *, root: Path = ROOT) -> None:
        proc = root / "proc"
        self._host = host
        self._blocks = root / "sys" / "block"
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._stat, self._load, self._memory, self._paging, self._disks, self._snmp, self._netstat = (
            KernelFile(proc / name) for name in ("stat", "loadavg", "meminfo", "vmstat", "diskstats", "net/snmp", "net/netstat"))
        self._frequency = CpuFrequency(root)
        self._pressure = {name: KernelFile(proc / "pressure" / name) for name in ("cpu", "io", "memory")}
        self._disk_lines: dict[bytes, bytes] = {}
        self._is_disk: dict[bytes, bool] = {}
        self._readings = 0

    def read(self) -> list[Reading]:
        """One reading of the host, and one of each disk in use: a quiet disk is read out each tenth time only."""
        metrics: dict[str, float | None] = {}
        metrics.update(self._processors())
        metrics.update(self._memory_and_paging())
        metrics.update(self._tcp())
        if self._readings % _FREQUENCY_EVERY == 0:
            metrics.update(self._frequency.read())
        for name, file in self._pressure.items():
            data = file.read()
            for level in ("some", "full"):
                if (name, level) != ("cpu", "full"):  # always 0 for a whole host
                    metrics[f"system.pressure.{name}.{level}_s"] = _pressure_s(data, level.encode())
        known = {name: value for name, value in metrics.items() if value is not None}
        readings = [Reading("host", self._host, known)] if known else []
        readings += self._disk_readings()
        self._readings += 1
        return readings

    def _processors(self) -> dict[str, float | None]:
        load = self._load.read()
        metrics: dict[str, float | None] = {"system.load.1m": number_after(load, b"")}
        data = self._stat.read()
        if data is None or not data.startswith(b"cpu "):
            return metrics
        times = [int(word) / self._ticks for word in data[: data.find(b"\n")].split()[1:9] if word.isdigit()]
        if len(times) < 8:
            return metrics
        _, _, _, idle, iowait, _, _, steal = times
        metrics["system.cpu.count"] = data.count(b"\ncpu")
        metrics["system.cpu.busy_s"] = round(sum(times) - idle - iowait, 2)
        metrics["system.cpu.iowait_s"] = iowait
        metrics["system.cpu.steal_s"] = steal
        return metrics

    def _memory_and_paging(self) -> dict[str, float | None]:
        memory, paging = self._memory.read(), self._paging.read()
        swap = _difference(number_after(memory, b"SwapTotal:"), number_after(memory, b"SwapFree:"))
        swapped = [number_after(paging, key) for key in (b"pswpin ", b"pswpout ")]
        return {
            "system.memory.total_bytes": _kib(number_after(memory, b"MemTotal:")),
            "system.memory.available_bytes": _kib(number_after(memory, b"MemAvailable:")),
            "system.swap.used_bytes": _kib(swap),
            "system.paging.major_faults": number_after(paging, b"pgmajfault "),
            "system.paging.swap_pages": None if None in swapped else sum(pages or 0.0 for pages in swapped),
        }

    def _tcp(self) -> dict[str, float | None]:
        counters, extended = self._snmp.read(), self._netstat.read()
        return {
            "system.tcp.segments_sent": column(counters, b"Tcp:", b"OutSegs"),
            "system.tcp.retransmits": column(counters, b"Tcp:", b"RetransSegs"),
            "system.tcp.timeouts": column(extended, b"TcpExt:", b"TCPTimeouts"),
        }

    def _disk_readings(self) -> list[Reading]:
        readings = []
        for line in (self._disks.read() or b"").splitlines():
            words = line.split(None, 3)
            if len(words) < 4 or words[3].count(b" ") < 9 or not self._counts(words[2], words[3]):
                continue
            # A host may hold dozens of disks; most are quiet most of the time, and counters stand still meanwhile.
            if self._disk_lines.get(words[2]) == words[3] and self._readings % _QUIET_DISK_EVERY:
                continue
            self._disk_lines[words[2]] = words[3]
            readings.append(Reading("disk", f"{self._host}/{words[2].decode()}", _disk_metrics(words[3].split())))
        return readings

    def _counts(self, name: bytes, counters: bytes) -> bool:
        if name not in self._is_disk:
            # Partitions are not listed in /sys/block: their requests are counted by their disk already.
            self._is_disk[name] = not name.startswith(_NOT_DISKS) and (self._blocks / os.fsdecode(name).replace("/", "!")).exists()
        return self._is_disk[name] and not counters.startswith(b"0 0 0 0 0 0 0 0 0 ")

    def close(self) -> None:
        for file in (self._stat, self._load, self._memory, self._paging, self._disks, self._snmp, self._netstat,
                     *self._pressure.values()):
            file.close()


def _disk_metrics(counters: list[bytes]) -> dict[str, float]:
    reads, _, read_sectors, read_ms, writes, _, write_sectors, write_ms, _, busy_ms = (int(word) for word in counters[:10])
    return {
        "disk.reads": reads, "disk.read_bytes": read_sectors * _SECTOR_BYTES, "disk.read_s": read_ms / 1000,
        "disk.writes": writes, "disk.write_bytes": write_sectors * _SECTOR_BYTES, "disk.write_s": write_ms / 1000,
        "disk.busy_s": busy_ms / 1000,
    }


def column(data: bytes | None, title: bytes, name: bytes) -> float | None:
    """The value of a column of a line whose names stand in the line before it, as in /proc/net/snmp; None where it has none.

    >>> column(b"Tcp: InSegs OutSegs\\nTcp: 3 4\\n", b"Tcp:", b"OutSegs")
    4.0
    """
    start = -1 if data is None else (b"\n" + data).find(b"\n" + title)
    if data is None or start < 0:
        return None
    names, _, rest = data[start:].partition(b"\n")
    try:
        return float(rest.partition(b"\n")[0].split()[names.split().index(name)])
    except (ValueError, IndexError):
        return None


def _pressure_s(data: bytes | None, level: bytes) -> float | None:
    """Stall time of a level in seconds.

    >>> _pressure_s(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000", b"some")
    1.5
    """
    for line in (data or b"").splitlines():
        if line.startswith(level + b" "):
            total = line.rpartition(b"total=")[2]
            return int(total) / 1e6 if total.isdigit() else None
    return None


def _kib(value: float | None) -> float | None:
    return None if value is None else value * 1024


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
