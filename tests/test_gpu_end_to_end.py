"""GPUs from the driver to the answer: a run is watched while its driver plays a scenario, and the cause that was provoked comes first."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpus import Node

Make = Callable[[str], Node]
TRAINING = Path(__file__).with_name("gpu_training.py")
#: When the hot GPU makes rank 1 slow.
ONSET_S = 10.0
#: Four GPUs, of which the run uses the first two.
NODE = """
gpus = 4
[gpu *]
name = NVIDIA H100 80GB HBM3
architecture = hopper
gpu_util = 97 ~2
sm_clock = 1755 ~8
temperature = 62 ~0.4
power = 560 ~9
memory_used = 41000
[gpu 2-3]
gpu_util = 0
power = 70
"""
HEAT = """
[gpu 1]
temperature = 0:66 10:66 11:87 ~0.3
reasons = 0:0 10:sw_thermal|hw_thermal|hw_slowdown
sm_clock = 0:1755 10:1755 10.5:1100 ~6
"""
LOST = """
[gpu 1]
event = 8 xid 79
lost = 8.2
"""


def watched(node: Make, pinchpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, run_s: float,
            ratio: float) -> dict:
    """The verdict of a run on a node; the store with its records is `lake`."""
    node(NODE + scenario)
    monkeypatch.delenv("FAKE_NVML_CLOCK")  # time runs
    # watch has to be up before the run begins
    monkeypatch.setenv("FAKE_NVML_EPOCH", str(time.time() + 1.0))
    done = pinchpoint("watch", "--store", str(tmp_path / "lake"), "--run", "r1", "--verdict", str(tmp_path / "verdict"), "--",
                      sys.executable, str(TRAINING), str(run_s), str(ONSET_S), str(ratio), timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict = json.loads((tmp_path / "verdict").read_text())
    return answer


def named(answer: dict) -> list[tuple[str, str, str]]:
    """The first cause of each incident, and who it is."""
    return [(one["causes"][0]["id"], one["causes"][0]["entity"]["kind"], one["causes"][0]["entity"]["id"][-1:]) if one["causes"] else
            ("none", "", "") for one in answer["incidents"]]


@pytest.mark.parametrize(("scenario", "run_s", "ratio", "cause"), [(HEAT, 20.0, 1.6, "I06"), (LOST, 9.0, 1.0, "I24")])
def test_what_was_provoked_comes_first(node: Make, pinchpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str,
                                       run_s: float, ratio: float, cause: str) -> None:
    """One incident, of the GPU of rank 1, in the verdict and in the store; `explain` tells of it."""
    answer = watched(node, pinchpoint, tmp_path, monkeypatch, scenario, run_s, ratio)

    assert named(answer) == [(cause, "gpu", "1")]
    listed = json.loads(pinchpoint("incidents", "--store", str(tmp_path / "lake"), "--format", "json").stdout)
    [one] = listed if isinstance(listed, list) else listed["incidents"]
    told = pinchpoint("explain", one["id"], "--store", str(tmp_path / "lake"))
    assert told.returncode == 0
    assert answer["incidents"][0]["causes"][0]["summary"] in told.stdout


def test_a_healthy_node_is_silent(node: Make, pinchpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No incident, and no errors."""
    assert watched(node, pinchpoint, tmp_path, monkeypatch, "", 9.0, 1.0)["incidents"] == []
