"""What happens when GPUs, their driver, or the process that reads them get into trouble."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpus import QUICK, Node, of
from unkillable import unkillable

from pinchpoint.clock import NS
from shippers.gpu.news import News
from shippers.gpu.skips import Skips
from shippers.gpu.states import GpuState

Make = Callable[[str], Node]


def test_a_call_that_hangs_costs_its_gpu_alone(node: Make) -> None:
    """The others are read on meanwhile; within a deadline it is told, once, and the GPU is read again when its driver answers."""
    gpus = node("gpus = 3\n[gpu 1]\nhang = nvmlDeviceGetTemperature from 5 to 50\n").start()
    assert gpus.read_again(0, 1, 2)
    began_s, before = time.monotonic(), (gpus.count(0), gpus.count(2))

    gpus.at(6)
    assert gpus.until(lambda: "gpu_unresponsive" in gpus.kinds())
    took_s = time.monotonic() - began_s
    during = (gpus.count(0), gpus.count(2))
    assert gpus.read_again(0, 2)
    assert gpus.last("gpu.unresponsive", 1) == 1.0
    assert gpus.source is not None
    problem = gpus.source.problem
    gpus.at(60)
    assert gpus.until(lambda: "gpu_recovered" in gpus.kinds())
    assert gpus.read_again(0, 1, 2)

    # one deadline; each of the others was read in more than half of its rounds meanwhile, on a machine that is busy
    assert took_s < 3 * QUICK.deadline_s + 1
    assert min(now - then for now, then in zip(during, before, strict=True)) > 0.5 * QUICK.deadline_s / QUICK.interval_s
    assert gpus.kinds() == ["gpu_unresponsive", "gpu_recovered"]
    assert "nvmlDeviceGetTemperature" in gpus.events[0]["event.reason"]
    assert gpus.events[0]["labels"]["gpu.uuid"] == "GPU-fa4e0000-0000-4000-8000-000000000001"
    assert problem == "the driver does not answer for GPU 1, which is left alone for a while"
    assert gpus.last("gpu.unresponsive", 1) == 0.0
    assert gpus.source.problem is None


def test_a_call_that_hangs_again_is_tried_ever_more_seldom(node: Make) -> None:
    """Each trial that hangs doubles the time the GPU is left alone; there is never a loop of starts."""
    gpus = node("gpus = 2\n[gpu 1]\nhang = nvmlDeviceGetHandleByIndex\nhang = nvmlDeviceGetUUID\n").start()
    assert gpus.source is not None

    assert gpus.until(lambda: gpus.kinds().count("gpu_unresponsive") == 3)
    assert gpus.count(0) > 10
    assert gpus.source.counters()["gpu.starts"] <= 4


def test_skips_grow_and_are_forgotten() -> None:
    """60 s, then twice as long each time up to an hour; ten minutes without trouble begin anew."""
    skips = Skips()
    lengths, now_s = [], 0.0
    for _ in range(8):
        lengths.append(skips.add(3, now_s))
        now_s += lengths[-1]
        assert skips.over(now_s) == [3]

    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert skips.answered(3, now_s)
    assert not skips.answered(3, now_s + 601)
    assert skips.add(3, now_s + 602) == 60


def test_a_driver_that_does_not_open(node: Make) -> None:
    """Opening has a deadline too; the process is killed, and the state says that the driver is silent."""
    gpus = node("gpus = 1\nhang = nvmlInit to 100\n").start()
    assert gpus.source is not None

    assert gpus.until(lambda: gpus.source.state is GpuState.SILENT)
    assert gpus.source.pid is None
    assert gpus.kinds() == ["gpu_unresponsive"]


def test_waiting_for_events_that_hangs_costs_events_alone(node: Make) -> None:
    """It is told once, the process is started anew without events, all GPUs are read on; later events are listened to again."""
    gpus = node("gpus = 2\nhang = nvmlEventSetWait from 5 to 20\n[gpu 1]\nevent = 32 xid 31\n").start()
    assert gpus.listens(1)
    gpus.at(6)
    assert gpus.until(lambda: gpus.kinds() == ["events_unresponsive"])
    assert gpus.source is not None
    problem = gpus.source.problem
    gpus.at(30)
    assert gpus.read_again(0, 1)
    assert gpus.listens(1, 2)
    gpus.at(33)
    assert gpus.until(lambda: gpus.kinds() == ["events_unresponsive", "xid"])

    assert problem == "waiting for events of the driver did not return: they are not listened to for a while"
    assert gpus.source.problem is None
    assert gpus.source.counters()["gpu.starts"] == 2.0


def test_an_xid_is_told_once(node: Make) -> None:
    """With its meaning and whose fault it is; however long it stays the last one, it is not told again, nor by a new process."""
    gpus = node("gpus = 2\n[gpu 1]\nevent = 5 xid 79\nevent = 7 xid 31\n").start()
    assert gpus.listens(1)
    gpus.at(6)
    assert gpus.until(lambda: gpus.events)
    assert gpus.source is not None
    assert gpus.source.pid is not None
    os.kill(gpus.source.pid, signal.SIGKILL)
    assert gpus.until(lambda: gpus.source.counters()["gpu.starts"] == 2.0)
    assert gpus.listens(1, 2)
    gpus.at(8)
    assert gpus.until(lambda: len(gpus.events) > 1)

    first, second = gpus.events
    assert first["event.action"] == "gpu_error"
    assert first["event.reason"].startswith("XID 79: ")
    assert {name: first["labels"][name] for name in ("xid", "error.kind", "error.blame", "gpu.uuid", "gpu.pci.address")} == {
        "xid": "79", "error.kind": "xid", "error.blame": "hardware", "gpu.uuid": "GPU-fa4e0000-0000-4000-8000-000000000001",
        "gpu.pci.address": "0000:21:00.0"}
    assert (second["labels"]["xid"], second["labels"]["error.blame"]) == ("31", "program")


def test_a_lost_gpu_and_its_return(node: Make) -> None:
    """It is told once, costs the others nothing, and nothing spins; when it is back it is read, and its events are heard again."""
    gpus = node("gpus = 2\n[gpu 1]\nlost = 10 to 20\nevent = 30 xid 31\n").start()
    assert gpus.listens(1)
    gpus.at(11)
    assert gpus.until(lambda: "gpu_lost" in gpus.kinds())
    assert gpus.source is not None
    assert gpus.source.pid is not None
    before_s = cpu_s(gpus.source.pid)
    began_s = time.monotonic()
    gpus.until(lambda: time.monotonic() - began_s > 2)
    share = (cpu_s(gpus.source.pid) - before_s) / 2
    assert gpus.read_again(0)
    assert gpus.last("gpu.lost", 1) == 1.0
    gpus.at(21)
    assert gpus.until(lambda: "gpu_returned" in gpus.kinds())
    assert gpus.read_again(1)
    assert gpus.listens(1, 2)
    gpus.at(31)
    assert gpus.until(lambda: "xid" in gpus.kinds())

    assert share < 0.5
    assert gpus.kinds() == ["gpu_lost", "gpu_returned", "xid"]
    assert gpus.last("gpu.lost", 1) == 0.0
    assert gpus.source.counters()["gpu.starts"] == 1.0


def test_a_gpu_that_was_lost_before(node: Make) -> None:
    """Nobody tells its UUID: it is known by its index until it is back."""
    gpus = node("gpus = 2\n[gpu 1]\nlost = 0 to 20\n").start()
    assert gpus.until(lambda: "gpu_lost" in gpus.kinds())

    assert gpus.events[0]["labels"]["gpu.index"] == "1"
    assert [reading.entity_id for reading in gpus.readings if "gpu.lost" in reading.metrics and of("gpu.index", "1")(reading)] == ["h/1"]


def test_a_driver_that_is_loaded_anew(node: Make) -> None:
    """The process that has the old library ends; when there is a driver again it is opened by a new one."""
    gpus = node("gpus = 2\nfail = * driver_not_loaded from 10 to 20\n").start()
    gpus.read_again(0, 1)
    assert gpus.source is not None
    gpus.at(11)
    assert gpus.until(lambda: gpus.source.state in (GpuState.DRIVER_GONE, GpuState.NO_DRIVER) and gpus.source.pid is None)
    gpus.at(21)

    assert gpus.read_again(0, 1)
    assert gpus.source.counters()["gpu.starts"] >= 2


def test_events_of_all_kinds(node: Make) -> None:
    """What the driver tells beside XIDs has words of its own, and errors of memory are not told a second time by their counters."""
    gpus = node("gpus = 1\n[gpu 0]\nevent = 5 dbe\nevent = 5.1 power_source\nevent = 5.2 recovery_action 1\nevent = 5.3 fatal_poison\n"
                "ecc_uncorrected = 0:0 5:1\nrecovery_action = 0:0 5:1\n").start()
    assert gpus.read_again(0)
    assert gpus.listens(0)
    gpus.at(6)
    assert gpus.until(lambda: len(gpus.events) >= 4)
    gpus.until(lambda: gpus.last("gpu.ecc.uncorrected", 0) == 1.0)
    gpus.read_again(0)

    assert sorted(gpus.kinds()) == ["ecc_uncorrected", "poison_fatal", "power_source", "recovery_action"]
    assert "the GPU has to be reset" in [event["event.reason"] for event in gpus.events]


def test_changes_between_readings_are_told_once(node: Make) -> None:
    """Rows that were replaced, wait or could not be replaced show only in readings; what was so from the start is nothing new."""
    gpus = node("gpus = 2\n[gpu 0]\nremapped_uncorrectable = 0:0 5:1\nremap_pending = 0:0 5:1\nremap_failure = 0:0 8:1\n"
                "[gpu 1]\nremap_pending = 1\n").start()
    gpus.read_again(0, 1)
    for seconds in (6, 7, 9, 10):
        gpus.at(seconds)
        gpus.read_again(0, 1)
        gpus.read_again(0, 1)

    assert sorted(gpus.kinds()) == ["row_remap", "row_remap_failed", "row_remap_pending"]


def test_a_flood_of_events_is_held_back() -> None:
    """Ten of a kind are told a minute; of corrected errors one."""
    news = News("h")
    for place in range(100):
        news.tell(place * NS // 10, "g", {}, "xid", 94)
        news.tell(place * NS // 10, "g", {}, "ecc_corrected")
    news.tell(61 * NS, "g", {}, "ecc_corrected")

    kinds = [record["labels"]["error.kind"] for record in news.take()]
    assert (kinds.count("xid"), kinds.count("ecc_corrected")) == (10, 2)
    assert news.held_back == 90 + 99


def test_the_process_ends_with_its_agent(node: Make) -> None:
    """When the agent is gone nobody reads GPUs any more, also when a call hangs."""
    gpus = node("gpus = 1\n[gpu 0]\nhang = nvmlDeviceGetTemperature from 5\n").start()
    gpus.read_again(0)
    assert gpus.source is not None
    pid = gpus.source.pid
    gpus.at(6)
    gpus.source.close()

    assert not Path(f"/proc/{pid}").exists()


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("line", [b"", b"[", b"{}", b"[]", b'["read"]', b'["read","x",1,2]', b'["device",1,2,3]', b'["hang"]', b"\xff"])
def test_torn_lines_are_nothing(line: bytes) -> None:
    """What the process did not write whole is left out."""
    from pinchpoint.clock import HeldClock
    from shippers.gpu import protocol
    from shippers.gpu.source import GpuSource

    source = GpuSource("h", HeldClock(), QUICK)
    words = protocol.parse(line)
    if words is not None:
        source._take(words)

    assert (source._readings, source.events()) == ([], [])


def test_starting_and_stopping_leaves_nothing(node: Make) -> None:
    """Two hundred sessions of the driver in one process leave no file, no thread and no memory behind; the benchmark does ten thousand."""
    node("gpus = 2\n")
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu_cycles", "200"], cwd=root, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)

    assert before[:2] == after[:2]
    assert after[2] - before[2] < 500


def test_a_process_that_cannot_be_killed_is_left_behind(node: Make) -> None:
    """Its number is told, one more reads the other GPUs, and when the kernel lets go nothing is wrong any more."""
    gpus = node("gpus = 2\n[gpu 1]\nhang = nvmlDeviceGetTemperature from 5\n").start()
    assert gpus.read_again(0, 1)
    assert gpus.source is not None
    held = gpus.source.pid
    assert held is not None
    with unkillable(held):
        gpus.at(6)
        assert gpus.until(lambda: f"process {held} was killed and does not end" in (gpus.source.problem or ""))
        assert gpus.read_again(0)
        assert gpus.source.pid != held

    assert gpus.until(lambda: "was killed" not in (gpus.source.problem or ""))


def test_nothing_is_started_while_two_cannot_be_killed(node: Make) -> None:
    """At most two are held at once; then the state says that nothing more is started, until one of them has ended."""
    gpus = node("gpus = 2\n[gpu 0]\nhang = nvmlDeviceGetUUID from 8\nhang = nvmlDeviceGetUtilizationRates from 8\n"
                "[gpu 1]\nhang = nvmlDeviceGetTemperature from 5\n").start()
    assert gpus.read_again(0, 1)
    assert gpus.source is not None
    first = gpus.source.pid
    assert first is not None
    with unkillable(first):
        gpus.at(6)
        assert gpus.until(lambda: gpus.source.pid not in (None, first))
        assert gpus.read_again(0)
        second = gpus.source.pid
        assert second is not None
        with unkillable(second):
            gpus.at(9)
            assert gpus.until(lambda: gpus.source.state is GpuState.STUCK)
            assert gpus.source.pid is None
            starts = gpus.source.counters()["gpu.starts"]
        assert gpus.until(lambda: gpus.source.counters()["gpu.starts"] > starts)
