"""GPUs of AMD: the same names as those of NVIDIA."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_gpus import Node

from pinchpoint.metrics import METRICS
from shippers.gpu.states import GpuState, before_start

FIRST, SECOND = (f"ccff74a1-0000-1000-80e0-c6d49f5b0d8{index}" for index in range(2))


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    folder = Path(__file__).parent / "fake_amd"
    (tmp_path / "libamd_smi.so").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FAKE_AMD_LOST", str(tmp_path / "lost"))
    monkeypatch.syspath_prepend(str(folder))
    if before_start() != "amd":
        pytest.skip("this host has a driver of NVIDIA, which goes first")
    node = Node(tmp_path, "").start()
    yield node
    if node.source is not None:
        node.source.close()


def test_gpus_of_amd_are_read(gpus: Node) -> None:
    """Readings have our units; what the GPU says N/A of is left out, and what it does not support is not asked for again."""
    assert gpus.read_again(0, 1)
    values = {name: value for reading in gpus.readings if reading.entity_id == FIRST for name, value in reading.metrics.items()}

    assert values == {
        "gpu.busy_ratio": 0.8, "gpu.memory.busy_ratio": 0.4, "gpu.memory.total_bytes": 196592 * 2.0**20, "gpu.memory.used_bytes": 2.0**30,
        "gpu.memory.free_bytes": 195568 * 2.0**20, "gpu.clock.sm_hz": 2.1e9, "gpu.clock.sm_max_hz": 2.1e9, "gpu.clock.memory_hz": 1.3e9,
        "gpu.clock.memory_max_hz": 1.3e9, "gpu.power_w": 650.0, "gpu.energy_j": pytest.approx(15.3), "gpu.temperature_celsius": 61.0,
        "gpu.memory.temperature_celsius": 52.0, "gpu.temperature.slowdown_celsius": 100.0, "gpu.power.limit_w": 750.0,
        "gpu.power.default_limit_w": 750.0, "gpu.ecc.corrected": 3.0, "gpu.ecc.uncorrected": 0.0, "gpu.pcie.width": 16.0,
        "gpu.pcie.width_max": 16.0, "gpu.pcie.generation": 4.0, "gpu.pcie.generation_max": 5.0, "gpu.pcie.replays": 7.0,
        "gpu.clocks_event.software_power_cap": 1.0, "gpu.clocks_event.software_thermal": 0.0, "gpu.processes": 1.0, "gpu.lost": 0.0,
        "gpu.unresponsive": 0.0}
    assert set(values) <= set(METRICS)
    assert gpus.last("gpu.power_w", 1) is None
    assert gpus.last("gpu.clock.memory_hz", 1) is None
    labels = next(reading.labels for reading in gpus.readings if reading.entity_id == FIRST)
    assert labels == {"gpu.index": "0", "gpu.driver_version": "6.12.12", "gpu.name": "AMD Instinct MI300X OAM",
                      "gpu.serial": "0x0000000000000000", "gpu.architecture": "gfx942", "gpu.pci.address": "0000:c0:00.0"}
    processes = {(one.pid, one.metrics["process.gpu.memory_bytes"]) for one in gpus.readings if one.entity_kind == "process"}
    assert processes == {(4242, 2048.0)}


def test_a_lost_gpu_of_amd(gpus: Node) -> None:
    """It is told once, the other is read on, and it may return."""
    gpus.read_again(0, 1)
    lost = Path(os.environ["FAKE_AMD_LOST"])
    lost.touch()
    assert gpus.until(lambda: "gpu_lost" in gpus.kinds())
    assert gpus.read_again(0)
    lost.unlink()

    assert gpus.until(lambda: "gpu_returned" in gpus.kinds())
    assert gpus.kinds() == ["gpu_lost", "gpu_returned"]


def test_without_its_package_there_is_a_reason(tmp_path: Path) -> None:
    """The library alone is not enough; the reason says what to install."""
    (tmp_path / "opt/rocm/lib").mkdir(parents=True)
    (tmp_path / "opt/rocm/lib/libamd_smi.so").touch()

    state = before_start({}, tmp_path)
    assert state is GpuState.NO_PACKAGE
    assert "pinchpoint[amd]" in GpuState.NO_PACKAGE.value
