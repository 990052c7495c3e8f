"""A data-parallel training run in NumPy that is fast, or slow for a reason you choose, and prints its own measured truth.

python examples/train.py                                       healthy
pinchpoint watch -- python examples/train.py --slow tiny-files slow, and pinchpoint says why
"""

import argparse
import contextlib
import gc
import itertools
import json
import mmap
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # a rank is one thread; NumPy reads these when it is imported

import numpy as np  # noqa: E402
import train_faults as faults  # noqa: E402
from train_data import CLASSES, PIXELS, Floats, Loader, Recipe, load_batch, make_samples  # noqa: E402

try:
    import pinchpoint
except ImportError:  # without the SDK the run only prints its progress
    pinchpoint = None  # type: ignore[assignment]

#: What the example measures of each step, with timers of its own.
COLUMNS = ("data_wait", "compute", "communication", "checkpoint", "evaluation", "gc", "walk", "wall")


class Model:
    """Three dense layers with ReLU, trained by momentum."""

    def __init__(self, hidden: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sizes = (PIXELS, hidden, hidden, CLASSES)
        shapes = list(itertools.pairwise(sizes))
        self.weights: list[Floats] = [(rng.standard_normal(shape) * (2 / shape[0]) ** 0.5).astype(np.float32) for shape in shapes]
        self.momentum: list[Floats] = [np.zeros_like(weight) for weight in self.weights]
        self.looped = False

    def forward(self, images: Floats) -> list[Floats]:
        """Activations of each layer, the input first."""
        layers = [images]
        for weight in self.weights[:-1]:
            linear = layers[-1] @ weight
            layers.append(faults.looped_relu(linear) if self.looped else np.maximum(linear, 0))
        return [*layers, layers[-1] @ self.weights[-1]]

    def backward(self, layers: list[Floats], labels: Any) -> tuple[float, list[Floats]]:
        """Loss, and the gradient of each layer's weights."""
        logits = layers[-1] - layers[-1].max(axis=1, keepdims=True)
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        loss = float(-np.log(chances[rows, labels] + 1e-9).mean())
        chances[rows, labels] -= 1
        error = chances / np.float32(len(labels))
        gradients = []
        for place in range(len(self.weights) - 1, -1, -1):
            gradients.append(layers[place].T @ error)
            if place:
                error = (error @ self.weights[place].T) * (layers[place] > 0)
        return loss, gradients[::-1]

    def update(self, gradients: list[Floats], rate: float = 0.02) -> None:
        """One step of momentum."""
        for weight, momentum, gradient in zip(self.weights, self.momentum, gradients, strict=True):
            momentum *= 0.9
            momentum += gradient
            weight -= np.float32(rate) * momentum


class AllReduce:
    """The mean of all ranks' gradients, through shared memory; who is early sleeps until the last rank is there."""

    def __init__(self, memory: mmap.mmap, rank: int, ranks: int, size: int, barrier: Any) -> None:
        # two buffers in turn: nobody can be a whole step ahead, so one barrier a step is enough
        self._slots = np.ndarray((2, ranks, size), np.float32, memory)
        self._rank, self._barrier, self._turn = rank, barrier, 0

    def mean(self, gradients: list[Floats]) -> list[Floats]:
        """Gradients of all ranks, averaged."""
        flat = self._slots[self._turn, self._rank]
        np.concatenate([one.reshape(-1) for one in gradients], out=flat)
        self._barrier.wait(120)
        whole = self._slots[self._turn].mean(axis=0)
        self._turn = 1 - self._turn
        places = np.cumsum([one.size for one in gradients])[:-1]
        return [part.reshape(one.shape) for part, one in zip(np.split(whole, places), gradients, strict=True)]


class Watchless:
    """Stands in for a run where the SDK is not installed."""

    def phase(self, _: str) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()

    def step(self, **_: object) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()

    def batches(self, loader: Any) -> Any:
        """The loader itself."""
        return loader

    def mark(self, *_: object, **__: object) -> None:
        """Nothing."""


class Truth:
    """The example's own timers, apart from those of the SDK."""

    def __init__(self, steps: int) -> None:
        self.rows = np.zeros((steps, len(COLUMNS)))
        self.at = 0
        self._began = 0.0
        gc.callbacks.append(self._collected)

    def add(self, column: str, began: float) -> None:
        """Count the time since `began` for the step under way."""
        self.rows[min(self.at, len(self.rows) - 1), COLUMNS.index(column)] += time.perf_counter() - began

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.add("gc", self._began)


def recipe(options: argparse.Namespace) -> Recipe:
    """How batches are loaded, with the chosen faults."""
    slow = options.slow
    workers = 0 if "decode-in-process" in slow else options.workers
    augment = 45 if "heavy-decode" in slow else 6 if "decode-in-process" in slow else 0
    return Recipe(options.data, options.batch, workers, prefetch=1 if "slow-sample" in slow else 4, tiny="tiny-files" in slow,
                  augment=augment, slow_every=8 if "slow-sample" in slow else 0, slow_rounds=60 if "slow-sample" in slow else 0)


def train(rank: int, options: argparse.Namespace, memory: mmap.mmap, barrier: Any, results: Any, reached: Any) -> None:
    """One rank: the training loop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = pinchpoint.start(rank=rank, world_size=options.ranks) if pinchpoint is not None else Watchless()
    model = Model(options.hidden, options.seed)
    reduce = AllReduce(memory, rank, options.ranks, sum(weight.size for weight in model.weights), barrier)
    loader = Loader(recipe(options), options.steps, options.seed * 1000 + rank)
    held_out = load_batch(Recipe(options.data, 2 * options.batch, 0), 10**6, options.seed)
    sizes = np.random.default_rng(options.seed + rank).lognormal(-0.8, 0.7, options.steps).clip(0.08, 1.0)
    truth, leak = Truth(options.steps), faults.Leak()
    began = time.monotonic()
    barrier.wait(120)
    step_began = time.perf_counter()
    try:
        for step, (images, labels) in enumerate(run.batches(loader)):
            truth.at = reached.value = step
            truth.add("data_wait", step_began)
            slow_now = [name for name in options.slow if name not in faults.WITH_ONSET or step >= options.slow_from]
            if "uneven-samples" in options.slow:
                images, labels = (one[: max(int(sizes[step] * len(images)), 8)] for one in (images, labels))
            with run.step(samples=len(images), tokens=images.size):
                if "slower-operator" in slow_now and not model.looped:
                    model.looped = True
                    run.mark("config", reason="activation of the reference implementation", setting="relu=looped")
                computing = time.perf_counter()
                for _ in range(2 if "straggler" in slow_now and rank == 1 else 1):
                    with run.phase("forward"):
                        layers = model.forward(images)
                    with run.phase("backward"):
                        loss, gradients = model.backward(layers, labels)
                if "memory-leak" in slow_now:
                    walking = time.perf_counter()
                    loss += 0 * leak.step(layers[1])
                    truth.add("walk", walking)
                if "gc-storm" in slow_now and step % 3 == 0:
                    faults.garbage_storm()
                truth.add("compute", computing)
                talking = time.perf_counter()
                with run.phase("communication"):
                    gradients = reduce.mean(gradients)
                truth.add("communication", talking)
                computing = time.perf_counter()
                with run.phase("optimizer"):
                    model.update(gradients)
                truth.add("compute", computing)
            _after_step(step, rank, options, model, run, truth, held_out)
            truth.rows[step, COLUMNS.index("wall")] = time.perf_counter() - step_began
            step_began = time.perf_counter()
            if rank == 0 and step % 20 == 19:
                print(f"step {step + 1}/{options.steps} loss {loss:.3f} {truth.rows[step - 19: step + 1, -1].mean():.4f} s/it", flush=True)
        results.put((rank, truth.rows[: truth.at + 1], time.monotonic() - began, loss))
    finally:
        loader.close()


def _after_step(step: int, rank: int, options: argparse.Namespace, model: Model, run: Any, truth: Truth, held_out: Any) -> None:
    """Checkpoint and evaluate, where it is time to; rank 0 does both, and the others wait for it in the next collective."""
    every, extra = options.checkpoint_every, 0
    if "checkpoint-often" in options.slow:
        every = 5
    if "big-checkpoint" in options.slow:
        every, extra = 60, 16_000_000
    if rank == 0 and every and step % every == every - 1:
        saving = time.perf_counter()
        with run.phase("checkpoint"):
            write = np.savez_compressed if every < options.checkpoint_every else np.savez
            with (options.data / "checkpoint.tmp").open("wb") as file:
                write(file, *model.weights, *model.momentum, np.random.default_rng(step).standard_normal(extra).astype(np.float32))
                file.flush()
                os.fsync(file.fileno())
            (options.data / "checkpoint.tmp").replace(options.data / "checkpoint.npz")
        truth.add("checkpoint", saving)
    if rank == 0 and options.evaluate_every and step % options.evaluate_every == options.evaluate_every - 1:
        evaluating = time.perf_counter()
        with run.phase("evaluation"):
            model.forward(held_out[0])
        truth.add("evaluation", evaluating)


def told(ranks: list[Any], options: argparse.Namespace) -> dict[str, Any]:
    """The truth of the run: seconds on the critical path, and those lost to the fault."""
    steps = min(len(rows) for _, rows, *_ in ranks)
    rows = np.stack([rows[:steps] for _, rows, *_ in sorted(ranks, key=lambda one: one[0])])
    column = {name: rows[:, :, place] for place, name in enumerate(COLUMNS)}
    own = column["wall"] - column["communication"]
    last = own.argmax(axis=0)
    path = {name: float(values[last, np.arange(steps)].sum()) for name, values in column.items()}
    path["communication"] = float(column["communication"].min(axis=0).sum())
    wall = own.max(axis=0) + column["communication"].min(axis=0)
    others = np.median(np.sort(own, axis=0)[:-1], axis=0) if len(rows) > 1 else own[0]
    before = slice(min(20, steps // 4), options.slow_from)
    lost = {name: _lost(name, path, own.max(axis=0) - others, wall, before, options.slow_from) for name in options.slow}
    return {"steps": steps, "ranks": len(rows), "wall_s": float(wall.sum()), "on_critical_path": {**path, "wall": float(wall.sum())},
            "slow": options.slow, "slow_from": options.slow_from if set(options.slow) & set(faults.WITH_ONSET) else 0,
            "lost_s": lost, "loss": float(np.mean([one[3] for one in ranks]))}


def _lost(name: str, path: dict[str, float], skew: Any, wall: Any, before: slice, onset: int) -> float:
    """Seconds of wall time that a fault took, as the example's own timers saw it."""
    if name in ("tiny-files", "decode-in-process", "heavy-decode", "slow-sample"):
        return path["data_wait"]
    if name in ("checkpoint-often", "big-checkpoint"):
        return path["checkpoint"]
    if name == "gc-storm":
        return path["gc"]
    if name in ("straggler", "uneven-samples"):
        return float(skew[onset:].sum() if name == "straggler" else skew.sum())
    if name == "memory-leak":
        return path["walk"]
    return float((wall[onset:] - np.median(wall[before])).sum())


def main() -> int:
    """Start the ranks, wait for them, print the truth."""
    options = _options()
    quota = faults.Quota() if "cgroup-quota" in options.slow else None
    own_folder = options.data is None
    options.data = Path(tempfile.mkdtemp(prefix="pinchpoint-example-")) if own_folder else options.data
    make_samples(options.data, "tiny-files" in options.slow, options.seed)
    make_samples(options.data, False, options.seed)
    gradients = sum(weight.size for weight in Model(options.hidden, 0).weights)
    memory = mmap.mmap(-1, 2 * options.ranks * gradients * 4)
    context = multiprocessing.get_context("fork")
    barrier, results, reached = context.Barrier(options.ranks), context.Queue(), context.Value("q", 0, lock=False)
    ranks = [context.Process(target=train, args=(rank, options, memory, barrier, results, reached), daemon=False)
             for rank in range(options.ranks)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for one in ranks:
            one.start()
        found = []
        outside = bool(set(options.slow) & {"cpu-hog", "cgroup-quota"})
        while len(found) < len(ranks):
            with contextlib.suppress(Exception):
                found.append(results.get(timeout=0.1))
            if outside and reached.value >= options.slow_from:
                outside = False
                if "cpu-hog" in options.slow:
                    options.neighbour.touch()
                if quota is not None:
                    quota.hold([os.getpid(), *(one.pid for one in ranks if one.pid)], 0.5 * options.ranks)
            if len(found) < len(ranks) and any(one.exitcode not in (None, 0) for one in ranks):
                return 1
        answer = told(found, options)
        print(json.dumps({"truth": answer}), flush=True)
        if options.truth:
            options.truth.write_text(json.dumps(answer))
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        if "cpu-hog" in options.slow:
            options.neighbour.unlink(missing_ok=True)
        for one in ranks:
            if one.is_alive() and one.pid:
                one.terminate()
        for one in ranks:
            if one.pid:
                one.join(10)
        if quota is not None:
            quota.close()
        if own_folder:
            shutil.rmtree(options.data, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="slow ways:\n" + "\n".join(f"  {name:<18} {what}" for name, what in faults.FAULTS.items()))
    parser.add_argument("--slow", action="append", default=[], choices=list(faults.FAULTS), metavar="NAME",
                        help="make it slow in this way; may be given again")
    parser.add_argument("--slow-from", type=int, help="step from which on it is slow, for ways that begin  [default: half of the steps]")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--ranks", type=int, default=2, choices=range(1, 5))
    parser.add_argument("--workers", type=int, default=1, help="loader processes of each rank; 0 loads in the training process")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=1152)
    parser.add_argument("--checkpoint-every", type=int, default=200)
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="folder of the samples  [default: a temporary one]")
    parser.add_argument("--neighbour", type=Path, help="file that is there while cpu-hog lasts; examples/hogs.py FILE waits for it")
    parser.add_argument("--truth", type=Path, help="write the truth to this file too")
    options = parser.parse_args()
    if "cpu-hog" in options.slow and not options.neighbour:
        parser.error("cpu-hog needs --neighbour FILE, and examples/hogs.py FILE started beside the run: what the run starts is its own")
    if "straggler" in options.slow and options.ranks < 2:
        parser.error("straggler needs at least two ranks")
    options.slow_from = options.steps // 2 if options.slow_from is None else options.slow_from
    return options


if __name__ == "__main__":
    sys.exit(main())
