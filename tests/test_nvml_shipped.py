"""GPU readings on their whole way: through the agent and through watch, into a store."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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


def test_a_dry_run_shows_gpus(node: Make, pinchpoint, tmp_path: Path) -> None:
    """The documents that would be sent are complete."""
    node("gpus = 1\n")
    done = pinchpoint("ship", "--dry-run", "--state-dir", str(tmp_path / "state"))

    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["labels"]["gpu.index"] for one in shown if one.get("entity.kind") == "gpu"] == ["0"]


def test_the_reading_process_ends_with_an_agent_that_is_killed(node: Make, tmp_path: Path) -> None:
    """SIGKILL leaves the agent no time to end it, so it ends by itself; the events of a GPU are in the lake before that."""
    made = node("gpus = 1\n[gpu 0]\nevent = 5 xid 79\n")
    command = [str(PINCHPOINT), "ship", "--store", str(tmp_path / "lake"), "--state-dir", str(tmp_path / "state")]
    agent = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        assert eventually(lambda: "nvmlEventSetWait_v2" in (made.calls.read_text() if made.calls.exists() else ""))
        made.at(6)
        assert eventually(lambda: of_kind(tmp_path / "lake", "event"))
        children = Path(f"/proc/{agent.pid}/task")
        [reader] = {int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()}
    finally:
        agent.kill()
        agent.wait()

    assert eventually(lambda: not Path(f"/proc/{reader}/cmdline").exists() or not Path(f"/proc/{reader}/cmdline").read_bytes())
    [event] = of_kind(tmp_path / "lake", "event")
    assert (event["event.action"], dict(event["labels"])["xid"]) == ("gpu_error", "79")


def eventually(holds: Callable[[], object], within_s: float = 30.0) -> bool:
    due = time.monotonic() + within_s
    while time.monotonic() < due:
        if holds():
            return True
        time.sleep(0.05)
    return False
