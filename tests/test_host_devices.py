"""Network cards, TCP, processor frequency, file systems and NFS: what is read, and what is missing or hangs."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pinchpoint.metrics import METRICS
from shippers.sources.filesystem import FilesystemSource
from shippers.sources.host import HostSource
from shippers.sources.network import NetworkSource
from shippers.sources.nfs import NfsSource
from shippers.sources.patience import Patience
from shippers.sources.reading import Reading

NET_DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0: 585979580   14865    1    2    0     0          0         0   939181    9409    3    4    0     0       0          0
"""
SNMP = b"""\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs
Tcp: 1 200 120000 -1 28 2 0 0 2 14840 9377 31 0
"""
NETSTAT = b"""\
TcpExt: SyncookiesSent TCPTimeouts TCPSpuriousRTOs
TcpExt: 0 17 1
IpExt: InNoRoutes
IpExt: 0
"""
MOUNTSTATS = b"""\
device /dev/vda mounted on / with fstype ext4
device filer:/export/data mounted on /mnt/my\\040data with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,rsize=1048576,wsize=1048576
\tage:\t94
\tbytes:\t4096 0 0 0 4096 0 1 0
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 0 0 2 0 11 20 20 0 20 0 2 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 7 3 11 0
\t        READ: 10 12 1 1600 10485760 20 300 350 0
\t       WRITE: 0 0 0 0 0 0 0 0 0
\t      COMMIT: 2 2 0 300 200 1 40 45 0
\t     GETATTR: 5 5 0 900 1100 2 10 15 0

device filer:/old mounted on /old with fstype nfs statvers=1.1
\tper-op statistics
\t        READ: 1 1 0 100 200 0 5 6
"""


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_cards_that_carried_packets_are_read(tmp_path: Path) -> None:
    """The loopback and unused cards are left out; the speed is in bytes."""
    root = write(tmp_path, {"proc/net/dev": NET_DEV, "sys/class/net/eth0/speed": b"100000\n"})

    assert NetworkSource("h", root=root).read() == [Reading("nic", "h/eth0", {
        "nic.receive_bytes": 585979580, "nic.receive_packets": 14865, "nic.receive_errors": 1, "nic.receive_drops": 2,
        "nic.transmit_bytes": 939181, "nic.transmit_packets": 9409, "nic.transmit_errors": 3, "nic.transmit_drops": 4,
        "nic.speed_bytes_per_s": 12.5e9})]


def test_virtual_cards_count_where_there_is_no_other(tmp_path: Path) -> None:
    """Beside a device or a bond, the cards of containers show its traffic again."""
    data = b"head|\n" + b"".join(b"%s: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n" % name for name in (b"eth0", b"bond0", b"veth1a2b", b"docker0"))
    source = NetworkSource("h", root=write(tmp_path, {"proc/net/dev": data}))
    assert len(source.read()) == 4

    write(tmp_path, {"sys/class/net/eth0/device/vendor": b"", "sys/class/net/bond0/bonding/mode": b""})
    source = NetworkSource("h", root=tmp_path)
    assert [reading.entity_id for reading in source.read()] == ["h/eth0", "h/bond0"]


def test_a_quiet_card_is_read_now_and_then(tmp_path: Path) -> None:
    """Counters that stand still are told each tenth time; a change of them at once."""
    source = NetworkSource("h", root=write(tmp_path, {"proc/net/dev": NET_DEV, "sys/class/net/eth0/speed": b"-1\n"}))

    assert [len(source.read()) for _ in range(11)] == [1, *[0] * 9, 1]
    write(tmp_path, {"proc/net/dev": NET_DEV.replace(b"14865", b"14866")})
    (reading,) = source.read()
    assert reading.metrics["nic.receive_packets"] == 14866
    assert "nic.speed_bytes_per_s" not in reading.metrics


def test_tcp_and_frequency_are_readings_of_the_host(tmp_path: Path) -> None:
    """They stand in the one reading of the host; kHz become Hz, and the slowest processor counts for the limit."""
    files = {"proc/net/snmp": SNMP, "proc/net/netstat": NETSTAT}
    for number, (now, limit) in enumerate(((1_200_000, 3_000_000), (2_400_000, 2_000_000))):
        files[f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq"] = b"%d\n" % now
        files[f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_max_freq"] = b"%d\n" % limit
    source = HostSource("h", root=write(tmp_path, files))

    tcp = {"system.tcp.segments_sent": 9377, "system.tcp.retransmits": 31, "system.tcp.timeouts": 17}
    assert source.read() == [Reading("host", "h", tcp | {
        "system.cpu.frequency.min_hz": 1.2e9, "system.cpu.frequency.mean_hz": 1.8e9, "system.cpu.frequency.limit_hz": 2e9})]
    assert source.read() == [Reading("host", "h", tcp)]  # frequencies are read each tenth time


def test_without_cpufreq_the_frequency_is_that_of_cpuinfo(tmp_path: Path) -> None:
    """Virtual machines have no limit to read."""
    root = write(tmp_path, {"proc/cpuinfo": b"processor\t: 0\ncpu MHz\t\t: 2445.404\n\nprocessor\t: 1\ncpu MHz\t\t: 2000.0\n"})

    assert HostSource("h", root=root).read() == [Reading("host", "h", {
        "system.cpu.frequency.min_hz": 2e9, "system.cpu.frequency.mean_hz": 2_222_702_000})]


def test_nfs_requests_are_added_up_by_what_they_do(tmp_path: Path) -> None:
    """Milliseconds become seconds; what was sent more often than asked for was sent again."""
    again = MOUNTSTATS[MOUNTSTATS.index(b"device filer:/export") :].partition(b"\n\n")[0].replace(b"/mnt/my\\040data", b"/second")
    root = write(tmp_path, {"proc/self/mountstats": MOUNTSTATS + b"\n" + again + b"\n"})

    new, old = NfsSource("h", root=root).read()
    assert new == Reading("nfs", "h/mnt/my data", {
        "nfs.retransmissions": 2, "nfs.timeouts": 1,
        "nfs.metadata.requests": 6, "nfs.metadata.sent_bytes": 944, "nfs.metadata.received_bytes": 1124,
        "nfs.metadata.queue_s": pytest.approx(0.009), "nfs.metadata.rtt_s": pytest.approx(0.013),
        "nfs.metadata.execute_s": pytest.approx(0.026),
        "nfs.read.requests": 10, "nfs.read.sent_bytes": 1600, "nfs.read.received_bytes": 10485760, "nfs.read.queue_s": 0.02,
        "nfs.read.rtt_s": 0.3, "nfs.read.execute_s": 0.35,
        "nfs.write.requests": 2, "nfs.write.sent_bytes": 300, "nfs.write.received_bytes": 200, "nfs.write.queue_s": 0.001,
        "nfs.write.rtt_s": 0.04, "nfs.write.execute_s": 0.045}, labels={"device": "filer:/export/data", "fstype": "nfs4"})
    assert (old.entity_id, old.metrics["nfs.read.rtt_s"]) == ("h/old", 0.005)


def mounts(*lines: str) -> dict[str, bytes]:
    return {"proc/self/mountinfo": "".join(f"{line}\n" for line in lines).encode()}


def test_file_systems_that_hold_files_are_read(tmp_path: Path) -> None:
    """Kernel file systems and second mounts of the same one are left out; numbers are those of the kernel."""
    root = write(tmp_path, mounts("21 1 254:0 / / rw - ext4 /dev/vda rw", "22 21 0:5 / /proc rw - proc proc rw",
                                  "23 21 254:0 /var /bind rw - ext4 /dev/vda rw", "24 21 0:7 / /tmp rw - tmpfs tmpfs rw",
                                  "25 21 0:8 / /run/containerd/x/rootfs rw - overlay overlay rw"))
    kernel = os.statvfs("/")

    (reading,) = FilesystemSource("h", root=root).read()
    assert (reading.entity_kind, reading.entity_id, reading.labels) == ("filesystem", "h/", {"device": "/dev/vda", "fstype": "ext4"})
    assert reading.metrics["filesystem.total_bytes"] == kernel.f_blocks * kernel.f_frsize
    assert reading.metrics["filesystem.unresponsive"] == 0.0
    assert 0 < reading.metrics["filesystem.available_bytes"] <= reading.metrics["filesystem.total_bytes"]


def test_a_file_system_that_hangs_does_not_hang_the_others(tmp_path: Path) -> None:
    """It is a reading by itself, is waited for once, and is read again as soon as it answers."""
    root = write(tmp_path, mounts("21 1 0:30 / /hangs rw - nfs4 filer:/a rw", "22 1 0:31 / /works rw - nfs4 filer:/b rw",
                                  "23 1 0:32 / /stale rw - nfs4 filer:/c rw"))
    answers = threading.Event()

    def statvfs(path: str) -> os.statvfs_result:
        if path == "/hangs":
            answers.wait(30)
        if path == "/stale":
            raise OSError(116, "Stale file handle")
        return os.statvfs("/")

    source = FilesystemSource("h", root=root, timeout_s=0.5, statvfs=statvfs)

    def unresponsive() -> list[float]:
        return [reading.metrics["filesystem.unresponsive"] for reading in source.read()]

    try:
        assert unresponsive() == [1.0, 0.0, 1.0]
        began = time.monotonic()
        assert unresponsive() == [1.0, 0.0, 1.0]
        assert time.monotonic() - began < 0.4
    finally:
        answers.set()
    until(lambda: unresponsive() == [0.0, 0.0, 1.0])


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def test_patience_gives_what_the_call_gives() -> None:
    """A result, an error, or a TimeoutError."""
    def fail() -> None:
        raise FileNotFoundError("gone")

    patience = Patience()
    assert patience.call(lambda: 3, 5) == 3
    with pytest.raises(FileNotFoundError, match="gone"):
        patience.call(fail, 5)
    with pytest.raises(TimeoutError):
        patience.call(lambda: time.sleep(0.2), 0.01)
    with pytest.raises(TimeoutError, match="earlier call"):
        patience.call(lambda: 3, 5)


def test_this_host_is_read_in_the_names_of_the_table() -> None:
    """Whatever this kernel has is under a name of the table, of the right entity."""
    for source in (HostSource("h"), NetworkSource("h"), FilesystemSource("h"), NfsSource("h")):
        for reading in source.read():
            for name in reading.metrics:
                assert METRICS[name].entity == reading.entity_kind


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"eth0: 1 2\n", b"Tcp: a b\nTcp: x\n", b"Tcp: OutSegs\n",
                                  b"device a mounted on b with\n", b"1 2\n3 - \n - ext4\n"])
def test_files_that_make_no_sense_are_readings_left_out(tmp_path: Path, data: bytes) -> None:
    """A kernel that writes something else costs the reading, not the agent."""
    root = write(tmp_path, dict.fromkeys(("proc/net/dev", "proc/net/snmp", "proc/net/netstat", "proc/self/mountinfo",
                                          "proc/self/mountstats", "proc/cpuinfo"), data))

    for source in (HostSource("h", root=root), NetworkSource("h", root=root), FilesystemSource("h", root=root),
                   NfsSource("h", root=root)):
        assert source.read() == []
