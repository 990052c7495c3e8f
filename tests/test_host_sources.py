"""The host sources: what they read, and what they make of a kernel that lacks it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinchpoint.metrics import METRICS
from shippers.sources.cgroup import CgroupSource
from shippers.sources.host import HostSource
from shippers.sources.process import ProcessSource, parse_stat
from shippers.sources.reading import Reading, number_after
from shippers.watch.signals import adopt_orphans

STAT = (b"cpu  100 10 50 800 40 5 5 20 0 0\ncpu0 50 5 25 400 20 0 0 10 0 0\ncpu1 50 5 25 400 20 0 0 10 0 0\nintr 1 2 3\n")
MEMORY = b"MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  600 kB\nSwapTotal:  100 kB\nSwapFree:  40 kB\n"


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def until(condition: Callable[[], object], seconds: float = 20.0) -> object:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
    return value


def test_host_readings_are_in_the_units_of_the_table(tmp_path: Path) -> None:
    """Ticks become seconds, KiB bytes, microseconds seconds, sectors bytes."""
    ticks = os.sysconf("SC_CLK_TCK")
    root = write(tmp_path, {
        "proc/stat": STAT, "proc/loadavg": b"1.50 1 1 1/2 3\n", "proc/meminfo": MEMORY,
        "proc/vmstat": b"pgmajfault 7\npswpin 3\npswpout 4\n",
        "proc/pressure/cpu": b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\nfull avg10=0 avg60=0 avg300=0 total=0\n",
        "proc/pressure/io": b"some avg10=0.00 avg60=0.00 avg300=0.00 total=500000\nfull avg10=0.0 avg60=0 avg300=0 total=250000\n",
        "proc/diskstats": (b" 8 0 sda 10 0 20 1500 30 0 40 2500 0 3000 4000\n 8 1 sda1 1 0 2 3 4 0 5 6 0 7 8\n"
                           b" 7 0 loop0 1 0 1 1 1 0 1 1 0 1 1\n"),
        "sys/block/sda/x": b"", "sys/block/loop0/x": b"",
    })

    host, disk = HostSource("h", root=root).read()

    assert host == Reading("host", "h", {
        "system.load.1m": 1.5, "system.cpu.count": 2, "system.cpu.busy_s": round(190 / ticks, 2), "system.cpu.iowait_s": 40 / ticks,
        "system.cpu.steal_s": 20 / ticks, "system.memory.total_bytes": 1000 * 1024, "system.memory.available_bytes": 600 * 1024,
        "system.swap.used_bytes": 60 * 1024, "system.paging.major_faults": 7, "system.paging.swap_pages": 7,
        "system.pressure.cpu.some_s": 2.0, "system.pressure.io.some_s": 0.5, "system.pressure.io.full_s": 0.25})
    assert disk == Reading("disk", "h/sda", {
        "disk.reads": 10, "disk.read_bytes": 20 * 512, "disk.read_s": 1.5, "disk.writes": 30, "disk.write_bytes": 40 * 512,
        "disk.write_s": 2.5, "disk.busy_s": 3.0})


def test_absent_files_are_absent_readings(tmp_path: Path) -> None:
    """A kernel without any of the files gives no reading and no error."""
    readings = [*HostSource("h", root=tmp_path).read(), *CgroupSource("h", 1, root=tmp_path).read()]
    processes = ProcessSource("h", 1, root=tmp_path)

    assert readings + processes.read() + processes.read_outside(0.0) == []


@pytest.mark.parametrize("torn", [b"", b"cpu", b"cpu  \n", b"12 (a", b"\x00\xff", b"some total=\n", b"MemTotal:"])
def test_torn_files_do_no_harm(tmp_path: Path, torn: bytes) -> None:
    """A file that says nothing sensible is like one that is not there."""
    names = ("stat", "loadavg", "meminfo", "vmstat", "diskstats", "pressure/cpu", "pressure/io", "1/cgroup", "1/mountinfo", "1/stat")
    root = write(tmp_path, {f"proc/{name}": torn for name in names})

    HostSource("h", root=root).read()
    CgroupSource("h", 1, root=root).read()

    assert ProcessSource("h", 7, root=root).read() == []


def test_a_quiet_disk_is_read_out_each_tenth_time(tmp_path: Path) -> None:
    """Counters that stand still are not repeated each second."""
    root = write(tmp_path, {"proc/diskstats": b" 8 0 sda 10 0 20 1500 30 0 40 2500 0 3000 4000\n", "sys/block/sda/x": b""})
    source = HostSource("h", root=root)

    assert [len(source.read()) for _ in range(12)] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_every_reading_has_a_name_of_the_table() -> None:
    """Whatever this machine can measure is defined in the table of metrics, under its own kind of entity."""
    processes = ProcessSource("h", os.getppid())
    readings = [*HostSource("h").read(), *CgroupSource("h", os.getpid()).read(), *processes.read()]

    assert {"host", "process"} <= {reading.entity_kind for reading in readings}
    for reading in readings:
        for name in reading.metrics:
            assert METRICS[name].entity == reading.entity_kind


@pytest.mark.parametrize(("files", "expected"), [
    ({"proc/1/cgroup": b"0::/a/b\n", "proc/1/mountinfo": b"30 1 0:1 / /cg rw - cgroup2 cgroup2 rw\n",
      "cg/a/cpu.max": b"50000 100000\n", "cg/a/cpu.stat": b"usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1500000\n",
      "cg/a/b/cpu.max": b"max 100000\n", "cg/a/b/cpu.stat": b"nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
      "cg/a/b/memory.max": b"1000\n", "cg/a/b/memory.current": b"500\n", "cg/a/b/memory.events": b"low 0\noom 2\noom_kill 1\n"},
     Reading("cgroup", "h/a/b", {"cgroup.cpu.limit_cores": 0.5, "cgroup.cpu.periods": 9, "cgroup.cpu.throttled_periods": 3,
                                 "cgroup.cpu.throttled_s": 1.5, "cgroup.memory.limit_bytes": 1000, "cgroup.memory.used_bytes": 500,
                                 "cgroup.memory.oom_kills": 1})),
    ({"proc/1/cgroup": b"3:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n",
      "proc/1/mountinfo": b"30 1 0:1 /docker/x /cpu rw - cgroup cgroup rw,cpu,cpuacct\n31 1 0:1 /docker/x /mem rw - cgroup c rw,memory\n",
      "cpu/cpu.cfs_quota_us": b"200000\n", "cpu/cpu.cfs_period_us": b"100000\n",
      "cpu/cpu.stat": b"nr_periods 4\nnr_throttled 2\nthrottled_time 500000000\n",
      "mem/memory.limit_in_bytes": b"9223372036854771712\n", "mem/memory.usage_in_bytes": b"77\n",
      "mem/memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"},
     Reading("cgroup", "h/docker/x", {"cgroup.cpu.limit_cores": 2.0, "cgroup.cpu.periods": 4, "cgroup.cpu.throttled_periods": 2,
                                      "cgroup.cpu.throttled_s": 0.5, "cgroup.memory.used_bytes": 77, "cgroup.memory.oom_kills": 5})),
], ids=["version 2, quota one group above", "version 1 inside a container"])
def test_limits_of_a_control_group(tmp_path: Path, files: dict[str, bytes], expected: Reading) -> None:
    """Limits are found in both versions, and throttling is read where the limit is."""
    assert CgroupSource("h", 1, root=write(tmp_path, files)).read() == [expected]


def test_a_name_may_hold_parentheses() -> None:
    """The fields of a process are counted from the last parenthesis."""
    line = b"7 (a) b (c) S 3 " + b" ".join(b"%d" % number for number in range(5, 53))

    stat = parse_stat(line, 10, 4096)

    assert stat is not None
    assert (stat.name, stat.parent, stat.cpu_s, stat.threads) == ("a) b (c", 3, (14 + 15) / 10, 20)


@pytest.mark.parametrize(("data", "key", "expected"), [
    (b"a: 1\nb: 2", b"b:", 2.0), (b"xb: 1", b"b:", None), (None, b"a", None), (b"a: x", b"a:", None), (b"a:", b"a:", None),
    (b"5\n", b"", 5.0),
])
def test_number_after(data: bytes | None, key: bytes, expected: float | None) -> None:
    """The number after a key at the start of a line."""
    assert number_after(data, key) == expected


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child that has lost its parent, and another process beside."""
    adopt_orphans()
    process = subprocess.Popen([sys.executable, "-S", "-c", (
        "import os, sys\n"
        "if os.fork() == 0:\n    if os.fork() == 0:\n        print(os.getpid(), flush=True)\n        sys.stdin.read()\n    os._exit(0)\n"
        "os.wait()\nsys.stdin.read()")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.communicate()


def test_processes_that_lost_their_parent_stay_in_sight(tree: subprocess.Popen[bytes]) -> None:
    """A process that double-forked belongs to the run still, as long as the root adopts orphans."""
    assert tree.stdout is not None
    orphan = int(tree.stdout.readline())
    source = ProcessSource("h", os.getpid())

    by_pid = {reading.pid: reading for reading in source.read()}

    assert {tree.pid, orphan} <= set(by_pid)
    assert by_pid[orphan].labels == {"process.name": by_pid[tree.pid].labels["process.name"], "process.parent.pid": str(os.getpid()),
                                     "process.role": "run"}
    assert by_pid[tree.pid].metrics["process.memory.rss_bytes"] > 0


def test_a_busy_process_outside_is_named() -> None:
    """A process beside the run that uses most of a core is read out with its role; a sleeping one is not."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as hog:
        try:
            source = ProcessSource("h", 1 << 30)
            began = time.monotonic()
            source.read_outside(began)

            found = until(lambda: [one for one in source.read_outside(time.monotonic()) if one.pid == hog.pid])
        finally:
            hog.kill()
    assert isinstance(found, list)
    assert found[0].labels["process.role"] == "other"
    assert found[0].entity_id == f"h/{hog.pid}"
