"""Things that really make the training slow."""

import contextlib
import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
from train_data import Floats

#: What `--slow` takes, with what it does.
FAULTS = {
    "tiny-files": "read thousands of tiny files, past the page cache, in the loader's workers",
    "decode-in-process": "decompress and augment in the training process, without workers",
    "heavy-decode": "augment each sample in many rounds in the loader's workers",
    "slow-sample": "one batch in eight takes many times the work, and the queue holds one",
    "straggler": "rank 1 computes everything one and a half times",
    "uneven-samples": "batches of lognormal size: another rank is last each step",
    "checkpoint-often": "a compressed checkpoint with fsync every 5 steps",
    "big-checkpoint": "a checkpoint that takes seconds every 60 steps",
    "cpu-hog": "a neighbour that uses all processors (examples/hogs.py, started beside the run)",
    "cgroup-quota": "a control group with a small CPU quota (needs a writable one)",
    "memory-leak": "keep something of each step and walk over all of it each step",
    "gc-storm": "make and collect cyclic garbage every third step",
    "slower-operator": "an activation written as a loop, announced as a change of the configuration",
}
#: Faults that begin at `--slow-from`; the others are there from the first step.
WITH_ONSET = ("cpu-hog", "cgroup-quota", "slower-operator", "straggler")


class Quota:
    """A CPU quota for this process and those it starts, in cgroup v1 or v2."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        for parent in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
            if (parent / "cpu.cfs_quota_us").exists() or "cpu" in _text(parent / "cgroup.subtree_control").split():
                folder = parent / f"pinchpoint-example-{os.getpid()}"
                try:
                    folder.mkdir()
                except OSError:
                    continue
                self._folder = folder
                break
        if self._folder is None:
            raise SystemExit("cgroup-quota: there is no control group with the cpu controller that may be written to")

    def hold(self, pids: list[int], cores: float) -> None:
        """Put processes into the group and limit it."""
        assert self._folder is not None
        if (self._folder / "cpu.cfs_quota_us").exists():
            (self._folder / "cpu.cfs_quota_us").write_text(str(round(cores * 100_000)))
        else:
            (self._folder / "cpu.max").write_text(f"{round(cores * 100_000)} 100000")
        for pid in pids:
            (self._folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Let the processes go and remove the group."""
        if self._folder is not None:
            for pid in _text(self._folder / "cgroup.procs").split():
                with contextlib.suppress(OSError):
                    (self._folder.parent / "cgroup.procs").write_text(pid)
            with contextlib.suppress(OSError):
                self._folder.rmdir()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class Leak:
    """Keeps something of each step, and looks at all of it each step."""

    def __init__(self) -> None:
        self._kept: list[Floats] = []

    def step(self, activations: Floats) -> float:
        """Keep the activations of this step; returns a running mean that needs all of them."""
        self._kept.append(np.repeat(activations, 4, axis=0))
        return float(np.mean([kept.mean() for kept in self._kept]))


def garbage_storm() -> None:
    """Make cycles and let the collector find them."""
    for _ in range(300_000):
        cycle: list[Any] = [None]
        cycle[0] = cycle
    gc.collect()


def looped_relu(values: Floats) -> Floats:
    """The same as np.maximum(values, 0), row by row and piece by piece."""
    result = np.empty_like(values)
    for row in range(values.shape[0]):
        for begin in range(0, values.shape[1], 16):
            piece = values[row, begin: begin + 16]
            result[row, begin: begin + 16] = np.where(piece > 0, piece, 0)
    return result
