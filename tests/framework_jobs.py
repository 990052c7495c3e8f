"""Run training code that knows nothing of us in the environment of the frameworks, hooked and not."""

import functools
import json
import os
import subprocess
import tempfile
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from sdk_files import PACKAGE, phases, written

PYTHON = Path(os.environ.get("PINCHPOINT_FRAMEWORKS_PYTHON") or PACKAGE.parent / ".frameworks" / "bin" / "python")

#: A model, a loss, data, and `show`, which prints every bit of a number.
PREAMBLE = """
import sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
torch.set_num_threads(1)
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 4))
    def forward(self, x):
        return self.body(x)
class Slow(Dataset):
    def __init__(self, size, seconds=0.0):
        self.size, self.seconds = size, seconds
    def __len__(self):
        return self.size
    def __getitem__(self, place):
        time.sleep(self.seconds)
        return torch.randn(16, generator=torch.Generator().manual_seed(place)), place % 4
def show(*values):
    print(*(float(getattr(value, "detach", lambda value=value: value)()).hex() for value in values), flush=True)
def busy(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
loss_of = nn.functional.cross_entropy
"""


class Trained(NamedTuple):
    """What a job printed, how it ended, and what its hooks wrote."""

    out: str
    err: str
    status: int
    steps: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def seconds(self, phase: str) -> list[float]:
        """The seconds of a phase, step by step."""
        return [phases(step).get(phase, 0.0) for step in self.steps]

    def marks(self, action: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event.action"] == action]


def environment(folder: Path, *, hooked: bool) -> dict[str, str]:
    """As `watch` makes it: the package alone and the hooks' folder on the path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE") and not name.startswith("PINCHPOINT_")}
    if not hooked:
        return kept
    (folder / "sdk").mkdir(parents=True, exist_ok=True)
    link = folder / "sdk" / "pinchpoint"
    if not link.exists():
        link.symlink_to(PACKAGE)
    return {**kept, "PINCHPOINT_DIR": str(folder), "PINCHPOINT_RUN_ID": "r",
            "PYTHONPATH": f"{folder / 'sdk'}{os.pathsep}{PACKAGE / 'auto' / 'startup'}"}


#: Imports once what takes seconds, then has a forked child run each script; each child has hooks of its own.
_NURSERY = """
import json, os, runpy, sys
import torch
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(job["environment"])
        os.chdir(job["folder"])
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["train.py"]
        sys.path[0] = job["folder"]
        runpy.run_path(job["script"], run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _nursery(hooked: bool) -> subprocess.Popen[str]:
    """The process that begins jobs; it ends with its input, so with us."""
    folder = Path(tempfile.mkdtemp(prefix="pinchpoint-nursery-"))
    return subprocess.Popen([str(PYTHON), "-c", _NURSERY], env=environment(folder, hooked=hooked), text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)


def job(folder: Path, code: str, *, hooked: bool = True, preamble: str = PREAMBLE, fresh: bool = False, **more: str) -> Trained:
    """Run code to its end; its script lies in the folder, for some frameworks read their own source.

    Args:
        folder: where it runs and its records go.
        code: what it does after the preamble.
        hooked: whether it is run as `watch` would.
        preamble: what comes before the code.
        fresh: whether the interpreter is a new one, in which nothing is imported yet.
        more: of the environment.
    """
    folder.mkdir(exist_ok=True)
    script = folder / "train.py"
    script.write_text(preamble + textwrap.dedent(code))
    variables = {**environment(folder, hooked=hooked), **more}
    if fresh:
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            status = subprocess.run([str(PYTHON), str(script)], env=variables, cwd=folder, stdout=out, stderr=err, timeout=110).returncode
    else:
        process = _nursery(hooked)
        assert process.stdin is not None and process.stdout is not None
        print(json.dumps({"folder": str(folder), "script": str(script), "environment": variables}), file=process.stdin, flush=True)
        status = int(process.stdout.readline())
    return Trained((folder / "out").read_text(), (folder / "err").read_text(), status,
                   sorted(written(folder), key=lambda step: (step["rank"], step["step"])), written(folder, "event"))


def trained(folder: Path, code: str, **options: Any) -> Trained:
    """As `job`, which must end well and with every hook on."""
    done = job(folder, code, **options)
    assert done.status == 0, done.err
    assert done.marks("instrumentation_off") == []
    return done


def both(folder: Path, code: str, **options: Any) -> Trained:
    """Run it without hooks and with them: what it prints must be the same."""
    plain = trained(folder / "plain", code, hooked=False, **options)
    hooked = trained(folder / "hooked", code, **options)
    assert plain.out == hooked.out
    assert plain.err.replace(str(folder / "plain"), "") == hooked.err.replace(str(folder / "hooked"), "")
    assert plain.out
    return hooked
