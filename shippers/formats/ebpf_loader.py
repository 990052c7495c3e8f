"""Which processes of an eBPF trace load data for another one, how much of a processor they used, and what the tracer only counted."""

import dataclasses
import re
import sqlite3
from collections.abc import Mapping

from pinchpoint.clock import NS
from shippers.formats.ebpf_times import Process, Windows

#: What PyTorch calls the workers of its DataLoader; its own thread that pins memory is `pt_data_pin`.
_WORKER = re.compile(r"pt_data_worker|data_?loader|dataworker", re.IGNORECASE)
_MOST_WORKERS = 1024
#: A worker that waits for room in its queue is off the processors most of the time.
_COMPUTES_RATIO = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """One process that loads data; times in ns."""

    pid: int
    name: str
    parent: int
    begin: int
    end: int
    off_cpu_ns: int

    @property
    def cpu_ratio(self) -> float:
        """Share of its time on a processor. Its threads wait too: with several it is less than it used."""
        return max(1 - self.off_cpu_ns / (self.end - self.begin), 0.0)

    @property
    def computes(self) -> bool:
        """Whether it was busy rather than waiting for room in its queue."""
        return self.cpu_ratio >= _COMPUTES_RATIO

    def cpu_s(self, at: int) -> float:
        """Seconds of a processor used up to a time, as if it used them evenly."""
        return self.cpu_ratio * (min(max(at, self.begin), self.end) - self.begin) / NS


def workers_of(connection: sqlite3.Connection, there: Mapping[str, list[str]], ranks: list[int], processes: Mapping[int, Process],
               windows: Windows) -> list[Worker]:
    """The workers of the processes that use a GPU. They are known by the name PyTorch gives them; who started them is not in the trace.

    Args:
        connection: to the database.
        there: its tables and their columns.
        ranks: the processes that use a GPU, the one with most calls first.
        processes: all processes with events.
        windows: of the trace.
    """
    if not {"pid", "name"} <= set(there.get("process_names", ())):
        return []
    names = {pid: str(name) for pid, name in connection.execute("SELECT pid, name FROM process_names LIMIT 100000")
             if isinstance(pid, int) and _WORKER.search(str(name)) and pid not in ranks}
    forks = [one for pid in ranks if (one := processes[pid].first_fork) is not None]
    counted = _aggregates(connection, there)
    found = []
    for pid, name in sorted(names.items())[:_MOST_WORKERS]:
        off_ns, begin = counted.get(pid, (processes[pid].off_cpu_ns if pid in processes else 0, windows.begin))
        if pid not in counted and pid not in processes:
            continue
        # workers are started by the process that uses the GPU, so not before it started any
        begin = max([begin, windows.begin, *forks[:1]])
        if begin < windows.end:
            found.append(Worker(pid, name[:64], ranks[0], begin, windows.end, off_ns))
    return found


def _aggregates(connection: sqlite3.Connection, there: Mapping[str, list[str]]) -> dict[int, tuple[int, int]]:
    """(ns off the processors, begin of the first minute) by process. The tracer keeps only some events, but counts all."""
    if not {"bucket", "source", "op", "pid", "sum_dur"} <= set(there.get("event_aggregates", ())):
        return {}
    rows = connection.execute(
        "SELECT a.pid, sum(a.sum_dur), min(a.bucket) FROM event_aggregates a JOIN ops o ON o.source_id = a.source AND o.op_id = a.op "
        "WHERE o.name = 'sched_switch' GROUP BY a.pid LIMIT 100000")
    return {pid: (off, begin) for pid, off, begin in rows if all(isinstance(value, int) for value in (pid, off, begin))}


def calls_left_out(connection: sqlite3.Connection, there: Mapping[str, list[str]]) -> list[tuple[int, int, int]]:
    """(process, begin of a minute, number) of calls of CUDA that the tracer counted and did not keep."""
    if not {"bucket", "source", "pid", "count", "stored"} <= set(there.get("event_aggregates", ())):
        return []
    rows = connection.execute(
        "SELECT a.pid, a.bucket, sum(a.count - a.stored) FROM event_aggregates a JOIN sources s ON s.id = a.source "
        "WHERE s.name IN ('CUDA', 'DRIVER') GROUP BY a.pid, a.bucket HAVING sum(a.count - a.stored) > 0 LIMIT 1000000")
    return [row for row in rows if all(isinstance(value, int) for value in row)]
