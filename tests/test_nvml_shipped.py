"""GPU readings on their whole way: through the agent and through watch, into a store."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpus import HEALTHY, Node

from pinchpoint.store import open_store

Make = Callable[[str], Node]
PINCHPOINT = Path(sys.executable).with_name("pinchpoint")
UUIDS = {f"GPU-fa4e0000-0000-4000-8000-{index:012x}" for index in range(8)}


def of_kind(lake: Path, kind: str) -> list[dict]:
    store = open_store(str(lake))
    return [row for split in store.splits(kind) for batch in store.read(split) for row in batch.to_pylist()]


def test_the_agent_ships_gpus_once(node: Make, pinchpoint, tmp_path: Path) -> None:
    """`ship --once` waits until each GPU was read, and the records are in the lake with their labels; nothing of the driver's is left."""
    node(HEALTHY)
    lake = tmp_path / "lake"
    done = pinchpoint("ship", "--once", "--store", str(lake), "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr

    gpus = [row for row in of_kind(lake, "metric") if row["entity.kind"] == "gpu"]
    assert {row["entity.id"] for row in gpus} == UUIDS
    metrics, labels = dict(gpus[0]["metrics"]), dict(gpus[0]["labels"])
    assert metrics["gpu.power.limit_w"] == 700.0
    assert labels["gpu.architecture"] == "hopper"


def test_watch_takes_gpus_in(node: Make, pinchpoint, tmp_path: Path) -> None:
    """A watched run has the readings of its GPUs; the process that reads them is not taken for one of the run."""
    node(HEALTHY)
    lake = tmp_path / "lake"
    done = pinchpoint("watch", "--store", str(lake), "--no-verdict", "--run", "r1", "--", "sleep", "3")
    assert done.returncode == 0, done.stderr

    rows = of_kind(lake, "metric")
    assert {row["entity.id"] for row in rows if row["entity.kind"] == "gpu"} == UUIDS
    assert {row["run.id"] for row in rows} == {"r1"}
    roles = {(dict(row["labels"])["process.name"], dict(row["labels"])["process.role"]) for row in rows
             if row["entity.kind"] == "process" and "process.name" in dict(row["labels"])}
    assert ("sleep", "run") in roles
    assert not any(name.startswith(("python", "pinchpoint")) for name, role in roles if role == "run")
    assert "outlive" not in done.stderr


def test_gpus_can_be_left_out(node: Make, pinchpoint, tmp_path: Path) -> None:
    """With `gpu = false` nothing is started."""
    made = node(HEALTHY)
    (tmp_path / "pinchpoint.toml").write_text("[ship]\ngpu = false\n")
    done = pinchpoint("ship", "--once", "--store", str(tmp_path / "lake"), "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr

    assert not made.calls.exists()
    assert {row["entity.kind"] for row in of_kind(tmp_path / "lake", "metric")} >= {"host"}
    assert not [row for row in of_kind(tmp_path / "lake", "metric") if row["entity.kind"] == "gpu"]


@pytest.mark.parametrize("command", [("ship", "--dry-run")])
def test_a_dry_run_shows_gpus(node: Make, pinchpoint, tmp_path: Path, command: tuple[str, ...]) -> None:
    """The documents that would be sent are complete."""
    node("gpus = 1\n")
    done = pinchpoint(*command, "--state-dir", str(tmp_path / "state"))

    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["labels"]["gpu.index"] for one in shown if one.get("entity.kind") == "gpu"] == ["0"]
