"""Read how fast the processors run, and how fast they may."""

from collections.abc import Iterator
from pathlib import Path

from shippers.sources.reading import number_after, read_once


class CpuFrequency:
    """Frequencies of all processors; of a kernel without cpufreq, as in most virtual machines, those of /proc/cpuinfo."""

    def __init__(self, root: Path) -> None:
        self._cpuinfo = root / "proc" / "cpuinfo"
        self._folders = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))

    def read(self) -> dict[str, float | None]:
        """Metrics of the host; None where this kernel does not tell."""
        running = list(self._kilohertz("scaling_cur_freq")) or list(self._of_cpuinfo())
        limits = list(self._kilohertz("scaling_max_freq"))
        return {
            "system.cpu.frequency.min_hz": min(running) * 1000 if running else None,
            "system.cpu.frequency.mean_hz": round(sum(running) / len(running)) * 1000 if running else None,
            "system.cpu.frequency.limit_hz": min(limits) * 1000 if limits else None,
        }

    def _kilohertz(self, name: str) -> Iterator[float]:
        for folder in self._folders:
            value = number_after(read_once(folder / name), b"")
            if value is not None:
                yield value

    def _of_cpuinfo(self) -> Iterator[float]:
        for line in (read_once(self._cpuinfo) or b"").splitlines():
            if line.startswith(b"cpu MHz"):
                value = number_after(line.partition(b":")[2], b"")
                if value is not None:
                    yield value * 1000
