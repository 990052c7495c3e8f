"""The example trains, tells its truth, is slow in each way it offers, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[1] / "examples" / "train.py"
WAYS = ("tiny-files", "decode-in-process", "heavy-decode", "slow-sample", "straggler", "uneven-samples", "checkpoint-often",
        "big-checkpoint", "cpu-hog", "cgroup-quota", "memory-leak", "gc-storm", "slower-operator")


def train(*arguments, steps=12):
    command = [sys.executable, str(TRAIN), "--steps", str(steps), "--batch", "32", "--hidden", "64", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def truth(ended):
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])["truth"]


def test_the_loss_falls_and_the_truth_adds_up():
    """A real training run: it learns, and its phases are its wall time."""
    first, later = truth(train(steps=5)), truth(train(steps=80))

    assert later["loss"] < first["loss"]
    parts = sum(later["on_critical_path"][name] for name in ("data_wait", "compute", "communication", "checkpoint", "evaluation"))
    assert parts == pytest.approx(later["wall_s"], rel=0.1)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_being_slow_starts_and_ends(way, tmp_path):
    """And says what it cost."""
    extra = ["--neighbour", str(tmp_path / "neighbour")] if way == "cpu-hog" else []
    ended = train("--slow", way, *extra)
    if "no control group" in ended.stderr:
        pytest.skip(ended.stderr.strip())

    assert way in truth(ended)["lost_s"]


def test_an_interrupt_leaves_no_process_and_no_memory_behind(tmp_path):
    """Ranks and loaders end with the run."""
    before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen([sys.executable, str(TRAIN), "--steps", "100000", "--data", str(tmp_path)], stdout=subprocess.PIPE,
                               text=True, start_new_session=True)
    assert process.stdout is not None
    assert "step" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status = process.wait(60)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(str(tmp_path) in command for command in commands()):
        time.sleep(0.05)

    assert status == 130
    assert not [command for command in commands() if str(tmp_path) in command]
    assert set(os.listdir("/dev/shm")) <= before


def commands():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_what_cannot_be_meant_is_refused():
    """With what is there."""
    ended = train("--slow", "everything")

    assert ended.returncode == 2
    assert "tiny-files" in ended.stderr
