"""Databases of eBPF tracers: waiting for data is told from everything else a process does without its GPU, and no file is trusted."""

import gzip
import sqlite3

import pytest

from pinchpoint.errors import InputError
from shippers.formats import open_input

MS, NS = 10**6, 10**9
T = 1_700_000_000 * NS
SCHEMA = """
CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER NOT NULL,
    source INTEGER NOT NULL, op INTEGER NOT NULL, duration INTEGER NOT NULL, gpu_id INTEGER DEFAULT 0, arg0 INTEGER DEFAULT 0);
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT);
CREATE TABLE ops (source_id INTEGER NOT NULL, op_id INTEGER NOT NULL, name TEXT NOT NULL, description TEXT, PRIMARY KEY (source_id, op_id));
CREATE TABLE system_snapshots (id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL UNIQUE, cpu_pct REAL, mem_pct REAL, mem_avail INTEGER,
    swap_mb INTEGER, load_avg REAL);
CREATE TABLE sessions (id INTEGER PRIMARY KEY, started_at INTEGER, cpu_cores INTEGER, pid_filter TEXT, node TEXT,
    gpu_model TEXT);
CREATE TABLE process_names (pid INTEGER PRIMARY KEY, name TEXT, seen_at INTEGER);
CREATE TABLE event_aggregates (bucket INTEGER, source INTEGER, op INTEGER, pid INTEGER, count INTEGER, stored INTEGER, sum_dur INTEGER,
    min_dur INTEGER, max_dur INTEGER, sum_arg0 INTEGER);
INSERT INTO sources (id, name) VALUES (1, 'CUDA'), (3, 'HOST'), (4, 'DRIVER'), (5, 'IO');
INSERT INTO ops (source_id, op_id, name) VALUES (1, 3, 'cudaLaunchKernel'), (1, 5, 'cudaStreamSync'), (3, 1, 'sched_switch'),
    (3, 4, 'oom_kill'), (3, 7, 'process_fork'), (5, 1, 'block_read'), (5, 2, 'block_write');
INSERT INTO process_names (pid, name) VALUES (100, 'python3'), (201, 'pt_data_worker'), (202, 'pt_data_worker');
INSERT INTO sessions (started_at, cpu_cores, pid_filter, node, gpu_model) VALUES (1, 4, '100', 'node1', 'Tesla T4');
"""
LAUNCH, SYNC, OFF, KILL, FORK, READ, WRITE = (1, 3), (1, 5), (3, 1), (3, 4), (3, 7), (5, 1), (5, 2)


def database(path, events, aggregates=(), snapshots=()):
    """A trace; events are (time in ms, pid, kind, duration in ms, argument)."""
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO events (timestamp, pid, tid, source, op, duration, arg0) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(T + round(at * MS), pid, pid, *kind, round(lasts * MS), argument) for at, pid, kind, lasts, argument in events])
        connection.executemany("INSERT INTO event_aggregates (bucket, source, op, pid, sum_dur) VALUES (?, 3, 1, ?, ?)",
                               [(T, pid, round(off * NS)) for pid, off in aggregates])
        connection.executemany("INSERT INTO system_snapshots (timestamp, cpu_pct, mem_pct, mem_avail, load_avg) VALUES (?, ?, 50, 8000, 4)",
                               [(T + n * NS, cpu) for n, cpu in enumerate(snapshots)])
    connection.close()
    return path


def read(path):
    """What a file gives: (reading, rows by kind)."""
    reading, rows = open_input(path), {}
    for kind, batch in reading:
        rows.setdefault(kind, []).extend(batch.to_pylist())
    return reading, rows


def waited(rows):
    """Share of the time in which data was waited for."""
    return sum(row["phase.data_wait_s"] for row in rows["step"]) / sum(row["duration_s"] for row in rows["step"])


def training(begin_ms, end_ms, every_ms=5.0):
    """A process that calls CUDA all the time."""
    return [(begin_ms + n * every_ms, 100, LAUNCH, 0.01, 0) for n in range(round((end_ms - begin_ms) / every_ms))]


def test_a_gpu_that_is_called_all_the_time_waits_for_nothing(tmp_path):
    """Though workers of the loader compute beside it."""
    reading, rows = read(database(tmp_path / "trace.db", [(0, 100, FORK, 0, 0), *training(0, 4000)], [(201, 0.1), (202, 0.1)]))

    assert (reading.reader, reading.settings) == ("ebpf_trace", {"gpu_model": "Tesla T4"})
    assert waited(rows) == 0.0
    assert {("node1", 100)} == {(row["host.name"], row["process.pid"]) for row in rows["step"]}


def test_no_calls_while_workers_compute_is_waiting_for_data(tmp_path):
    """The middle half of the trace."""
    events = [(0, 100, FORK, 0, 0), *training(0, 1000), *training(3000, 4000)]
    _, rows = read(database(tmp_path / "trace.db", events, [(201, 0.4), (202, 0.4)], [100, 100, 100, 100]))

    assert waited(rows) == pytest.approx(0.5, abs=0.01)
    workers = [row for row in rows["metric"] if row["entity.kind"] == "process"]
    assert {row["process.pid"] for row in workers} == {201, 202}
    assert max(dict(row["metrics"])["process.cpu_s"] for row in workers) == pytest.approx(3.6, abs=0.02)
    assert {dict(row["labels"])["process.parent.pid"] for row in workers} == {"100"}


def test_calls_that_were_counted_and_not_kept_are_no_wait(tmp_path):
    """Tracers keep few of many calls: where it is not known when the others were, no time is held against the loader."""
    path = database(tmp_path / "trace.db", [(0, 100, FORK, 0, 0), *training(0, 1000), *training(3000, 4000)], [(201, 0.4)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"INSERT INTO event_aggregates (bucket, source, op, pid, count, stored) VALUES ({T}, 1, 3, 100, 475, 400)")
    connection.close()

    assert waited(read(path)[1]) == pytest.approx(0.5 * (2.0 - 75 * 0.02) / 2.0, abs=0.02)


def test_workers_that_sleep_are_not_waited_for(tmp_path):
    """Their queue is full: something else keeps the process from its GPU."""
    events = [(0, 100, FORK, 0, 0), *training(0, 1000), *training(3000, 4000)]
    _, rows = read(database(tmp_path / "trace.db", events, [(201, 3.9), (202, 3.9)]))

    assert waited(rows) == 0.0


def test_a_process_that_sleeps_without_a_loader_waits_for_no_data(tmp_path):
    """It allocates now and then and sleeps in between, as a monitor does."""
    events = [event for n in range(80) for event in ((n * 50, 100, OFF, 49.9, 0), (n * 50 + 0.01, 100, LAUNCH, 0.1, 0),
                                                     (n * 50 + 5, 300, WRITE, 1.0, 8))]
    _, rows = read(database(tmp_path / "trace.db", events))

    assert waited(rows) == 0.0


def test_a_process_that_waits_for_its_own_reads(tmp_path):
    """The time its reads took, as far as it was off the processors; and the disk they came from."""
    events = [event for n in range(1000) for event in ((n * 4 + 2, 100, READ, 2.0, 128), (n * 4 + 2.01, 100, OFF, 2.01, 0))]
    reading, rows = read(database(tmp_path / "trace.db", events))

    assert waited(rows) == pytest.approx(0.5, abs=0.01)
    disk = [dict(row["metrics"]) for row in rows["metric"] if row["entity.kind"] == "disk"]
    assert (disk[0]["disk.reads"], disk[-1]["disk.reads"], disk[-1]["disk.read_bytes"]) == (0, 1000, 1000 * 128 * 512)
    assert any("no call of CUDA" in note for note in reading.notes)


def test_waits_for_the_gpu_are_told(tmp_path):
    """The share of the time in calls that synchronise, each moment once; and the share off the processors."""
    events = [event for n in range(400) for event in ((n * 5, 100, SYNC, 2.0, 0), (n * 5 + 0.5, 100, (4, 4), 1.0, 0),
                                                      (n * 5 + 4, 100, OFF, 1.0, 0))]
    path = database(tmp_path / "trace.db", events)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO ops (source_id, op_id, name) VALUES (4, 4, 'cuCtxSynchronize')")
    connection.close()
    (told,) = [dict(row["metrics"]) for row in read(path)[1]["metric"] if row["entity.kind"] == "told"]

    assert (told["told.cuda_sync"], told["told.off_cpu"]) == (pytest.approx(0.4, abs=0.01), pytest.approx(0.2, abs=0.01))


def test_snapshots_become_readings_of_the_host(tmp_path):
    """Processors in use, memory and load."""
    _, rows = read(database(tmp_path / "trace.db", training(0, 2000), snapshots=[25.0, 100.0]))

    hosts = [dict(row["metrics"]) for row in rows["metric"] if row["entity.kind"] == "host"]
    assert [one["system.cpu.busy_s.rate"] for one in hosts] == [1.0, 4.0]
    assert hosts[0]["system.memory.total_bytes"] == 16000 * 2**20


def test_a_process_that_was_killed_is_an_error(tmp_path):
    """As it is in the log of the kernel."""
    _, rows = read(database(tmp_path / "trace.db", [*training(0, 2000), (1500, 100, KILL, 0, 0)]))

    assert [(row["event.action"], dict(row["labels"])["error.kind"]) for row in rows["event"]] == [("oom", "oom_kill")]


def test_a_packed_database_is_read(tmp_path):
    """Unpacked with the limits of every input."""
    packed = tmp_path / "trace.db.gz"
    packed.write_bytes(gzip.compress(database(tmp_path / "trace.db", training(0, 2000)).read_bytes()))

    assert len(read(packed)[1]["step"]) == 1


def test_what_is_no_number_is_rejected(tmp_path):
    """SQLite keeps texts and blobs in columns of numbers."""
    path = database(tmp_path / "trace.db", training(0, 2000))
    with sqlite3.connect(path) as connection:
        for wrong in ("'text'", "x'00'", "-5", str(2**62)):
            connection.execute(f"INSERT INTO events (timestamp, pid, tid, source, op, duration) VALUES ({T}, 1, 1, 1, 3, {wrong})")
        connection.execute("INSERT INTO system_snapshots (timestamp, cpu_pct, mem_pct, mem_avail, load_avg) VALUES (5, 'x', 1, 1, 1)")
    connection.close()
    reading, rows = read(path)

    assert (reading.rejected, len(rows["step"])) == (5, 1)


@pytest.mark.parametrize("trick", [
    "CREATE VIEW events AS WITH RECURSIVE n(timestamp) AS (SELECT 1 UNION ALL SELECT timestamp + 1 FROM n) "
    "SELECT timestamp, 1 pid, 1 tid, 1 source, 1 op, 1 duration, 1 arg0 FROM n",
    "CREATE TABLE events (timestamp)",
])
def test_views_and_lacking_columns_are_refused(tmp_path, trick):
    """What a view would run is never run."""
    path = database(tmp_path / "trace.db", [])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE events")
        connection.execute(trick)
    connection.close()

    with pytest.raises(InputError, match="its table events lacks"):
        list(open_input(path, "ebpf_trace"))


def test_a_damaged_database_says_so(tmp_path):
    """Pages of anything, and a file that ends early."""
    path = database(tmp_path / "trace.db", training(0, 4000))
    data = path.read_bytes()
    path.write_bytes(data[:8192] + b"\xff" * (len(data) - 8192))

    with pytest.raises(InputError, match="cannot be read as a database"):
        list(open_input(path, "ebpf_trace"))


def test_nothing_is_written_beside_the_file(tmp_path):
    """No journal, no lock: the folder may be read only."""
    path = database(tmp_path / "trace.db", training(0, 2000))
    read(path)

    assert [one.name for one in tmp_path.iterdir()] == ["trace.db"]
