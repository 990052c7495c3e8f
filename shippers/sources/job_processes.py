"""Find the processes of jobs, one for each rank."""

import os
from pathlib import Path
from typing import NamedTuple

from shippers.sources.job_places import Place, place_of, variables
from shippers.sources.process import parse_stat
from shippers.sources.reading import read_once

#: Between the birth of a process and its program starting it has the environment of its parent, so it is looked at twice.
_LOOKS = 2
#: Processes of no job are the most, and a number is seldom given again; whether another one has it is looked up now and then.
_OTHERS_EVERY = 10
#: Processes that a rank starts inherit its environment; where these are the same it is another process of the same rank.
_OF_A_RANK = ("job.scheduler", "job.id", "run.id", "rank", "local_rank", "pod.uid", "container.id")


class _Process(NamedTuple):
    started_ticks: int
    parent: int
    looks: int
    place: Place


class JobProcesses:
    """The processes of this host that belong to a job, a rank or a container; each environment is read at most twice."""

    def __init__(self, root: Path) -> None:
        self._proc = f"{root / 'proc'}/"
        self._ticks, self._page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        self._processes: dict[int, _Process] = {}
        self._readings = 0
        self.is_forbidden = False
        """Whether some environment may not be read."""

    def read(self) -> dict[tuple[int, int], Place]:
        """The place of each first process of a rank, by its number and start in ticks."""
        known, self._processes = self._processes, {}
        try:
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]  # noqa: PTH208 - a Path each costs ten times more
        except OSError:
            pids = []
        for pid in sorted(pids):
            process = self._look(pid, known.get(pid))
            if process is not None:
                self._processes[pid] = process
        self._readings += 1
        return {(pid, process.started_ticks): process.place for pid, process in self._processes.items() if self._is_first(process)}

    def _look(self, pid: int, process: _Process | None) -> _Process | None:
        if process is not None and process.looks == _LOOKS and not process.place and self._readings % _OTHERS_EVERY:
            return process
        stat = parse_stat(read_once(f"{self._proc}{pid}/stat"), self._ticks, self._page_bytes)
        if stat is None or stat.state == "Z":
            return None
        if process is None or process.started_ticks != stat.started_ticks:
            process = _Process(stat.started_ticks, stat.parent, 0, {})
        if process.looks < _LOOKS:
            process = process._replace(looks=process.looks + 1, place=self._place(pid))
        return process._replace(parent=stat.parent)

    def _place(self, pid: int) -> Place:
        environ = read_once(f"{self._proc}{pid}/environ")
        self.is_forbidden = self.is_forbidden or (environ is None and _is_forbidden(f"{self._proc}{pid}/environ"))
        cgroup = (read_once(f"{self._proc}{pid}/cgroup") or b"").decode(errors="replace")
        return place_of(variables(environ or b""), cgroup)

    def _is_first(self, process: _Process) -> bool:
        """Whether it is the process of its rank that started the others, and not for instance a worker that loads data."""
        if not process.place:
            return False
        parent = self._processes.get(process.parent)
        return parent is None or any(parent.place.get(name) != process.place.get(name) for name in _OF_A_RANK)


def _is_forbidden(path: str) -> bool:
    """Whether a file is there and is kept from this user; a kernel thread has no environment, which is another error."""
    try:
        with open(path, "rb"):  # noqa: PTH123 - as above
            return False
    except OSError as error:
        return isinstance(error, PermissionError)
