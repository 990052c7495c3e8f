"""Errors that several sources tell of: each is one error, and one story with what it slows."""

from typing import Any

import pytest
from runs import START, run_view
from test_gpu_causes import rows, rows_missing, stopped, times

from models.causes import load
from models.reports import told_once
from models.verdict import explain
from models.view import Entity, Event, RunView
from pinchpoint.clock import NS

GPUS = [Entity("gpu", f"GPU-{number}", "h", None, {"gpu.pci.address": f"00000000:0{number + 1}:00.0", "gpu.index": str(number)}, {})
        for number in range(2)]


def by_driver(second: float, gpu: int, xid: int) -> Event:
    """As the driver's own event says it."""
    told = {"error.kind": "xid", "xid": str(xid), "gpu.uuid": f"GPU-{gpu}", "gpu.pci.address": f"0000:0{gpu + 1}:00.0",
            "error.severity": "fatal", "error.blame": "hardware"}
    return Event(START + round(second * NS), "gpu_error", f"XID {xid}", told, "h")


def by_kernel(second: float, gpu: int, xid: int, *, host: str = "h", severity: str = "error") -> Event:
    """As the kernel's log says it, which names the address."""
    told = {"error.kind": "xid", "xid": str(xid), "gpu.pci.address": f"0000:0{gpu + 1}:00.0", "error.severity": severity,
            "error.blame": "hardware", "process.name": "python", "log.message": "NVRM: Xid"}
    return Event(START + round(second * NS), "gpu_error", f"XID {xid}", told, host)


def incidents(view: RunView) -> list[tuple[str, list[str]]]:
    """Symptom and causes of each incident."""
    return [(one["symptom"]["name"], [cause["id"] for cause in one["causes"]]) for one in explain(view, load())["incidents"]]


@pytest.mark.parametrize("swapped", [False, True])
def test_an_error_that_two_sources_tell_is_one(swapped: bool) -> None:
    """With the labels of both, whichever came first; how bad it is says the line."""
    pair = [by_driver(2, 1, 74), by_kernel(3, 1, 74)] if not swapped else [by_kernel(2, 1, 74), by_driver(3, 1, 74)]
    [event] = told_once(pair, [])

    assert (event.details["gpu.uuid"], event.details["process.name"], event.details["error.severity"]) == ("GPU-1", "python", "error")


def test_errors_that_differ_are_kept() -> None:
    """Another GPU, another number, another host, a minute later; and what is no error of a GPU."""
    change = Event(START, "deploy", "x", {}, "h")
    told = [by_driver(2, 1, 74), by_driver(2, 0, 74), by_driver(2, 1, 79), by_kernel(2, 1, 74, host="g"), by_kernel(62, 1, 74), change]

    assert len(told_once(told, [])) == len(told)


def test_an_address_finds_its_uuid() -> None:
    """By the labels of the GPUs that were measured; domains count, for some hosts have a GPU in each."""
    [event] = told_once([by_kernel(2, 1, 79)], GPUS)
    far = Event(START, "gpu_error", "x", {"error.kind": "xid", "xid": "79", "gpu.pci.address": "0001:02:00.0"}, "h")

    assert event.details["gpu.uuid"] == "GPU-1"
    assert "gpu.uuid" not in told_once([far], GPUS)[0].details


def test_errors_that_made_a_rank_slow_are_its_evidence() -> None:
    """One incident, which quotes them; errors of another GPU are a story of their own."""
    view = run_view(times({2: 1.5}), metrics=rows(), events=[by_driver(2, 2, 48), by_kernel(2.5, 2, 48)])

    assert incidents(view) == [("step_time", ["I13"])]
    quoted = [one["value"] for one in explain(view, load())["incidents"][0]["causes"][0]["evidence"] if one["fact"] == "event.gpu_error"]
    assert quoted == ["XID 48 (GPU-2), process python"]
    other = run_view(times({2: 1.5}), metrics=rows(), events=[by_driver(2, 0, 48)])
    assert incidents(other) == [("step_time", ["I12"]), ("errors", ["I13"])]


def test_a_gpu_that_is_lost_for_good_ends_the_run() -> None:
    """There are no slow steps: the errors are the incident, and the GPU is named."""
    view = run_view(times(), metrics=rows(), events=[by_driver(41, 1, 79), by_kernel(41.2, 1, 79, severity="fatal")])
    [incident] = explain(view, load())["incidents"]
    first: dict[str, Any] = incident["causes"][0]

    assert (incident["symptom"]["name"], incident["symptom"]["observed"]) == ("errors", 1.0)
    assert (first["id"], first["entity"]) == ("I24", {"kind": "gpu", "id": "GPU-1"})
    assert "GPU 1 of host h (NVIDIA A100, GPU-1)" in first["why"][1]
    assert [one["cause"] for one in incident["rejected"]] == ["gpu_hardware_error"]


def test_corrected_errors_and_returns_are_no_incident() -> None:
    """What mended itself is told, and explains nothing."""
    quiet = [Event(START + NS, "gpu_error", kind, {"error.kind": kind, "error.severity": "warning", "error.blame": "hardware",
                                                   "gpu.uuid": "GPU-1"}, "h")
             for kind in ("ecc_corrected", "row_remap", "gpu_returned", "gpu_recovered", "power_source")]

    assert incidents(run_view(times(), metrics=rows(), events=quiet)) == []


def test_a_gpu_that_comes_back_is_one_story() -> None:
    """The run stood still without it: the gap and the error are one incident."""
    view = stopped(rows_missing("gpu"))
    view.events.append(by_driver(40, 1, 79))

    assert incidents(view) == [("step_time", ["I24"])]
