"""Tell as events which job, rank and container has which process and GPU, and when it gives them back."""

import enum
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from pinchpoint.clock import NS, Clock, format_time
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, place_fields, without_secrets
from shippers.sources.job_files import read_job_files
from shippers.sources.job_places import Place, place_of, variables
from shippers.sources.process import parse_stat
from shippers.sources.reading import ROOT, number_after, read_once

#: Between the birth of a process and its program starting it has the environment of its parent, so it is looked at twice.
_LOOKS = 2
#: Processes of no job are the most, and a number is seldom given again; whether another one has it is looked up now and then.
_OTHERS_EVERY = 10
_TOLD = ("job.id", "pod.name", "rank", "gpus", "gpu.index")
#: Processes that a rank starts inherit its environment; what differs only in these is another process of the same rank.
_OF_A_RANK = ("job.scheduler", "job.id", "run.id", "rank", "local_rank", "pod.uid", "container.id")


class JobsState(enum.Enum):
    """Why an assignment may be missing."""

    NO_JOB_FOLDER = "the folder with the jobs of each GPU is not there: no prologue of the scheduler writes it on this host"
    FORBIDDEN = "environments of some processes cannot be read: run the agent as root, or give it CAP_SYS_PTRACE"
    NO_KUBELET = "no kubelet runs on this host"
    KUBELET_NOT_ASKED = ("the kubelet tells over gRPC which pod has which GPU, and the agent has no gRPC client; pods are known by their "
                         "control groups, and their GPUs where the environment names them")


class _Process(NamedTuple):
    started_ticks: int
    parent: int
    looks: int
    place: Place


class JobSource:
    """Events `job_assigned` and `job_released`, of processes and of GPUs.

    The event of a process carries the time at which the process started, and the ids are made of what is assigned: an agent that
    starts again tells the same again, which stays one record.

    Args:
        host: name of this host.
        job_folder: where the scheduler writes the jobs of each GPU, or None.
        root: where the kernel's files are.
    """

    def __init__(self, host: str, *, redact: Redact, clock: Clock, job_folder: Path | None = None, root: Path = ROOT) -> None:
        self._host, self._redact, self._clock, self._job_folder, self._root = host, redact, clock, job_folder, root
        self._proc = f"{root / 'proc'}/"
        self._ticks, self._page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        self._boot = (read_once(root / "proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()
        self._booted_s = number_after(read_once(root / "proc/stat"), b"btime ") or 0.0
        self._processes: dict[int, _Process] = {}
        self._told: dict[tuple[int, int], Place] = {}
        self._gpu_jobs: dict[str, tuple[str, ...]] = {}
        self._forbidden = False
        self._readings = 0

    def read(self) -> list[Item]:
        """What was assigned or released since the last call."""
        items = self._of_processes()
        if self._job_folder is not None:
            items += self._of_job_files(self._job_folder)
        return items

    def states(self) -> list[JobsState]:
        """What cannot be known here, and why."""
        states = []
        if self._job_folder is not None and not self._job_folder.is_dir():
            states.append(JobsState.NO_JOB_FOLDER)
        if self._forbidden:
            states.append(JobsState.FORBIDDEN)
        kubelet = self._root / "var/lib/kubelet/pod-resources/kubelet.sock"
        states.append(JobsState.KUBELET_NOT_ASKED if kubelet.exists() else JobsState.NO_KUBELET)
        return states

    def _of_processes(self) -> list[Item]:
        self._look()
        now = {(pid, process.started_ticks): process.place for pid, process in self._processes.items() if self._is_first(process)}
        items = []
        for key, place in self._told.items():
            if now.get(key) != place:
                items.append(self._item("job_released", self._clock.now_ns(), key, place))
        for key, place in now.items():
            if self._told.get(key) != place:
                items.append(self._item("job_assigned", self._started_ns(key[1]), key, place))
        self._told = now
        return [item for item in items if item is not None]

    def _look(self) -> None:
        known, self._processes = self._processes, {}
        try:
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]  # noqa: PTH208 - a Path each costs ten times more
        except OSError:
            pids = []
        for pid in sorted(pids):
            process = known.get(pid)
            if process is not None and process.looks == _LOOKS and not process.place and self._readings % _OTHERS_EVERY:
                self._processes[pid] = process
                continue
            stat = parse_stat(read_once(f"{self._proc}{pid}/stat"), self._ticks, self._page_bytes)
            if stat is None or stat.state == "Z":
                continue
            if process is None or process.started_ticks != stat.started_ticks:
                process = _Process(stat.started_ticks, stat.parent, 0, {})
            if process.looks < _LOOKS:
                process = process._replace(looks=process.looks + 1, place=self._place(pid))
            self._processes[pid] = process._replace(parent=stat.parent)
        self._readings += 1

    def _place(self, pid: int) -> Place:
        environ = read_once(f"{self._proc}{pid}/environ")
        self._forbidden = self._forbidden or (environ is None and _is_forbidden(f"{self._proc}{pid}/environ"))
        cgroup = (read_once(f"{self._proc}{pid}/cgroup") or b"").decode(errors="replace")
        return place_of(variables(environ or b""), cgroup)

    def _is_first(self, process: _Process) -> bool:
        """Whether it is the process of its rank that started the others, and not for instance a worker that loads data."""
        if not process.place:
            return False
        parent = self._processes.get(process.parent)
        return parent is None or any(parent.place.get(name) != process.place.get(name) for name in _OF_A_RANK)

    def _started_ns(self, ticks: int) -> int:
        return int(self._booted_s * NS) + ticks * NS // self._ticks

    def _of_job_files(self, folder: Path) -> list[Item]:
        now_ns = self._clock.now_ns()
        before, self._gpu_jobs = self._gpu_jobs, read_job_files(folder, now_ns, self._gpu_jobs)
        pairs, pairs_before = ({(gpu, job) for gpu, jobs in each.items() for job in jobs} for each in (self._gpu_jobs, before))
        items = []
        for action, changed in (("job_released", pairs_before - pairs), ("job_assigned", pairs - pairs_before)):
            for gpu, job in sorted(changed):
                index, _, instance = gpu.partition(".")
                labels = {"job.id": job, "gpu.index": index, "source": "job_folder"} | ({"gpu.instance": instance} if instance else {})
                items.append(self._item(action, now_ns, (gpu,), labels))
        return [item for item in items if item is not None]

    def _item(self, action: str, time_ns: int, key: tuple[Any, ...], place: Place) -> Item | None:
        labels = dict(place)
        given: dict[str, Any] = {"@timestamp": format_time(time_ns), "event.action": action, "host.name": self._host}
        if "run.id" in labels:
            given["run.id"] = labels.pop("run.id")
        if "rank" in labels:
            given["rank"] = int(labels.pop("rank"))
        if len(key) == 2:
            labels["process.pid"] = str(key[0])
        given["event.reason"] = ", ".join(f"{name} {place[name]}" for name in _TOLD if name in place)
        record = place_fields("event", {**given, "labels": labels})
        without_secrets([record], self._redact)
        if len(key) == 2:  # a process is there once; a GPU is given to the same job again and again
            parts = (self._host, self._boot, *map(str, key), action, *(f"{name}={value}" for name, value in sorted(place.items())))
            return make_item("event", record, hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest())
        return make_item("event", record)


def _is_forbidden(path: str) -> bool:
    """Whether a file is there and is kept from this user; a kernel thread has no environment, which is another error."""
    try:
        with open(path, "rb"):  # noqa: PTH123 - as above
            return False
    except OSError as error:
        return isinstance(error, PermissionError)
