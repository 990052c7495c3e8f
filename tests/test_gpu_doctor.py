"""What `pinchpoint doctor` says of the GPUs of a host."""

import dataclasses
from collections.abc import Callable

import pytest
from fake_gpus import HEALTHY, Node

from models.causes import load
from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.doctor.check import Check, Subject
from pinchpoint.metrics import METRICS
from shippers.gpu.doctor import look
from shippers.gpu.needs import NEEDS, TAKE_NO_READING

Make = Callable[[str], Node]


def checks(config: Config | None = None) -> dict[str, Check]:
    return {check.name: check for check in look(Subject(config or Config(), None, SYSTEM_CLOCK))}


def test_healthy_gpus(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many there are, what reading them costs, and that every cause can be told."""
    node(HEALTHY)
    monkeypatch.delenv("FAKE_NVML_CLOCK")  # rates take a clock that runs
    found = checks()

    assert [check.state for check in found.values()] == ["ok"] * 3
    assert found["gpu"].says.startswith("8 GPUs are read, driver 580.95.05. A round of all takes ")
    assert "gpu.fan_ratio: not supported by this GPU" in found["gpu readings"].details
    assert found["gpu causes"].says == "all causes that GPUs can be to blame for can be told apart."


def test_what_is_missing_has_consequences(node: Make) -> None:
    """A GPU without readings of heat and processes names the causes that cannot be told there, and why."""
    node("gpus = 2\n[gpu 1]\nreasons = none\nfail = nvmlDeviceGetComputeRunningProcesses no_permission\n")
    found = checks()

    causes = found["gpu causes"]
    assert causes.state == "warning"
    assert [line[:3] for line in causes.details] == ["I06", "I07", "I14"]
    assert "gpu.processes (needs root)" in causes.details[2]
    assert causes.next_step == "run the agent as root"
    assert "gpu.processes: needs root, GPU 1" in found["gpu readings"].details


def test_a_gpu_that_does_not_answer_is_a_fault(node: Make) -> None:
    """The others are told of all the same."""
    node("gpus = 2\n[gpu 1]\nhang = nvmlDeviceGetUUID\n")
    [first, *_] = look(Subject(Config(), None, SYSTEM_CLOCK))

    assert (first.name, first.state) == ("gpu", "fault")
    assert "does not answer for GPU 1" in first.says


def test_no_gpu_is_no_fault(node: Make) -> None:
    """It has its reason; the setting is one too."""
    node("gpus = 0\n")
    without = Config()
    without = dataclasses.replace(without, ship=dataclasses.replace(without.ship, gpu=None))

    assert [(check.state, check.says) for check in checks().values()] == [("ok", "the driver of GPUs is loaded, and knows no GPU.")]
    assert checks(without)["gpu"].says == "GPUs are left out: ship.gpu is false."


def test_every_cause_of_gpus_has_its_needs() -> None:
    """Who adds a cause that GPUs tell of says here which readings it takes."""
    about_gpus = {cause.id for cause in load().values() if cause.entity == "version" or any(
        name.startswith(("gpu.", "nvlink.")) and not name.startswith("gpu.errors.") for clause in cause.required for name in clause.facts)}

    assert about_gpus - {need.cause for need in NEEDS} == TAKE_NO_READING
    assert {need.cause for need in NEEDS} - {cause.id for cause in load().values()} == set()


def test_needs_name_metrics_there_are() -> None:
    """Each reading that a cause needs is one of the table."""
    assert {metric for need in NEEDS for group in need.groups for metric in group} - set(METRICS) == set()
