"""What is read of GPUs through NVML, on a driver library that plays scenarios."""

import collections
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpus import HEALTHY, Node, of

from pinchpoint.metrics import METRICS
from shippers.gpu.states import GpuState, before_start

Make = Callable[[str], Node]


def test_eight_healthy_gpus(node: Make) -> None:
    """Each is read under its UUID with what it is as labels, in our units, and nothing has happened."""
    gpus = node(HEALTHY).start()
    gpus.at(10)
    assert gpus.read_again(*range(8))
    gpus.at(12)
    assert gpus.until(lambda: all(gpus.last("gpu.sm.active_ratio", index) for index in range(8)))

    first = next(reading for reading in gpus.readings if of("gpu.index", "0")(reading))
    assert first.entity_kind == "gpu"
    assert first.entity_id == "GPU-fa4e0000-0000-4000-8000-000000000000"
    assert first.labels == {
        "gpu.index": "0", "gpu.driver_version": "580.95.05", "gpu.name": "NVIDIA H100 80GB HBM3", "gpu.serial": "1650000000000",
        "gpu.vbios": "96.00.89.00.01", "gpu.architecture": "hopper", "gpu.pci.address": "0000:19:00.0"}
    assert gpus.last("gpu.busy_ratio", 0) == pytest.approx(0.97, abs=0.03)
    assert gpus.last("gpu.clock.sm_hz", 0) == pytest.approx(1755e6, abs=10e6)
    assert gpus.last("gpu.power_w", 0) == pytest.approx(648, abs=10)
    assert gpus.last("gpu.energy_j", 0) == pytest.approx(8.4e8 + 12 * 648, abs=100)
    assert gpus.last("gpu.memory.used_bytes", 0) == 71240 * 2**20
    assert gpus.last("gpu.sm.active_ratio", 0) == pytest.approx(0.88, abs=0.03)
    assert gpus.last("gpu.nvlink.transmit_bytes_per_s", 0) == pytest.approx(96e9, rel=0.01)
    assert gpus.last("gpu.pcie.receive_bytes_per_s", 0) == pytest.approx(1150e6, rel=0.1)
    assert gpus.last("gpu.power.limit_w", 0) == 700.0
    assert gpus.last("gpu.nvlink.links_active", 0) == 18.0
    assert gpus.last("gpu.lost", 0) == gpus.last("gpu.unresponsive", 0) == 0.0
    assert gpus.events == []


def test_all_readings_are_in_the_table(node: Make) -> None:
    """Every metric has a line in the table of metrics, and those of a process too."""
    gpus = node(HEALTHY).start()
    gpus.read_again(0)
    gpus.at(1)
    gpus.read_again(0)

    assert {name for reading in gpus.readings for name in reading.metrics} - set(METRICS) == set()


def test_a_hot_gpu(node: Make) -> None:
    """Slowing down for heat shows as flags while it lasts, and as time in counters that a sampler cannot miss."""
    gpus = node((Path(__file__).parent / "fake_nvml" / "thermal_and_xid79.conf").read_text()).start()
    gpus.at(200)
    gpus.read_again(2, 3)

    assert gpus.last("gpu.clocks_event.software_thermal", 3) == gpus.last("gpu.clocks_event.hardware_thermal", 3) == 1.0
    assert gpus.last("gpu.clocks_event.software_power_cap", 3) == 0.0
    assert gpus.last("gpu.throttled.software_thermal_s", 3) == pytest.approx(110)
    assert gpus.last("gpu.throttled.hardware_thermal_s", 3) == pytest.approx(80)
    assert gpus.last("gpu.clock.sm_hz", 3) == pytest.approx(1170e6, abs=10e6)
    assert gpus.last("gpu.throttled.software_thermal_s", 2) == 0.0


def test_a_power_cap(node: Make) -> None:
    """A limit below what the board was made for shows beside the time it costs."""
    gpus = node("gpus = 1\n[gpu 0]\npower_limit = 0:700 5:400\nreasons = 0:0 5:sw_power_cap\n").start()
    gpus.at(25)
    gpus.until(lambda: gpus.last("gpu.power.limit_w", 0) == 400.0)

    assert gpus.last("gpu.power.default_limit_w", 0) == 700.0
    assert gpus.last("gpu.clocks_event.software_power_cap", 0) == 1.0
    assert gpus.last("gpu.throttled.power_s", 0) == pytest.approx(20)


def test_what_is_not_supported_is_asked_for_once(node: Make) -> None:
    """A field, a call and GPM that a GPU does not have are learnt, each by one question; the other GPU is asked on."""
    gpus = node("gpus = 2\n[gpu 1]\narchitecture = ampere\nfail = field:82 not_supported\n"
                "fail = nvmlDeviceGetTemperature not_supported\n").start()
    gpus.read_again(0, 1)
    gpus.read_again(0, 1)
    calls = collections.Counter(gpus.calls.read_text().splitlines())

    assert [calls[f"{name} 1"] for name in ("field:82", "nvmlDeviceGetTemperature", "nvmlGpmQueryDeviceSupport", "nvmlGpmSampleGet")] == [
        1, 1, 1, 0]
    assert calls["field:82 0"] >= 4
    assert calls["nvmlDeviceGetTemperature 0"] >= 4
    assert gpus.last("gpu.temperature_celsius", 1) is None
    assert gpus.source is not None
    missing = gpus.source.learnt[1][0]
    assert missing["gpu.memory.temperature_celsius"] == missing["gpu.temperature_celsius"] == "not supported by this GPU"
    assert "gpu.sm.active_ratio" in missing
    assert "gpu.sm.active_ratio" not in gpus.source.learnt[0][0]


def test_what_fails_once_is_asked_for_again(node: Make) -> None:
    """An error that may pass leaves a reading out as long as it lasts."""
    gpus = node("gpus = 1\n[gpu 0]\nfail = nvmlDeviceGetTemperature unknown to 10\nfail = field:82 unknown to 10\n").start()
    gpus.read_again(0)
    during = gpus.last("gpu.temperature_celsius", 0), gpus.last("gpu.memory.temperature_celsius", 0)
    gpus.at(11)

    assert during == (None, None)
    assert gpus.until(lambda: gpus.last("gpu.temperature_celsius", 0) == 30.0 and gpus.last("gpu.memory.temperature_celsius", 0) == 40.0)


def test_older_gpus_are_read_in_older_ways(node: Make) -> None:
    """Without average power as a field and without rates of GPM there is power of the board, and rates are differences of counters."""
    gpus = node("gpus = 1\n[gpu 0]\narchitecture = volta\npower = 250\nnvlink_tx = 1000\npcie_rx = 500\n").start()
    gpus.at(1)
    gpus.read_again(0)
    gpus.at(3)

    assert gpus.until(lambda: gpus.last("gpu.nvlink.transmit_bytes_per_s", 0) == pytest.approx(1e9, rel=1e-3))
    assert gpus.last("gpu.pcie.receive_bytes_per_s", 0) == pytest.approx(500e6, rel=1e-3)
    assert gpus.last("gpu.power_w", 0) == 250.0


def test_processes_and_their_ranks(node: Make) -> None:
    """Each process tells how much memory it holds on which GPU, and which rank of which run it is."""
    command = subprocess.Popen(["sleep", "60"], env={**os.environ, "RANK": "3", "PINCHPOINT_RUN_ID": "r1"})
    try:
        gpus = node(f"gpus = 1\n[gpu 0]\nprocess = {command.pid} 1024 90 sleep\n").start()
        gpus.until(lambda: any(reading.entity_kind == "process" and "rank" in (reading.labels or {}) for reading in gpus.readings))
    finally:
        command.kill()
        command.wait()

    [reading, *_] = [one for one in gpus.readings if one.entity_kind == "process" and "rank" in (one.labels or {})]
    assert (reading.entity_id, reading.pid) == (f"h/{command.pid}", command.pid)
    assert reading.metrics == {"process.gpu.memory_bytes": 1024 * 2**20}
    labels = reading.labels or {}
    assert [labels[name] for name in ("gpu.uuid", "run.id", "rank")] == ["GPU-fa4e0000-0000-4000-8000-000000000000", "r1", "3"]
    assert gpus.last("gpu.processes", 0) == 1.0


def test_mig_instances(node: Make) -> None:
    """Each instance is a GPU of its own under its UUID, knows its parent, and comes and goes while the parent is read on."""
    gpus = node("gpus = 1\n[gpu 0]\nsm_active = 80\nmig_instance = 1 40000 0.5\nmig_instance = 2 20000 0.25 5 20\n"
                "process = 11 100 90 a\n").start()
    parent, first, second = "GPU-fa4e0000-0000-4000-8000-000000000000", "MIG-fa4e0000-0000-4000-8001-000000000000", (
        "MIG-fa4e0000-0000-4000-8002-000000000000")
    gpus.until(lambda: any(reading.entity_id == first for reading in gpus.readings))
    before = {reading.entity_id for reading in gpus.readings if reading.entity_kind == "gpu"}
    gpus.at(6)
    gpus.until(lambda: any(reading.entity_id == second for reading in gpus.readings))
    gpus.at(8)
    assert gpus.until(lambda: any("gpu.sm.active_ratio" in reading.metrics for reading in gpus.readings if reading.entity_id == second))
    gpus.at(21)
    gpus.until(lambda: not any(reading.entity_id == second for reading in gpus.readings[-4:]))

    assert before == {parent, first}
    [reading, *_] = [one for one in gpus.readings if one.entity_id == second and "gpu.sm.active_ratio" in one.metrics]
    labels = reading.labels or {}
    assert [labels[name] for name in ("gpu.parent.uuid", "gpu.index", "gpu.name")] == [parent, "0", "NVIDIA H100 80GB HBM3 MIG"]
    assert reading.metrics["gpu.sm.active_ratio"] == pytest.approx(0.2)
    assert reading.metrics["gpu.memory.total_bytes"] == 20000 * 2**20
    assert gpus.last("gpu.mig.enabled", 0) == 1.0
    holders = {(one.labels or {})["gpu.uuid"] for one in gpus.readings if one.entity_kind == "process" and one.pid == 11}
    assert holders == {parent, first}


def test_no_driver_is_a_state_and_costs_nothing(tmp_path: Path) -> None:
    """Where the library is not installed nothing is started, and the reason has a name."""
    assert before_start({}, tmp_path) is GpuState.NO_LIBRARY
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ld.so.cache").write_bytes(b"\0libnvidia-ml.so.1\0/opt/lib/libnvidia-ml.so.1\0")
    assert before_start({}, tmp_path) == "nvidia"


@pytest.mark.parametrize(("scenario", "state"), [
    ("gpus = 0\n", GpuState.NO_GPU), ("gpus = 1\nfail = nvmlInit driver_not_loaded\n", GpuState.NO_DRIVER),
    ("gpus = 1\nfail = nvmlInit lib_rm_version_mismatch\n", GpuState.VERSION_MISMATCH),
    ("gpus = 1\nfail = nvmlInit no_permission\n", GpuState.FORBIDDEN)])
def test_reasons_to_read_nothing_have_names(node: Make, scenario: str, state: GpuState) -> None:
    """The reading process ends and is not started again soon."""
    gpus = node(scenario).start()
    assert gpus.source is not None

    assert gpus.until(lambda: gpus.source.state is state and gpus.source.pid is None)
    assert gpus.source.counters()["gpu.starts"] == 1.0
    assert (gpus.source.problem is None) == state.is_normal
