"""Hooks without any framework: how they come into a process, what they make of what they see, and how they stay away."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from sdk_files import PACKAGE, phases, written

from pinchpoint.auto import current
from pinchpoint.auto.loop import Loop
from pinchpoint.auto.run import HookedRun
from pinchpoint.sdk.place import find_place
from pinchpoint.sdk.writing import PHASES

STARTUP = PACKAGE / "auto" / "startup"


def ran(folder: Path, code: str, *, collected: bool = True, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run code in a Python that `watch` would have started; its folder stands first on the path, as that of a script."""
    (folder / "sdk").mkdir(exist_ok=True)
    link = folder / "sdk" / "pinchpoint"
    if not link.exists():
        link.symlink_to(PACKAGE)
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PINCHPOINT_") and name != "RANK"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / "sdk"), str(STARTUP), path]))
    if collected:
        environment |= {"PINCHPOINT_DIR": str(folder), "PINCHPOINT_RUN_ID": "r"}
    # -I would leave the path out, and site packages have nothing to do here
    return subprocess.run([sys.executable, str(script)], env=environment, cwd=folder, capture_output=True, text=True, timeout=60)


#: As much of PyTorch as hooks need; its optimizer, loader and model take no time.
TORCH = """
    import sys, types
    __version__ = "2.0.0"
    def module(name, **members):
        made = sys.modules[name] = types.ModuleType(name)
        made.__dict__.update(members)
        return made
    class Module:
        training = True
        def _wrapped_call_impl(self, *args):
            return self.forward(*args)
        __call__ = _wrapped_call_impl
        def modules(self):
            return [self]
    class _BaseDataLoaderIter:
        def __init__(self, items):
            self.items = iter(items)
        def __iter__(self):
            return self
        def __next__(self):
            return next(self.items)
    class DataLoader:
        num_workers = 0
        def __init__(self, dataset):
            self.dataset = dataset
        def __iter__(self):
            return _BaseDataLoaderIter(self.dataset)
    before, after = [], []
    class Optimizer:
        def step(self):
            for hook in before:
                hook(self, (), {})
            for hook in after:
                hook(self, (), {})
    def no(*args):
        return False
    def is_grad_enabled():
        return True
    is_tensor = no
    def backward(*args):
        pass
    def save(obj, f):
        pass
    def compile(model):
        return model
    optim = module("torch.optim", Optimizer=Optimizer)
    module("torch.optim.optimizer", register_optimizer_step_pre_hook=before.append, register_optimizer_step_post_hook=after.append)
    nn = module("torch.nn", Module=Module)
    autograd = module("torch.autograd", backward=backward)
    compiler = module("torch.compiler", is_compiling=no)
    utils = module("torch.utils")
    utils.data = module("torch.utils.data", DataLoader=DataLoader)
    utils.data.dataloader = module("torch.utils.data.dataloader", DataLoader=DataLoader, _BaseDataLoaderIter=_BaseDataLoaderIter)
    distributed = module("torch.distributed", is_available=no)
    class GradScaler:
        def step(self, optimizer):
            pass
    amp = module("torch.amp", GradScaler=GradScaler)
"""
TRAINS = """
    import torch
    class Net(torch.nn.Module):
        def forward(self, x):
            return x
    net, optimizer = Net(), torch.optim.Optimizer()
    def train(batches):
        for x in torch.utils.data.DataLoader(batches):
            net(x)
            torch.autograd.backward(x)
            optimizer.step()
"""


@pytest.fixture
def torch_like(tmp_path: Path) -> Path:
    (tmp_path / "torch.py").write_text(textwrap.dedent(TORCH))
    return tmp_path


def test_what_the_job_imports_is_hooked(torch_like: Path) -> None:
    """Steps and phases are written, and the module looks as it would have: loader, source and resources."""
    done = ran(torch_like, TRAINS + """
    import importlib.machinery, inspect
    assert type(torch.__loader__) is type(torch.__spec__.loader) is importlib.machinery.SourceFileLoader
    assert "GradScaler" in inspect.getsource(torch)
    train([1, 2, 3])
    """)

    assert (done.returncode, done.stderr) == (0, "")
    assert [step["step"] for step in written(torch_like)] == [0, 1, 2]
    assert all({"data_wait", "forward", "backward", "optimizer"} <= set(phases(step)) for step in written(torch_like))


def test_who_imports_no_framework_pays_next_to_nothing(tmp_path: Path) -> None:
    """Four small modules of ours, nothing else of anybody's, and no file."""
    code = "import sys; print(*sorted(name for name in sys.modules if name.startswith('pinchpoint')))"
    done = ran(tmp_path, code)

    assert done.stdout.split() == ["pinchpoint", "pinchpoint.auto", "pinchpoint.auto.importing", "pinchpoint.sdk"]
    assert ran(tmp_path, code, collected=False).stdout.split() == []
    assert not list(tmp_path.glob("*.ndjson"))


def test_without_a_collector_nothing_is_hooked(torch_like: Path) -> None:
    """`import pinchpoint.auto` may stay in a script."""
    done = ran(torch_like, "    import pinchpoint.auto\n" + TRAINS + "    train([1])\n    print(torch.autograd.backward is torch.backward)",
               collected=False)

    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("body", [
    "print('theirs', __name__, __file__[-16:])", "raise ValueError('theirs')", "import nothing_of_that_name", None])
def test_the_hidden_sitecustomize_runs(tmp_path: Path, body: str | None) -> None:
    """One that another folder of the path has runs as ever, also when it fails; nobody sees ours."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if body is not None:
        (theirs / "sitecustomize.py").write_text(body)
    code = "import sys; print([path for path in sys.path if 'startup' in path], 'pinchpoint.auto' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(theirs)}
    plain = subprocess.run([sys.executable, "-c", "import sys"], env=environment, capture_output=True, text=True, check=True)

    done = ran(tmp_path, code, path=str(theirs))

    assert (done.returncode, done.stdout) == (0, plain.stdout + "[] True\n")
    assert done.stderr == plain.stderr


def test_a_script_that_times_itself_keeps_its_steps(torch_like: Path) -> None:
    """Whenever it starts its run; hooks end there."""
    for when in ("before", "after"):
        folder = torch_like / when
        folder.mkdir()
        (folder / "torch.py").write_text(textwrap.dedent(TORCH))
        starts = "    import pinchpoint; run = pinchpoint.start()\n"
        ran(folder, TRAINS + (starts if when == "before" else "    train([1, 2])\n" + starts) + """
    for x in run.batches([1, 2]):
        with run.step(samples=9):
            train([x])
    """)

    own = [step.get("samples") for step in written(torch_like / "before")]
    both = sorted(str(step.get("samples")) for step in written(torch_like / "after"))
    assert (own, both) == ([9, 9], ["9", "9", "None", "None"])


def test_children_make_runs_only_if_they_train(torch_like: Path) -> None:
    """A forked child that does not train leaves no file; one that does has its own, with nothing of its parent."""
    done = ran(torch_like, TRAINS + """
    import os, sys
    train([1, 2])
    for trains in (False, True):
        child = os.fork()
        if not child:
            if trains:
                train([1, 2, 3])
            sys.exit()
        os.waitpid(child, 0)
    train([3])
    """)

    assert done.stderr == ""
    assert sorted(path.read_text().count('"kind":"step"') for path in torch_like.glob("*.ndjson")) == [3, 3]


def test_a_hook_that_fails_is_off(torch_like: Path) -> None:
    """The job hears nothing of it, the other hooks go on, and the records say which and why."""
    done = ran(torch_like, TRAINS + """
    train([1, 2])
    from pinchpoint.auto.loop import Loop
    def fails(*_):
        raise RuntimeError("a mistake of ours")
    Loop.backward_begins = fails
    train([3, 4])
    """)
    notes = [event for event in written(torch_like, "event") if event["event.action"] == "instrumentation_off"]

    assert (done.returncode, done.stderr) == (0, "")
    assert len(written(torch_like)) == 4
    assert [(note["labels"]["hook"], note["event.reason"]) for note in notes] == [
        ("torch.autograd.backward", "RuntimeError: a mistake of ours")]


@pytest.mark.parametrize(("change", "hook"), [
    ("__version__ = '3.1.0'", None), ("del autograd.backward", "torch.autograd.backward"), ("del amp.GradScaler", "torch.amp.GradScaler")])
def test_an_unknown_version_is_left_alone(torch_like: Path, change: str, hook: str | None) -> None:
    """What is missing turns its hook off, with a note; a version that is not known at all turns off all."""
    (torch_like / "torch.py").write_text(textwrap.dedent(TORCH) + change + "\n")
    done = ran(torch_like, TRAINS.replace("torch.autograd.backward(x)", "pass") + "    train([1, 2])\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert [event["labels"]["hook"] for event in written(torch_like, "event") if event["event.action"] == "instrumentation_off"] == (
        [hook] if hook else [])
    assert len(written(torch_like)) == (2 if hook else 0)


# What is told from what hooks see

@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    made = Loop(HookedRun(find_place(str(tmp_path), "r", environment={})))
    yield made
    made.run.close()


def test_a_failed_optimizer_stops_nothing(loop: Loop, tmp_path: Path) -> None:
    """Its phase ends with the next wait, and steps go on."""
    loop.wait_ends(4) if loop.wait_begins(1, True) else None
    loop.optimizer_begins()
    for _ in range(2):
        assert loop.wait_begins(1, True) is not None
        loop.wait_ends(4)
        loop.optimizer_begins()
        assert loop.optimizer_ends(7)
    loop.run.close()

    assert [step["step"] for step in written(tmp_path)] == [0, 1]


def test_time_that_only_its_end_tells_of_is_charged_once(loop: Loop, tmp_path: Path) -> None:
    """It is taken out of the phase around it, and what contains another is not counted twice."""
    loop.wait_begins(1, True)
    loop.wait_ends(1)
    forward = loop.forward_begins(True, True)
    began = loop.run.at
    while (now := time.perf_counter_ns()) < began + 20_000_000:
        pass
    loop.run.charge_past(PHASES.index("compile"), 5_000_000)
    loop.run.charge_past(PHASES.index("compile"), 15_000_000)
    forward.__exit__(None, None, None)
    loop.optimizer_begins()
    loop.optimizer_ends(1)
    loop.run.close()
    [step] = written(tmp_path)

    assert 0.005 <= step["phase.compile_s"] < 0.006
    assert step["phase.compile_s"] + step["phase.forward_s"] == pytest.approx((now - began) / 1e9, abs=0.002)


def test_no_loop_where_nobody_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is made for who only saves."""
    monkeypatch.setattr(current, "_loop", None)
    monkeypatch.setattr(current, "_off", False)

    assert current.existing() is None
    assert current.loop() is None
