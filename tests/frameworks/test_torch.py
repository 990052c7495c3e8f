"""PyTorch on a CPU: steps and phases come from code that knows nothing of us, and nothing else changes."""

from pathlib import Path

import pytest
from framework_jobs import both, job, trained
from sdk_files import phases


def test_a_loop_over_batches(tmp_path: Path) -> None:
    """Each batch is a step with its wait, forward, backward and optimizer; numbers stay the same bit for bit; phases fit into steps."""
    done = both(tmp_path, """
        net, loader = Net(), DataLoader(Slow(80, 0.001), batch_size=8, shuffle=True)
        optimizer = torch.optim.Adam(net.parameters())
        for epoch in range(2):
            for x, y in loader:
                optimizer.zero_grad()
                loss = loss_of(net(x), y)
                loss.backward()
                optimizer.step()
                show(loss)
        show(torch.rand(1))
    """)

    assert [step["step"] for step in done.steps] == list(range(20))
    assert [step["samples"] for step in done.steps] == [8] * 20
    for step in done.steps:
        assert {"data_wait", "forward", "backward", "optimizer"} <= set(phases(step))
        assert step["phase.data_wait_s"] >= 0.008
        assert sum(phases(step).values()) <= step["duration_s"] * 1.0001
    assert [mark["labels"]["num_workers"] for mark in done.marks("dataloader")] == ["0"]


def test_time_goes_to_the_phase_that_took_it(tmp_path: Path) -> None:
    """What a model, a gradient and an optimizer take is found again, to some milliseconds."""
    done = trained(tmp_path, """
        class Wait(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()
            @staticmethod
            def backward(ctx, grad):
                busy(0.02)
                return grad
        class Slower(Net):
            def forward(self, x):
                busy(0.01)
                return Wait.apply(super().forward(x))
        class Plain(torch.optim.SGD):
            def step(self, closure=None):
                busy(0.03)
                return super().step(closure)
        net, loader = Slower(), DataLoader(Slow(80), batch_size=8)
        optimizer = Plain(net.parameters(), lr=0.1)
        for x, y in loader:
            loss_of(net(x), y).backward()
            optimizer.step()
    """)

    for phase, seconds in (("forward", 0.01), ("backward", 0.02), ("optimizer", 0.03)):
        took = done.seconds(phase)
        assert (len(took), seconds) == (10, pytest.approx(min(took), abs=0.008))


def test_worker_processes_make_no_runs(tmp_path: Path) -> None:
    """Loaders may have processes, whose data sets may compute and even train: one process writes."""
    done = both(tmp_path, """
        class Trains(Slow):
            def __getitem__(self, place):
                inner = nn.Linear(16, 16)
                with torch.no_grad():
                    inner.weight.zero_()
                optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
                for x, in DataLoader(TensorDataset(torch.ones(2, 16))):
                    inner(x).sum().backward()
                    optimizer.step()
                return super().__getitem__(place)
        if __name__ == "__main__":
            for context in ("fork", "spawn"):
                net, loader = Net(), DataLoader(Trains(24), batch_size=8, num_workers=2, multiprocessing_context=context)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    loss = loss_of(net(x), y)
                    loss.backward()
                    optimizer.step()
                    show(loss)
    """)

    assert len({step["process.pid"] for step in done.steps}) == 1
    assert len(done.steps) == 6
    assert len(list((tmp_path / "hooked").glob("*.ndjson"))) == 1


def test_accumulated_gradients_make_one_step(tmp_path: Path) -> None:
    """A step lasts until the optimizer has stepped, and has the samples of all its batches."""
    done = both(tmp_path, """
        net, loader = Net(), DataLoader(Slow(96), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for number, (x, y) in enumerate(loader):
            loss = loss_of(net(x), y) / 4
            loss.backward()
            if number % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
            show(loss)
    """)

    assert [step["samples"] for step in done.steps] == [32, 32, 32]


def test_several_optimizers_on_a_batch_make_one_step(tmp_path: Path) -> None:
    """As in a GAN: one for each batch of the loader, both models in it."""
    done = both(tmp_path, """
        makes, judges = nn.Linear(4, 16), nn.Linear(16, 1)
        first, second = torch.optim.Adam(judges.parameters()), torch.optim.Adam(makes.parameters())
        for x, _ in DataLoader(Slow(80), batch_size=8):
            first.zero_grad()
            loss = judges(x).mean() - judges(makes(torch.randn(8, 4)).detach()).mean()
            loss.backward()
            first.step()
            second.zero_grad()
            other = -judges(makes(torch.randn(8, 4))).mean()
            other.backward()
            busy(0.002)
            second.step()
            show(loss, other)
    """)

    assert [step["step"] for step in done.steps] == list(range(10))
    assert all(step["duration_s"] > 0.002 for step in done.steps)


def test_loops_without_a_loader(tmp_path: Path) -> None:
    """Each step of the optimizer ends a step, and the next one begins there: what makes the batch is in it."""
    done = both(tmp_path, """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(10):
            x = torch.randn(8, 16)
            busy(0.005)
            loss = loss_of(net(x), torch.zeros(8, dtype=torch.long))
            loss.backward()
            optimizer.step()
            show(loss)
    """)

    assert len(done.steps) == 10
    assert all(step["duration_s"] > 0.005 for step in done.steps[1:])
    assert all(sum(phases(step).values()) < step["duration_s"] - 0.004 for step in done.steps[1:])


def test_one_batch_for_many_steps(tmp_path: Path) -> None:
    """Whoever trains on one batch again and again makes a step each time, but for the first repeat."""
    done = both(tmp_path, """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = next(iter(DataLoader(Slow(8), batch_size=8)))
        for _ in range(10):
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            show(loss)
    """)

    assert len(done.steps) == 9


@pytest.mark.parametrize("inside", [False, True], ids=["around the loop", "in the loop"])
def test_evaluation_lengthens_the_step_before(tmp_path: Path, inside: bool) -> None:
    """A loop over batches without gradients is evaluation and no step, wherever they are turned off."""
    around, within = ("torch.enable_grad()", "torch.no_grad()") if inside else ("torch.no_grad()", "torch.enable_grad()")
    done = both(tmp_path, f"""
        net, loader, other = Net(), DataLoader(Slow(40), batch_size=8), DataLoader(Slow(32, 0.001), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(3):
            net.train()
            for x, y in loader:
                loss = loss_of(net(x), y)
                loss.backward()
                optimizer.step()
            net.eval()
            with {around}:
                for x, y in other:
                    with {within} if {inside} else {around}:
                        show(loss_of(net(x), y))
                    busy(0.001)
    """)

    assert len(done.steps) == 15
    took = done.seconds("evaluation")
    assert [number for number, seconds in enumerate(took) if seconds] == [4, 9, 14]
    assert all(took[number] > 0.034 for number in (4, 9, 14))


def test_a_teacher_without_gradients_is_no_evaluation(tmp_path: Path) -> None:
    """In a step that computes gradients too, it is forward."""
    done = both(tmp_path, """
        net, teacher, loader = Net(), Net().eval(), DataLoader(Slow(80), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            with torch.no_grad():
                busy(0.001)
                target = teacher(x).argmax(1)
            loss = loss_of(net(x), target)
            loss.backward()
            optimizer.step()
            show(loss)
    """)

    assert len(done.steps) == 10
    assert sum(done.seconds("evaluation")) == 0


def test_models_are_copied_and_pickled_as_ever(tmp_path: Path) -> None:
    """Nothing of ours is in what is saved, though the class is hooked; not even where the class itself is pickled."""
    done = both(tmp_path, """
        import copy, pickle
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(12):
            loss = copy.deepcopy(net)(torch.ones(2, 16)).sum() + net(torch.ones(2, 16)).sum()
            loss.backward()
            optimizer.step()
            show(loss)
        print(len(pickle.dumps(net)), sorted(vars(net)), b"pinchpoint" in pickle.dumps(net))
        hooked = Net.__dict__.get("__call__")
        print(hooked is not None, file=sys.stderr) if "pinchpoint" in sys.modules else print(True, file=sys.stderr)
        whole = pickle.dumps(hooked)
        print(b"pinchpoint" in whole, pickle.loads(whole) in (None, nn.Module.__call__))
        torch.save(net, "net.pt")
        show(torch.load("net.pt", weights_only=False).eval()(torch.ones(2, 16)).sum())
    """)

    assert done.err == "True\n"
    assert all(done.seconds("forward"))


def test_saving_is_a_checkpoint(tmp_path: Path) -> None:
    """Its time lengthens the step before, and its file is marked."""
    done = both(tmp_path, """
        net, loader = Net(), DataLoader(Slow(40), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for number, (x, y) in enumerate(loader):
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            if number == 2:
                torch.save(net.state_dict(), "net.pt")
            show(loss)
        torch.load("net.pt")
    """)

    assert [bool(seconds) for seconds in done.seconds("checkpoint")] == [False, False, True, False, False]
    assert [(mark["event.reason"], mark["step"]) for mark in done.marks("checkpoint")] == [("net.pt", 2)]


def test_scaled_gradients(tmp_path: Path) -> None:
    """A step that the scaler leaves out, for its gradients overflow, is a step; none is counted twice."""
    done = both(tmp_path, """
        net, loader = Net(), DataLoader(Slow(80), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 10)
        for number, (x, y) in enumerate(loader):
            optimizer.zero_grad()
            loss = loss_of(net(x), y) * (float("inf") if number == 4 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            show(loss, scaler.get_scale())
    """)

    assert [step["step"] for step in done.steps] == list(range(10))


def test_an_optimizer_that_computes_its_loss_itself(tmp_path: Path) -> None:
    """The forward and backward passes of its closure are found in its step."""
    done = both(tmp_path, """
        net, loader = Net(), DataLoader(Slow(40), batch_size=8)
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
        for x, y in loader:
            def closure():
                optimizer.zero_grad()
                loss = loss_of(net(x), y)
                loss.backward()
                return loss
            show(optimizer.step(closure))
    """)

    assert len(done.steps) == 5
    assert all(done.seconds("forward")) and all(done.seconds("backward")) and all(done.seconds("optimizer"))


def test_errors_are_those_of_the_job(tmp_path: Path) -> None:
    """Type, message, context and the job's own frames are the same; one frame of ours stands between at most; the run goes on."""
    code = """
        import traceback
        net, loader = Net(), DataLoader(Slow(400), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        def told(error):
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "pinchpoint" not in frame.filename]
            hidden = len(traceback.extract_tb(error.__traceback__)) - len(frames)
            print(repr(error), error.__cause__, error.__context__, error.__suppress_context__, [frame.name for frame in frames])
            print(hidden, file=sys.stderr)
        class Fails(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()
            @staticmethod
            def backward(ctx, grad):
                raise ValueError("backward")
        def closure():
            raise KeyError("optimizer")
        for number, (x, y) in enumerate(loader):
            try:
                if number == 30:
                    net(x[:, :3])
                if number == 32:
                    Fails.apply(net(x)).sum().backward()
                if number == 34:
                    optimizer.step(closure)
                if number == 36:
                    torch.save((x for x in ()), "x.pt")
            except Exception as error:
                told(error)
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
        class Broken(Slow):
            def __getitem__(self, place):
                raise IndexError("data")
        try:
            for x, y in DataLoader(Broken(8)):
                pass
        except IndexError as error:
            told(error)
    """
    plain, hooked = job(tmp_path / "plain", code, hooked=False), job(tmp_path / "hooked", code)

    assert (plain.status, hooked.status, hooked.out) == (0, 0, plain.out)
    assert max(map(int, hooked.err.split())) <= 1
    assert len(hooked.out.splitlines()) == 5
    assert len(hooked.steps) == 49  # the step whose optimizer failed is one with what was made of its batch afterwards


def test_own_steps_win(tmp_path: Path) -> None:
    """A script that times its own steps keeps them, and hooks add none."""
    done = trained(tmp_path, """
        import pinchpoint
        net, loader = Net(), DataLoader(Slow(40), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        run = pinchpoint.start()
        for x, y in run.batches(loader):
            with run.step(samples=3):
                loss_of(net(x), y).backward()
                optimizer.step()
    """)

    assert [(step["step"], step["samples"]) for step in done.steps] == [(number, 3) for number in range(5)]
    assert all("phase.forward_s" not in step for step in done.steps)


def test_own_steps_may_begin_late(tmp_path: Path) -> None:
    """Hooks end where they begin, and say so."""
    done = job(tmp_path, """
        import pinchpoint
        net, loader = Net(), DataLoader(Slow(40), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        def step(x, y):
            loss_of(net(x), y).backward()
            optimizer.step()
        for x, y in loader:
            step(x, y)
        run = pinchpoint.start()
        for x, y in run.batches(loader):
            with run.step(samples=3):
                step(x, y)
    """)

    assert sorted(step["samples"] for step in done.steps) == [3] * 5 + [8] * 5
    assert [mark["event.reason"] for mark in done.marks("instrumentation_off")] == ["the script times its own steps"]


def test_an_import_in_the_script_is_enough(tmp_path: Path) -> None:
    """Before or after the framework, and twice."""
    for number, order in enumerate((("import pinchpoint.auto", ""), ("", "import pinchpoint.auto"), ("import pinchpoint.auto",) * 2)):
        folder = tmp_path / str(number)
        done = trained(folder, f"""
            import sys; sys.path.insert(0, {str(folder / "sdk")!r})
            {order[0]}
            import torch
            {order[1]}
            net = torch.nn.Linear(4, 4)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            for _ in range(4):
                net(torch.ones(2, 4)).sum().backward()
                optimizer.step()
        """, preamble="", fresh=True, PYTHONPATH="")

        assert [step["step"] for step in done.steps] == [0, 1, 2, 3]
        assert all("phase.forward_s" in step for step in done.steps)


def test_a_version_that_is_not_known(tmp_path: Path) -> None:
    """Hooks stay away, the job runs; where a part is missing, the others are laid, and the records say which is not."""
    code = """
        net, loader = Net(), DataLoader(Slow(40), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            show(loss)
    """
    plain = trained(tmp_path / "plain", code, hooked=False)
    changes = {"next": "version.__version__ = torch.__version__ = '3.0.0'", "less": "del torch.amp.GradScaler"}
    found = {}
    for name, change in changes.items():
        changed = tmp_path / name / "changed"
        changed.mkdir(parents=True)
        (changed / "changing.py").write_text(f"import torch\n{change}\n".replace("version.__version__", "torch.version.__version__"))
        found[name] = job(tmp_path / name, "import sys; sys.path.insert(0, 'changed'); import changing\nimport pinchpoint.auto\n"
                          + __import__("textwrap").dedent(code), fresh=True, PYTHONPATH=str(tmp_path / name / "sdk"))

    assert [done.out for done in found.values()] == [plain.out] * 2
    assert found["next"].steps == []
    assert len(found["less"].steps) == 5
    assert [mark["labels"]["hook"] for mark in found["less"].marks("instrumentation_off")] == ["torch.amp.GradScaler"]
