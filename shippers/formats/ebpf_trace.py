"""Databases of eBPF tracers of CUDA (`trace.db` of Ingero): calls, context switches and block I/O as events, and snapshots of the host."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from pinchpoint.gpu_errors.findings import Finding
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.ebpf_loader import Worker, calls_left_out, workers_of
from shippers.formats.ebpf_times import Process, Windows
from shippers.formats.job_errors import JobErrors
from shippers.formats.sqlite_file import MAGIC, read_only, tables
from shippers.formats.told import told

_TABLES = {"events": ("timestamp", "pid", "tid", "source", "op", "duration", "arg0"), "sources": ("id", "name"),
           "ops": ("source_id", "op_id", "name")}
_SNAPSHOTS = ("timestamp", "cpu_pct", "mem_pct", "mem_avail", "load_avg")
_MOST_WINDOWS, _MOST_RANKS, _MOST_PROCESSES = 20_000, 64, 100_000
_MOST_EVENTS, _MOST_SNAPSHOTS = 50_000_000, 1_000_000
_LATEST_NS = 1 << 62
_MINUTE_NS = 60 * NS
_SECTOR_BYTES, _MOST_DIGITS = 512, 10
#: What a session says of the machine.
_SETTINGS = ("gpu_model", "gpu_driver", "cpu_model", "cuda_ver", "python_ver", "kernel")
_KILLED = Finding("oom", "oom_kill", "limits", "error", "the kernel killed a process for want of memory")


def recognises(head: bytes) -> bool:
    """Whether it is a database whose tables are those of such a trace."""
    return head.startswith(MAGIC) and all(b"CREATE TABLE " + name in head for name in (b"events", b"ops", b"sources"))


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each second of each process that uses a GPU, and readings of the host, its disks and the loader.

    Waiting for data is the time of a process's own reads, and time in which it calls nothing of CUDA while workers of its loader compute.

    Raises: InputError for what is no such database.
    """
    with read_only(path) as connection:
        there = tables(connection)
        for name, columns in _TABLES.items():
            if not set(columns) <= set(there.get(name, ())):
                raise InputError(f"{path}: no trace of events: its table {name} lacks {', '.join(columns)}")
        windows = _windows(connection)
        if windows is None:
            reading.notes.append("no two events at different times in it")
            return
        yield from _Trace(connection, there, windows, path.name.split(".", maxsplit=1)[0] or "trace", reading).batches()


def _windows(connection: sqlite3.Connection) -> Windows | None:
    begin, end = connection.execute("SELECT min(timestamp), max(timestamp) FROM events").fetchone()
    if not isinstance(begin, int) or not isinstance(end, int) or not 0 <= begin < end < _LATEST_NS:
        return None
    return Windows(begin, end, min(max((end - begin) // NS, 1), _MOST_WINDOWS))


class _Trace:
    """One database: its events are gone through once, in the order of time."""

    def __init__(self, connection: sqlite3.Connection, there: dict[str, list[str]], windows: Windows, run: str, reading: Reading) -> None:
        self._sql, self._there, self._bounds, self._run, self._reading = connection, there, windows, run, reading
        self._processes: dict[int, Process] = {}
        self._disk = np.zeros((5, windows.count))  # reads, their bytes and seconds, writes and their seconds
        self._busy = Process(windows)
        self._errors = JobErrors(run, run)
        self._host, self._cores, self._traced = self._session()

    def batches(self) -> Iterator[Batch]:
        """All that the trace tells."""
        self._go_through()
        ranks = [pid for pid, one in self._processes.items() if one.calls]
        ranks = sorted(ranks, key=lambda pid: -self._processes[pid].calls)[:_MOST_RANKS]
        if not ranks and self._traced in self._processes:
            ranks = [self._traced]
            self._reading.notes.append("no call of CUDA in it: the process that was traced is looked at")
        workers = workers_of(self._sql, self._there, ranks, self._processes, self._bounds) if ranks else []
        loading = self._loading(workers)
        for rank, pid in enumerate(sorted(ranks)):
            yield from self._steps(rank, pid, len(ranks), loading)
        yield from self._readings(workers, ranks)
        yield from self._errors.batches()
        self._reading.notes.append("no steps in it: each second of a process that uses a GPU counts as one" if ranks else
                                   "no process in it that uses a GPU: there are readings of the host alone")

    def _session(self) -> tuple[str | None, int, int]:
        """Host, processors, and the process that the tracer was told to follow; None, 0 and -1 where it is not said."""
        if "started_at" not in self._there.get("sessions", ()):
            return None, 0, -1
        found = self._sql.execute("SELECT * FROM sessions ORDER BY started_at DESC LIMIT 1")
        names, row = [column[0] for column in found.description], found.fetchone()
        session = {} if row is None else dict(zip(names, row, strict=True))
        for name in _SETTINGS:
            if session.get(name):
                self._reading.set(name, str(session[name])[:200])
        cores, traced, node = session.get("cpu_cores"), str(session.get("pid_filter", "")), session.get("node")
        return (str(node)[:256] if node else None, cores if isinstance(cores, int) and 0 < cores < 1 << 16 else 0,
                int(traced) if traced.isascii() and traced.isdigit() and len(traced) <= _MOST_DIGITS else -1)

    def _go_through(self) -> None:
        kinds = {(source, op): (str(of), str(name)) for source, op, of, name in self._sql.execute(
            "SELECT o.source_id, o.op_id, s.name, o.name FROM ops o JOIN sources s ON s.id = o.source_id LIMIT 10000")}
        rows = self._sql.execute("SELECT timestamp, pid, tid, source, op, duration, arg0 FROM events ORDER BY timestamp LIMIT ?",
                                 (_MOST_EVENTS,))
        for row in rows:
            if not all(isinstance(value, int) for value in row) or not 0 <= row[5] < _LATEST_NS or not 0 <= row[0] < _LATEST_NS:
                self._reading.reject(repr(row)[:1000].encode("utf-8", "replace"), "an event without a number where one is needed")
                continue
            self._take(row, *kinds.get((row[3], row[4]), ("", "")))
        for one in self._processes.values():
            one.finish()
        for pid, minute, calls in calls_left_out(self._sql, self._there):
            if pid in self._processes:
                self._processes[pid].left_out(minute, minute + _MINUTE_NS, calls)

    def _take(self, row: tuple[int, ...], source: str, name: str) -> None:
        """One event. Calls tell when they began; what waits, when it ended."""
        at, pid, tid, _, _, lasts, argument = row
        process = self._processes.get(pid)
        if process is None:
            if len(self._processes) >= _MOST_PROCESSES:
                return
            process = self._processes[pid] = Process(self._bounds)
        if source in ("CUDA", "DRIVER"):
            process.call(at, at + lasts)
            if "Sync" in name:
                process.sync(at, at + lasts)
        elif name == "sched_switch":
            process.off(at - lasts, at, main=pid == tid)
        elif name in ("block_read", "block_write"):
            window = min(int((at - self._bounds.begin) / self._bounds.length), self._bounds.count - 1)
            self._busy.read(at - lasts, at)
            if name == "block_read":
                process.read(at - lasts, at)
                self._disk[:3, window] += 1, max(argument, 0) * _SECTOR_BYTES, lasts / NS
            else:
                self._disk[3:, window] += 1, lasts / NS
        elif name == "process_fork" and process.first_fork is None:
            process.first_fork = at
        elif name in ("oom_kill", "pod_oom_kill"):
            self._errors.add(_KILLED, f"{name} of process {pid}".encode(), at)

    def _loading(self, workers: list[Worker]) -> np.ndarray:
        """The share of each window in which workers of the loader were there, and computed."""
        found = np.zeros(self._bounds.count)
        for one in workers:
            if one.computes:
                there = np.zeros(self._bounds.count)
                self._bounds.spread(there, one.begin, one.end)
                found = np.maximum(found, there / self._bounds.length)
        return found

    def _steps(self, rank: int, pid: int, size: int, loading: np.ndarray) -> Iterator[Batch]:
        process, length = self._processes[pid], self._bounds.length
        reads = np.minimum(process.reads, process.off_cpu)
        waits = np.minimum(reads + process.without_calls * loading, length) / NS
        starts = self._bounds.begin + np.round(np.arange(self._bounds.count) * length).astype(np.int64)
        identity = records.content_id("ebpf", self._run, pid, int(starts[0]))
        for begin in range(0, len(starts), MOST_ROWS):
            part = slice(begin, begin + MOST_ROWS)
            count = len(starts[part])
            yield "step", records.batch("step", {
                "@timestamp": starts[part], "event.id": [f"{identity}-{begin + place}" for place in range(count)],
                "run.id": [self._run] * count, "rank": [rank] * count, "world_size": [size] * count, "host.name": [self._host] * count,
                "process.pid": [pid] * count, "step": list(range(begin, begin + count)), "duration_s": [length / NS] * count,
                "phase.data_wait_s": waits[part]})
        whole = length * len(waits)
        yield told(self._run, int(starts[0]), {
            "data_wait": float(waits.sum() * NS / whole), "cuda_sync": min(process.sync_ns / whole, 1.0),
            "off_cpu": min(float(process.off_cpu.sum()) / whole, 1.0)}, rank)

    def _readings(self, workers: list[Worker], ranks: list[int]) -> Iterator[Batch]:
        """Counters at the ends of the windows, as the sources of the agent read them."""
        rows: list[tuple[int, str, str, int | None, list[tuple[str, float]], list[tuple[str, str]]]] = []
        bounds = self._bounds
        ends = [bounds.begin, *(bounds.begin + round((n + 1) * bounds.length) for n in range(bounds.count))]
        if self._disk.any():
            sums = np.concatenate([np.zeros((5, 1)), np.cumsum(self._disk, axis=1)], axis=1)
            busy = np.concatenate([[0.0], np.cumsum(self._busy.reads)]) / NS
            names = ("disk.reads", "disk.read_bytes", "disk.read_s", "disk.writes", "disk.write_s")
            rows += [(at, "disk", "all", None, [*zip(names, sums[:, n].tolist(), strict=True), ("disk.busy_s", float(busy[n]))], [])
                     for n, at in enumerate(ends)]
        for one in workers:
            labels = [("process.parent.pid", str(one.parent)), ("process.role", "run"), ("process.name", one.name)]
            rows += [(at, "process", f"{self._host or 'host'}/{one.pid}", one.pid, [("process.cpu_s", one.cpu_s(at))], labels)
                     for at in (one.begin, *(end for end in ends if one.begin < end < one.end), one.end)]
        rows += self._snapshots()
        ids = [records.content_id("ebpf", self._run, *row[:3]) for row in rows]
        for begin in range(0, len(rows), MOST_ROWS):
            times, kinds, names_, pids, metrics, labels_ = zip(*rows[begin:begin + MOST_ROWS], strict=True)
            count = len(times)
            yield "metric", records.batch("metric", {
                "@timestamp": list(times), "event.id": ids[begin:begin + count],
                "run.id": [self._run if ranks else None] * count, "entity.kind": list(kinds), "entity.id": list(names_),
                "host.name": [self._host] * count, "process.pid": list(pids), "metrics": list(metrics), "labels": list(labels_)})

    def _snapshots(self) -> list[tuple[int, str, str, int | None, list[tuple[str, float]], list[tuple[str, str]]]]:
        if not set(_SNAPSHOTS) <= set(self._there.get("system_snapshots", ())):
            return []
        found: list[tuple[int, str, str, int | None, list[tuple[str, float]], list[tuple[str, str]]]] = []
        host = self._host or "host"
        for row in self._sql.execute("SELECT timestamp, cpu_pct, mem_pct, mem_avail, load_avg FROM system_snapshots ORDER BY timestamp "
                                     "LIMIT ?", (_MOST_SNAPSHOTS,)):
            if not isinstance(row[0], int) or not 0 <= row[0] < _LATEST_NS or not all(
                    isinstance(value, int | float) and 0 <= value < 1e15 for value in row[1:]):
                self._reading.reject(repr(row)[:1000].encode("utf-8", "replace"), "a snapshot without a number where one is needed")
                continue
            at, cpu, memory, available, load = row
            metrics = [("system.load.1m", float(load)), ("system.memory.available_bytes", available * 2.0**20)]
            if self._cores:
                metrics += [("system.cpu.count", float(self._cores)), ("system.cpu.busy_s.rate", cpu / 100 * self._cores)]
            if memory < 100:
                metrics.append(("system.memory.total_bytes", available * 2.0**20 / (1 - memory / 100)))
            found.append((at, "host", host, None, metrics, []))
        return found


FORMAT = Format("ebpf_trace", recognises, read)
