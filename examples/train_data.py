"""Samples on disk and the loader that reads them: worker processes with a queue of their own, or none."""

import contextlib
import dataclasses
import mmap
import multiprocessing
import os
import zlib
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIXELS, CLASSES = 784, 10
SHARD = 256
SHARDS = 32
#: Files of one sample in the layout of tiny files: image in parts, label.
PARTS = 3
TINY_SAMPLES = 3072

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a rank gets its batches."""

    folder: Path
    batch: int
    workers: int
    prefetch: int = 4
    tiny: bool = False
    """Read each sample from files of its own, past the page cache."""
    augment: int = 0
    """Rounds of augmentation for each sample."""
    slow_every: int = 0
    """One batch in so many takes `slow_rounds` rounds of augmentation."""
    slow_rounds: int = 0


def make_samples(folder: Path, tiny: bool, seed: int) -> None:
    """Write the samples once: noisy pictures of ten patterns, compressed."""
    done = folder / ("tiny.done" if tiny else "shards.done")
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 24, (CLASSES, PIXELS))
    for number in range(TINY_SAMPLES if tiny else SHARDS):
        labels = rng.integers(0, CLASSES, 1 if tiny else SHARD).astype(np.uint8)
        pixels = (patterns[labels] + rng.integers(0, 231, (len(labels), PIXELS))).astype(np.uint8)
        if tiny:
            for part, chunk in enumerate(np.array_split(pixels[0], PARTS - 1)):
                (folder / f"{number:05d}.{part}").write_bytes(zlib.compress(chunk.tobytes(), 1))
            (folder / f"{number:05d}.{PARTS - 1}").write_bytes(labels.tobytes())
        else:
            rows = np.concatenate([labels[:, None], pixels], axis=1)
            (folder / f"shard-{number:03d}").write_bytes(zlib.compress(rows.tobytes(), 1))
    os.sync()  # only clean pages can be dropped from the page cache
    done.touch()


def load_batch(recipe: Recipe, number: int, seed: int) -> tuple[Floats, Labels]:
    """Read, decompress and augment one batch."""
    rng = np.random.default_rng([seed, number])
    if recipe.tiny:
        pixels, labels = _tiny(recipe, rng)
    else:
        raw = zlib.decompress((recipe.folder / f"shard-{rng.integers(SHARDS):03d}").read_bytes())
        rows = np.frombuffer(raw, np.uint8).reshape(-1, PIXELS + 1)
        rows = rows[rng.integers(0, len(rows), recipe.batch)]
        pixels, labels = rows[:, 1:], rows[:, 0].astype(np.int64)
    images = pixels.astype(np.float32) / 255.0
    slow = recipe.slow_every and number % recipe.slow_every == recipe.slow_every - 1
    for _ in range(recipe.slow_rounds if slow else recipe.augment):
        images = _augment(images)
    return images, labels


def _tiny(recipe: Recipe, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Labels]:
    pixels, labels = np.empty((recipe.batch, PIXELS), np.uint8), np.empty(recipe.batch, np.int64)
    for row, sample in enumerate(rng.integers(0, TINY_SAMPLES, recipe.batch)):
        parts = [_read_uncached(recipe.folder / f"{sample:05d}.{part}") for part in range(PARTS)]
        pixels[row] = np.frombuffer(b"".join(zlib.decompress(part) for part in parts[:-1]), np.uint8)
        labels[row] = parts[-1][0]
    return pixels, labels


def _read_uncached(path: Path) -> bytes:
    """A file as a cluster with more data than memory reads it: from the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.read(file, 1 << 16)
    finally:
        os.close(file)


def _augment(images: Floats) -> Floats:
    """Blur and sharpen through the frequencies, as an image pipeline would."""
    spectrum = np.fft.rfft2(images.reshape(-1, 28, 28))
    spectrum *= np.linspace(1.0, 0.98, spectrum.shape[2])
    return np.fft.irfft2(spectrum, s=(28, 28)).reshape(len(images), -1).astype(np.float32)


def _work(recipe: Recipe, seed: int, memory: mmap.mmap, pipe: Connection) -> None:
    """A worker process: load the batches it is asked for into its slots of shared memory."""
    size = recipe.batch * (PIXELS + 1)
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            number, slot = pipe.recv()
            images, labels = load_batch(recipe, number, seed)
            place = np.ndarray((size,), np.float32, memory, slot * size * 4)
            place[: images.size] = images.reshape(-1)
            place[images.size:] = labels
            pipe.send(slot)


class Loader:
    """Batches in order; worker processes load ahead, without any the batch is loaded when it is asked for."""

    def __init__(self, recipe: Recipe, batches: int, seed: int) -> None:
        self._recipe, self._batches, self._seed = recipe, batches, seed
        self._workers: list[multiprocessing.process.BaseProcess] = []
        self._pipes: list[Connection] = []
        self._memories: list[mmap.mmap] = []
        for _ in range(recipe.workers):
            # without a name, it goes when the last process that has it goes
            memory = mmap.mmap(-1, recipe.prefetch * recipe.batch * (PIXELS + 1) * 4)
            ours, theirs = multiprocessing.Pipe()
            worker = multiprocessing.get_context("fork").Process(target=_work, args=(recipe, seed, memory, theirs), daemon=True)
            worker.start()
            theirs.close()
            self._workers.append(worker)
            self._pipes.append(ours)
            self._memories.append(memory)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[Floats, Labels]]:
        workers = len(self._pipes)
        if not workers:
            for number in range(self._batches):
                yield load_batch(self._recipe, number, self._seed)
            return
        for number in range(min(self._recipe.prefetch * workers, self._batches)):
            self._pipes[number % workers].send((number, number // workers % self._recipe.prefetch))
        size = self._recipe.batch * (PIXELS + 1)
        for number in range(self._batches):
            slot = self._pipes[number % workers].recv()
            whole = np.ndarray((size,), np.float32, self._memories[number % workers], slot * size * 4).copy()
            ahead = number + self._recipe.prefetch * workers
            if ahead < self._batches:
                self._pipes[number % workers].send((ahead, slot))
            images = whole[: self._recipe.batch * PIXELS].reshape(-1, PIXELS)
            yield images, whole[images.size:].astype(np.int64)

    def close(self) -> None:
        """End the workers."""
        for pipe in self._pipes:
            pipe.close()
        for worker in self._workers:
            worker.terminate()
            worker.join()
