"""torch.compile: nothing of ours is in what it compiles, and its time is a phase."""

import shutil
from pathlib import Path

import pytest
from framework_jobs import both


def test_compiled_models(tmp_path: Path) -> None:
    """A whole graph stays one, whether the model ran before or not; compiling is a phase, again compiling is marked."""
    done = both(tmp_path, """
        import torch._dynamo
        counted = []
        def counts(graph, inputs):
            counted.append(len(graph.graph.nodes))
            return graph.forward
        def train(model, sizes, steps=6):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for number in range(steps):
                x = torch.randn(sizes[number % len(sizes)], 16)
                loss = loss_of(model(x), torch.zeros(len(x), dtype=torch.long))
                loss.backward()
                optimizer.step()
                show(loss)
        plain = Net()
        train(plain, [8])
        train(torch.compile(plain, backend=counts, fullgraph=True), [8])
        train(torch.compile(Net(), backend=counts, fullgraph=True), [8, 12, 20])
        in_place = Net()
        in_place.compile(backend=counts, fullgraph=True)
        train(in_place, [8])
        @torch.compile(backend=counts, fullgraph=True)
        def function(model, x):
            return model(x).square().mean()
        function(Net(), torch.ones(3, 16)).backward()
        many = nn.ModuleList([torch.compile(nn.Linear(16, 16 + number), backend=counts, fullgraph=True) for number in range(6)])
        for one in many:
            one(torch.ones(2, 16)).sum().backward()
        print(counted, dict(torch._dynamo.utils.counters["graph_break"]), torch._dynamo.utils.counters["frames"]["ok"])
    """)

    assert len(done.steps) == 24
    assert [number for number, seconds in enumerate(done.seconds("compile")) if seconds][:2] == [6, 13]
    assert len(done.marks("recompile")) >= 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default compiler of PyTorch needs g++")
def test_the_default_compiler(tmp_path: Path) -> None:
    """It makes the same numbers of a model; the backward graph, compiled later, counts too."""
    done = both(tmp_path, """
        model = torch.compile(Net())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in DataLoader(Slow(40), batch_size=8):
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            show(loss)
    """)

    assert [bool(seconds) for seconds in done.seconds("compile")] == [True, False, False, False, False]
    assert all(done.seconds("forward"))
