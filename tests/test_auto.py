"""Hooks without any framework: how they come into a process, what they make of what they see, and how they stay away."""

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk_files import PACKAGE, phases, written

from pinchpoint.auto import noting
from pinchpoint.auto.loop import Loop
from pinchpoint.sdk.writing import PHASES, Iteration, Mark

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
        def parameters(self):
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
    class Strange:
        def __fspath__(self):
            raise RuntimeError("a mistake")
    import os
    os.PathLike.register(Strange)
    torch.save(net, Strange())
    torch.save(net, "net.pt")
    train([3, 4])
    """)
    notes = [event for event in written(torch_like, "event") if event["event.action"] == "instrumentation_off"]

    assert (done.returncode, done.stderr) == (0, "")
    assert len(written(torch_like)) == 4
    assert [(note["labels"]["hook"], note["event.reason"]) for note in notes] == [
        ("torch.save", "RuntimeError: a mistake")]
    assert not [event for event in written(torch_like, "event") if event["event.action"] == "checkpoint"]


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


# What is told from notes

class Told:
    """A loop that reads notes, each a millisecond after the one before, or later."""

    def __init__(self) -> None:
        self.records: list[Iteration | Mark] = []
        self.loop = Loop(self.records.append)
        self.now = 0

    def read(self, code: int, *rest: object, after_ms: int = 1) -> None:
        self.now += after_ms
        self.loop.read(code, self.now * 1_000_000, *rest)

    def batch(self, source: int = 1, *, grad: bool = True, samples: int = 4) -> None:
        self.read(noting.WAIT, 0, source, grad)
        self.read(noting.WAITED, 0, source, samples)

    def train(self, optimizer: int = 7) -> None:
        for code, rest in ((noting.FORWARD, (True, True)), (noting.FORWARDED, ()), (noting.BACKWARD, ()), (noting.BACKWARDED, ()),
                           (noting.OPTIMIZER, ()), (noting.OPTIMIZED, (optimizer,))):
            self.read(code, *rest)

    def steps(self) -> list[tuple[int, dict[str, int]]]:
        """Milliseconds of each step and of its phases."""
        self.loop.close()
        return [((step.end - step.begin) // 1_000_000,
                 {name: spent // 1_000_000 for name, spent in zip(PHASES, step.spent, strict=True) if spent})
                for step in self.records if isinstance(step, Iteration)]


PHASES_OF_A_STEP = {"data_wait": 1, "forward": 1, "backward": 1, "optimizer": 1}


def test_steps_of_batches() -> None:
    """From the wait to the end of the optimizer; what follows belongs to none, the wait that finds no batch neither."""
    told = Told()
    for _ in range(2):
        told.batch()
        told.train()
        told.now += 50
    told.read(noting.WAIT, 0, 1, True)
    told.read(noting.STOPS, 1)

    assert told.steps() == [(7, PHASES_OF_A_STEP)] * 2


def test_batches_may_be_fetched_ahead() -> None:
    """The wait for the next batch stands in the step of the one before, and the last batch is a step too."""
    told = Told()
    told.batch()
    told.batch()
    told.train()
    told.read(noting.WAIT, 0, 1, True)
    told.read(noting.STOPS, 1)
    told.train()

    assert [phases for _, phases in told.steps()] == [PHASES_OF_A_STEP | {"data_wait": 2}, {"forward": 1, "backward": 1, "optimizer": 1}]


def test_a_failed_optimizer_stops_nothing() -> None:
    """Its phase ends with the next wait, and steps go on."""
    told = Told()
    told.batch()
    told.read(noting.OPTIMIZER)
    for _ in range(2):
        told.batch()
        told.train()

    assert len(told.steps()) == 2


def test_processor_time_of_waits() -> None:
    """It is known of a step if it was asked for in each of its waits; asked for where waits matter."""
    told = Told()
    for cpu in ((0, 700), (None, 900), (1000, 1200)):
        told.read(noting.WAIT, cpu[0], 1, True)
        told.read(noting.WAITED, cpu[1], 1, 4)
        told.train()
    told.loop.close()

    assert [step.wait_cpu for step in told.records if isinstance(step, Iteration)] == [700, None, 200]
    assert told.loop.waits_matter
    told.now += 1
    told.batch()
    told.now += 100
    told.train()
    assert not told.loop.waits_matter


def test_phases_are_exclusive() -> None:
    """What is inside another is taken out of it; outside a step it lengthens the one before."""
    told = Told()
    told.batch()
    told.read(noting.FORWARD, True, True)
    for phase in ("communication", "gc"):
        told.read(noting.ENTER, phase)
    for phase in ("gc", "communication"):
        told.read(noting.LEAVE, phase)
    told.read(noting.FORWARDED)
    told.train()
    told.read(noting.ENTER, "checkpoint")
    told.read(noting.LEAVE, "checkpoint", after_ms=10)

    assert told.steps() == [(24, PHASES_OF_A_STEP | {"forward": 3, "communication": 2, "gc": 1, "checkpoint": 10})]


def test_time_that_only_its_end_tells_of_is_charged_once() -> None:
    """It is taken out of the phase around it, and what contains another is not counted twice."""
    told = Told()
    told.batch()
    told.read(noting.FORWARD, True, True)
    told.read(noting.PAST, "compile", 5_000_000, after_ms=20)
    told.read(noting.PAST, "compile", 15_000_000)
    told.read(noting.FORWARDED)
    told.read(noting.OPTIMIZED, 7)

    assert told.steps() == [(25, {"data_wait": 1, "forward": 16, "compile": 6})]


def test_waits_that_are_told_later_are_taken_out_of_the_step_before() -> None:
    """Once, and never more than there is."""
    told = Told()
    for spent in (0, 400_000, 5_000_000):
        told.batch()
        told.read(noting.EXPOSED, spent)
        told.read(noting.EXPOSED, spent)
        told.train()

    assert [step.spent[PHASES.index("communication")] for step in told.records if isinstance(step, Iteration)] == [400_000, 1_000_000]


def test_marks_wait_for_a_step() -> None:
    """Who makes none leaves none; a mark knows its step."""
    told = Told()
    told.read(noting.MARK, "config", "new", {"lr": 0.1})
    told.batch()
    told.loop.close()
    before = list(told.records)
    told.train()
    told.read(noting.MARK, "checkpoint", None, {})

    assert before == []
    assert [(mark.action, mark.reason, mark.step, mark.labels) for mark in told.records if isinstance(mark, Mark)] == [
        ("config", "new", 0, {"lr": "0.1"}), ("checkpoint", None, 0, {})]


NOTES = [
    (noting.WAIT, 0, 1, True), (noting.WAIT, None, 2, False), (noting.WAITED, 0, 1, 4), (noting.WAITED, None, 2, 4), (noting.STOPS, 1),
    (noting.STOPS, 2), (noting.STARTS, True), (noting.STARTED,), (noting.FORWARD, True, True), (noting.FORWARD, False, False),
    (noting.FORWARDED,), (noting.BACKWARD,), (noting.BACKWARDED,), (noting.OPTIMIZER,), (noting.OPTIMIZED, 7), (noting.OPTIMIZED, 8),
    (noting.ENTER, "gc"), (noting.LEAVE, "gc"), (noting.ENTER, "checkpoint"), (noting.LEAVE, "checkpoint"), (noting.EXPOSED, 700_000),
    (noting.PAST, "compile", 3_000_000), (noting.BEGINS,), (noting.STEPPED,)]


@given(st.lists(st.sampled_from(NOTES), max_size=60))
def test_whatever_is_noted_the_account_is_right(notes: list[tuple[object, ...]]) -> None:
    """Steps follow each other, and phases never exceed the step; no order of notes raises."""
    told = Told()
    for code, *rest in notes:
        told.read(code, *rest)
    told.loop.close()
    steps = [step for step in told.records if isinstance(step, Iteration)]

    assert [step.number for step in steps] == list(range(len(steps)))
    assert all(sum(step.spent) <= step.end - step.begin and min(step.spent) >= 0 for step in steps)
    assert all(one.end <= other.begin for one, other in itertools.pairwise(steps))
