"""Read host, disks, control group, GPUs and processes on a beat, as records."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pinchpoint.clock import Clock, format_time
from shippers.sources.cgroup import CgroupSource
from shippers.sources.host import HostSource
from shippers.sources.process import ProcessSource
from shippers.sources.reading import ROOT, Reading, read_once

if TYPE_CHECKING:
    from shippers.gpu.source import GpuSource

_OUTSIDE_EVERY_S = 5.0
#: Share of one core that reading the processes may take; a run of hundreds of processes is read less often.
_MOST_OF_A_CORE = 0.005


class Sampler:
    """The sources of one watched run, read each `interval_s`; the next time is the last one due plus the interval."""

    def __init__(self, host: str, clock: Clock, interval_s: float, gpus: "GpuSource | None" = None) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._host = HostSource(host)
        self._host_name = host
        self._gpus = gpus
        self._command = os.getpid()
        self._group = b""
        self._cgroup = CgroupSource(host, os.getpid())
        self.processes = ProcessSource(host, os.getpid())
        self._due_s = clock.monotonic_s()
        self._processes_due_s = self._due_s
        self._outside_due_s = self._due_s

    def wait_s(self) -> float:
        """Seconds until the next reading is due; 0 when it is."""
        return max(self._due_s - self._clock.monotonic_s(), 0.0)

    def records(self) -> Iterator[dict[str, Any]]:
        """The readings, when they are due; none before."""
        if self.wait_s() > 0:
            return
        now_s = self._clock.monotonic_s()
        # Beats missed while this process was stopped are not made up for.
        self._due_s += self._interval_s * max(1, -(-(now_s - self._due_s + 1e-9) // self._interval_s))
        yield from self.read(now_s >= self._processes_due_s, now_s >= self._outside_due_s)

    def read(self, with_processes: bool = True, with_outside: bool = True) -> Iterator[dict[str, Any]]:
        """The readings now."""
        began_s = self._clock.monotonic_s()
        time = format_time(self._clock.now_ns())
        readings = self._host.read() + self._read_cgroup() + self._read_gpus()
        if with_processes:
            readings += self.processes.read()
            cost_s = self._clock.monotonic_s() - began_s
            self._processes_due_s = began_s + cost_s / _MOST_OF_A_CORE - self._interval_s / 2
        if with_outside:
            readings += self.processes.read_outside(began_s)
            self._outside_due_s = began_s + _OUTSIDE_EVERY_S - self._interval_s / 2
        for reading in readings:
            yield self._record(time, reading)
        for event in self._gpus.events() if self._gpus is not None else ():
            yield {"kind": "event", **event}

    def follow(self, pid: int) -> None:
        """Read the limits of this process from now on, which may be put into a group of its own at any time."""
        self._command = pid

    def _read_cgroup(self) -> list[Reading]:
        group = read_once(ROOT / "proc" / str(self._command) / "cgroup")
        if group and group != self._group:
            self._group = group
            self._cgroup = CgroupSource(self._host_name, self._command)
        return self._cgroup.read()

    def _read_gpus(self) -> list[Reading]:
        if self._gpus is None:
            return []
        readings = self._gpus.read()
        if self._gpus.pid is not None:
            self.processes.left_out.add(self._gpus.pid)
        return [self._with_role(reading) if reading.entity_kind == "process" else reading for reading in readings]

    def _with_role(self, reading: Reading) -> Reading:
        """A GPU may be used by others too, whose processes are not of this run."""
        role = "run" if reading.pid is not None and self.processes.has(reading.pid) else "other"
        return reading._replace(labels={**(reading.labels or {}), "process.role": role})

    @staticmethod
    def _record(time: str, reading: Reading) -> dict[str, Any]:
        if reading.time_ns is not None:
            time = format_time(reading.time_ns)
        record: dict[str, Any] = {"kind": "metric", "@timestamp": time, "entity.kind": reading.entity_kind,
                                  "entity.id": reading.entity_id, "metrics": reading.metrics}
        if reading.pid is not None:
            record["process.pid"] = reading.pid
        if reading.labels is not None:
            record.update(reading.labels)
            if "rank" in reading.labels:
                record["rank"] = int(reading.labels["rank"])
        return record

    def close(self) -> None:
        self._host.close()
        if self._gpus is not None:
            self._gpus.close()
