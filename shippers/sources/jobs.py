"""Tell as events which job, rank and container has which process and GPU, and when it gives them back."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pinchpoint.clock import NS, Clock, format_time
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, place_fields, without_secrets
from shippers.sources.job_files import read_job_files
from shippers.sources.job_places import Place
from shippers.sources.job_processes import JobProcesses
from shippers.sources.pod_resources import PodResources
from shippers.sources.position import Position
from shippers.sources.reading import ROOT, number_after, read_once

_NO_PROCESS = ("gpu/", "pod/")
_NAMED = ("job.id", "pod.name", "rank", "gpus", "gpu.index")

#: What is assigned, by what has it: `BOOT/PID/TICKS` for a process, `gpu/NAME/JOB` for a file of the job folder, `pod/DEVICE/…` for what
#: the kubelet tells.
Assigned = dict[str, Place]


class JobSource:
    """Pushes events `job_assigned` and `job_released`, of processes and of GPUs.

    The event of a process carries the time at which the process started; its release the time at which that was noticed, or that of
    the boot which ended it. What ended while the agent was away is released when it starts again.

    Args:
        host: name of this host.
        push: takes items to the spool; when it raises OSError the same events are pushed next time.
        position: file that keeps what is assigned.
        job_folder: where the scheduler writes the jobs of each GPU, or None.
        root: where the kernel's files are.
    """

    def __init__(self, host: str, *, push: Callable[[list[Item]], None], redact: Redact, clock: Clock, position: Path,
                 job_folder: Path | None = None, root: Path = ROOT) -> None:
        self._host, self._push, self._redact, self._clock, self._job_folder, self._root = host, push, redact, clock, job_folder, root
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._boot = (read_once(root / "proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()
        self._booted_ns = int(number_after(read_once(root / "proc/stat"), b"btime ") or 0) * NS
        self._processes = JobProcesses(root)
        self.pods = PodResources(root)
        self._gpu_jobs: dict[str, tuple[str, ...]] = {}
        self._position = Position(position)
        self._assigned: Assigned = {key: place for key, place in self._position.load().items()
                                    if isinstance(place, dict) and all(isinstance(value, str) for value in place.values())}
        for key in self._assigned:
            if key.startswith("gpu/"):
                _, gpu, job = key.split("/", 2)
                self._gpu_jobs[gpu] = (*self._gpu_jobs.get(gpu, ()), job)

    def poll(self) -> None:
        """Push what was assigned or released since the last call.

        Raises: OSError when the spool or the position cannot be written.
        """
        now = {f"{self._boot}/{pid}/{started}": place for (pid, started), place in self._processes.read().items()}
        if self._job_folder is not None:
            self._gpu_jobs = read_job_files(self._job_folder, self._clock.now_ns(), self._gpu_jobs)
            now |= {f"gpu/{gpu}/{job}": _place_of_gpu(gpu, job) for gpu, jobs in self._gpu_jobs.items() for job in jobs}
        now |= self.pods.read()
        if now == self._assigned:
            return
        items = list(self._changes(now))
        if items:
            self._push(items)
        self._position.save(now)
        self._assigned = now

    @property
    def problem(self) -> str | None:
        """Why an assignment may be missing; None while everything can be read. A host without a kubelet has no problem."""
        found = [self.pods.problem]
        if self._job_folder is not None and not self._job_folder.is_dir():
            found.append(f"{self._job_folder} is not there: no prologue of the scheduler writes the jobs of each GPU to it")
        if self._processes.is_forbidden:
            found.append("environments of some processes cannot be read: run the agent as root, or give it CAP_SYS_PTRACE")
        return "; ".join(filter(None, found)) or None

    def _changes(self, now: Assigned) -> Iterator[Item]:
        now_ns = self._clock.now_ns()
        for key, place in self._assigned.items():
            if now.get(key) != place:
                ended_by_boot = not key.startswith((*_NO_PROCESS, f"{self._boot}/"))
                yield from self._item("job_released", self._booted_ns if ended_by_boot else now_ns, key, place)
        for key, place in now.items():
            if self._assigned.get(key) != place:
                of_process = not key.startswith(_NO_PROCESS)
                started_ns = self._booted_ns + int(key.rpartition("/")[2]) * NS // self._ticks if of_process else now_ns
                yield from self._item("job_assigned", started_ns, key, place)

    def _item(self, action: str, time_ns: int, key: str, place: Place) -> Iterator[Item]:
        labels = dict(place)
        given: dict[str, Any] = {"@timestamp": format_time(time_ns), "event.action": action, "host.name": self._host}
        if "run.id" in labels:
            given["run.id"] = labels.pop("run.id")
        if "rank" in labels:
            given["rank"] = int(labels.pop("rank"))
        # a process is there once; a GPU is given to the same job again and again, which only the time tells apart
        parts = [self._host, key, action, *(f"{name}={value}" for name, value in sorted(place.items()))]
        if key.startswith(_NO_PROCESS):
            parts.append(str(time_ns))
        else:
            labels["process.pid"] = key.split("/")[1]
        given["event.reason"] = ", ".join(f"{name} {place[name]}" for name in _NAMED if name in place)
        record = place_fields("event", {**given, "labels": labels})
        without_secrets([record], self._redact)
        item = make_item("event", record, hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest())
        if item is not None:
            yield item


def _place_of_gpu(gpu: str, job: str) -> Place:
    index, _, instance = gpu.partition(".")
    return {"job.id": job, "gpu.index": index, "source": "job_folder"} | ({"gpu.instance": instance} if instance else {})
