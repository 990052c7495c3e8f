"""Read what the SDK wrote, and run training code that uses it in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pinchpoint

PACKAGE = Path(pinchpoint.__file__).parent
PREAMBLE = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})" + """
import fcntl, gc, multiprocessing, os, signal, threading, time
import pinchpoint
folder = os.environ["PINCHPOINT_DIR"]
def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
def size():
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
"""


def written(folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    """The records of a kind, file by file; every line must parse."""
    records = [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def phases(record: dict[str, Any]) -> dict[str, float]:
    """Seconds of a step by phase."""
    return {name[len("phase."):-len("_s")]: value for name, value in record.items() if name.startswith("phase.")}


def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; fails after 30 s."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def training(folder: Path, code: str, python: str = sys.executable, **environment: str) -> subprocess.Popen[str]:
    """Start training code that is collected in the folder; `pinchpoint`, `folder`, `until` and `size` are there for it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen([python, "-c", PREAMBLE + textwrap.dedent(code)], text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**kept, "PINCHPOINT_DIR": str(folder), "PINCHPOINT_RUN_ID": "r", **environment})


def trained(folder: Path, code: str, python: str = sys.executable, **environment: str) -> str:
    """Run training code to its end, which must be silent and well; what it printed."""
    process = training(folder, code, python, **environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out.strip()
