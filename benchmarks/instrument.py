"""What the hooks of pinchpoint.auto cost a PyTorch loop on a CPU whose steps take about 5 ms.

    make bench-instrument

One process trains in blocks of a few steps with and without hooks, in the order ABBA, so that a busy machine slows both alike. Between
blocks the hooks are taken out and put back, not only switched off; the first steps after that are left out. Steps are
measured by the processor time of the training thread, which computes all the time; so others on the machine disturb less. The thread that
writes the records is measured likewise, and counted as if the training waited for all of it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

BAR_RATIO = 0.005
STEPS = 20
#: Left out after hooks are exchanged: caches are cold, and the interpreter has to specialise its code anew.
SKIPPED = 8
#: The writer writes within two of its beats of a second.
SETTLE_S = 2.1


class Hooks:
    """The hooks of this process, which can be taken out and put back."""

    def __init__(self, torch: Any, train: Callable[[], None]) -> None:
        """Lay them, and train until they have settled on what they hook."""
        loaders, optimizers = torch.utils.data.dataloader, sys.modules["torch.optim.optimizer"]
        places = [(torch.autograd, "backward"), (torch, "save"), (torch, "compile"), (loaders.DataLoader, "__iter__"),
                  (loaders._BaseDataLoaderIter, "__next__"), (torch.nn.Module, "__call__")]
        self._before = [(owner, name, getattr(owner, name)) for owner, name in places]
        import pinchpoint.auto  # noqa: F401

        train()
        from pinchpoint.auto import torch_modules

        self._roots = set(torch_modules._roots)
        self._call = torch_modules.ROOT
        self._after = [(owner, name, getattr(owner, name)) for owner, name, _ in self._before]
        self._steps = [(hooks, dict(hooks)) for hooks in (optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks)]
        if not self._roots or not all(hooks for _, hooks in self._steps):
            raise SystemExit("the hooks were not laid")

    def use(self, on: bool) -> None:
        for owner, name, function in self._after if on else self._before:
            setattr(owner, name, function)
        for kind in self._roots:
            if on:
                kind.__call__ = self._call
            elif "__call__" in kind.__dict__:
                del kind.__call__
        for hooks, laid in self._steps:
            hooks.clear()
            hooks.update(laid if on else {})


def measure(rounds: int) -> dict[str, Any]:
    """The ratio that hooks add, pair by pair, to processor time and to the median step time."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 256), *(nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256))
                                                            for _ in range(3)), nn.Linear(256, 10))

        def forward(self, x: Any) -> Any:
            return self.body(x)

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batch = 32
    data = torch.utils.data.TensorDataset(torch.randn(batch * STEPS, 64), torch.zeros(batch * STEPS, dtype=torch.long))
    loader = torch.utils.data.DataLoader(data, batch_size=batch)
    loss_of = nn.CrossEntropyLoss()
    took: list[float] = []

    def train() -> None:
        took.clear()
        began = time.thread_time_ns()
        for x, y in loader:
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
            now = time.thread_time_ns()
            took.append((now - began) / 1e9)
            began = now

    hooks = Hooks(torch, train)

    def block(on: bool) -> float:
        hooks.use(on)
        train()
        return statistics.median(took[SKIPPED:])

    plain: list[float] = []
    hooked: list[float] = []
    written_ns = 0
    for _ in range(rounds):
        began = time.process_time_ns() - time.thread_time_ns()
        for on in (False, True, True, False):
            (hooked if on else plain).append(block(on))
        written_ns += time.process_time_ns() - time.thread_time_ns() - began
    began = time.process_time_ns() - time.thread_time_ns()
    time.sleep(SETTLE_S)
    written_ns += time.process_time_ns() - time.thread_time_ns() - began
    return {"step_s": statistics.median(plain), "torch": torch.__version__,
            "added": [b / a - 1 for a, b in zip(plain, hooked, strict=True)],
            "writing": written_ns / 1e9 / (2 * rounds * STEPS) / statistics.median(plain)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PINCHPOINT_DIR"] = folder
        found = measure(max(options.rounds, 2))
        found["steps_written"] = sum(path.read_text().count('"kind":"step"') for path in Path(folder).glob("*.ndjson"))
    found |= {"python": platform.python_version(), "bar_ratio": BAR_RATIO, "load": os.getloadavg()[0]}
    if options.format == "json":
        print(json.dumps(found, indent=2))
        return
    print(f"PyTorch {found['torch']}, Python {found['python']}, steps of {found['step_s'] * 1000:.1f} ms, load {found['load']:.1f}")
    low, middle, high = statistics.quantiles(found["added"], n=4)
    # of a median, from the quartiles: single blocks are slower by half when another process has the processor
    error = 1.25 * (high - low) / 1.35 / len(found["added"]) ** 0.5
    print(f"hooks in the loop       {middle:>+8.2%} ± {error:.2%}   half of {len(found['added'])} pairs between {low:+.2%} and {high:+.2%}")
    print(f"writing, in its thread  {found['writing']:>+8.2%}")
    print(f"together                {middle + found['writing']:>+8.2%}")
    print(f"bar: {BAR_RATIO:.1%}")


if __name__ == "__main__":
    main()
