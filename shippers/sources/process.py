"""Read the processes of a run, and those beside it that use much CPU."""

import dataclasses
import os
from pathlib import Path

from shippers.sources.reading import ROOT, Reading, number_after, read_once

_HEAVY_CORES = 0.1
_HEAVIEST = 3


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says of a process."""

    name: str
    state: str
    parent: int
    major_faults: int
    cpu_s: float
    threads: int
    started_ticks: int
    rss_bytes: int
    io_delay_s: float


@dataclasses.dataclass(slots=True)
class _Member:
    started_ticks: int
    run_delay_ns: int = 0
    delays_ns: dict[str, int] = dataclasses.field(default_factory=dict)


class ProcessSource:
    """Readings of every process below a root process; the root itself does not count.

    The root should be a child subreaper, so that a process whose parent has ended stays below it.
    """

    def __init__(self, host: str, root_pid: int, *, root: Path = ROOT) -> None:
        self._host = host
        self._root_pid = root_pid
        self._proc = f"{root / 'proc'}/"
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        # Kernels since 5.14 count the delays only when told to, and say 0 otherwise.
        self._delays_counted = read_once(f"{self._proc}sys/kernel/task_delayacct") not in (b"0\n", b"0")
        self._members: dict[int, _Member] = {}
        self._outside: dict[int, tuple[int, float]] = {}
        self.left_out: set[int] = set()
        """Processes below the root that are not of the run."""
        self._outside_read_at: float | None = None

    def read(self) -> list[Reading]:
        """One reading of each process of the run that is alive."""
        self._find_members()
        readings = []
        for pid in list(self._members):
            stat = self._stat(pid)
            if stat is None or stat.started_ticks != self._members[pid].started_ticks or stat.state == "Z":
                del self._members[pid]
            else:
                readings.append(self._reading(pid, stat, "run"))
        return readings

    def read_outside(self, monotonic_s: float) -> list[Reading]:
        """The processes outside the run that used most CPU since the last call: at most three, each over a tenth of a core."""
        self._find_members()
        since, self._outside_read_at = self._outside_read_at, monotonic_s
        before, self._outside = self._outside, {}
        heavy = []
        for pid, (started_ticks, cpu_s) in before.items():
            now = parse_cpu(read_once(f"{self._proc}{pid}/stat"), self._ticks)
            if now is None or now[0] != started_ticks:
                continue  # ended; a new process with its number is looked at like any new one
            self._outside[pid] = now
            if since is not None and now[1] - cpu_s > _HEAVY_CORES * (monotonic_s - since) and (stat := self._stat(pid)) is not None:
                heavy.append((now[1] - cpu_s, pid, stat))
        heavy.sort(key=lambda one: (-one[0], one[1]))
        return [self._reading(pid, stat, "other") for _, pid, stat in heavy[:_HEAVIEST]]

    def has(self, pid: int) -> bool:
        """Whether a process was of the run when they were read last."""
        return pid in self._members

    def running(self) -> list[int]:
        """The processes of the run that are alive now."""
        self._find_members()
        stats = {pid: self._stat(pid) for pid in self._members}
        return sorted(pid for pid, stat in stats.items() if stat is not None and stat.state != "Z")

    def _pids(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self._proc) if name.isdigit()]  # noqa: PTH208 - a Path each costs ten times more
        except OSError:
            return []

    def _find_members(self) -> None:
        """Take in the processes that are new since the last time: only those are looked at, the parents of others are known."""
        new: dict[int, ProcessStat] = {}
        for pid in self._pids():
            if pid not in self._members and pid not in self._outside and pid != self._root_pid and pid not in self.left_out:
                stat = self._stat(pid)
                if stat is not None:
                    new[pid] = stat
        for pid, stat in new.items():
            ancestor, seen = stat.parent, {pid}
            while ancestor in new and ancestor not in seen:
                seen.add(ancestor)
                ancestor = new[ancestor].parent
            if ancestor == self._root_pid or ancestor in self._members:
                self._members[pid] = _Member(stat.started_ticks)
            else:
                # All that a process used counts as used since the last look when the process is newer than that look.
                self._outside[pid] = (stat.started_ticks, stat.cpu_s if self._outside_read_at is None else 0.0)

    def _stat(self, pid: int) -> ProcessStat | None:
        return parse_stat(read_once(f"{self._proc}{pid}/stat"), self._ticks, self._page_bytes)

    def _reading(self, pid: int, stat: ProcessStat, role: str) -> Reading:
        folder = f"{self._proc}{pid}/"
        io = read_once(f"{folder}io")
        metrics = {
            "process.cpu_s": stat.cpu_s,
            "process.run_delay_s": self._run_delay_s(pid, stat.threads) if role == "run" else None,
            "process.memory.rss_bytes": stat.rss_bytes,
            "process.threads": stat.threads,
            "process.major_faults": stat.major_faults,
            "process.involuntary_switches": number_after(read_once(f"{folder}status"), b"nonvoluntary_ctxt_switches:"),
            "process.io.read_bytes": number_after(io, b"read_bytes:"),
            "process.io.read_calls": number_after(io, b"syscr:"),
            "process.io.read_chars": number_after(io, b"rchar:"),
            "process.io.write_bytes": number_after(io, b"write_bytes:"),
            "process.io_delay_s": stat.io_delay_s if self._delays_counted else None,
        }
        labels = {"process.name": stat.name, "process.parent.pid": str(stat.parent), "process.role": role}
        known = {name: float(value) for name, value in metrics.items() if value is not None}
        return Reading("process", f"{self._host}/{pid}", known, pid, labels)

    def _run_delay_s(self, pid: int, threads: int) -> float | None:
        """Run delay of all threads; what a thread that has ended had waited stays counted, so the sum never goes back."""
        member = self._members[pid]
        folder = f"{self._proc}{pid}/task/"
        try:
            tasks = os.listdir(folder) if threads > 1 else [str(pid)]  # noqa: PTH208
        except OSError:
            return None
        delays: dict[str, int] = {}
        for task in tasks:
            words = (read_once(f"{folder}{task}/schedstat") or b"").split()
            if len(words) >= 2:
                delays[task] = int(words[1])
                member.run_delay_ns += max(delays[task] - member.delays_ns.get(task, 0), 0)
        member.delays_ns = delays
        return member.run_delay_ns / 1e9 if delays else None


def parse_cpu(data: bytes | None, ticks: int) -> tuple[int, float] | None:
    """When a process started, in ticks, and its CPU time in seconds; for looking at many, a third of the cost of `parse_stat`."""
    if data is None:
        return None
    words = data[data.rfind(b")") + 2 :].split(None, 20)
    return (int(words[19]), (int(words[11]) + int(words[12])) / ticks) if len(words) == 21 else None


def parse_stat(data: bytes | None, ticks: int, page_bytes: int) -> ProcessStat | None:
    """What a line of /proc/PID/stat says; the name of a process may hold spaces and parentheses.

    Args:
        data: the line; None when it could not be read.
        ticks: clock ticks a second.
        page_bytes: size of a page of memory.
    Returns: None when the line is torn.
    """
    if data is None:
        return None
    start, end = data.find(b"("), data.rfind(b")")
    words = data[end + 2 :].split()
    if start < 0 or end < start or len(words) < 40:
        return None
    return ProcessStat(
        name=data[start + 1 : end].decode(errors="replace"), state=words[0].decode(), parent=int(words[1]),
        major_faults=int(words[9]), cpu_s=(int(words[11]) + int(words[12])) / ticks, threads=int(words[17]),
        started_ticks=int(words[19]), rss_bytes=int(words[21]) * page_bytes, io_delay_s=int(words[39]) / ticks)
