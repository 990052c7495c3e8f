"""Processes that use all processors for as long as a file exists: a neighbour on the host that is not part of any run."""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


def spin() -> None:
    """Compute for ever."""
    values = np.random.default_rng(0).standard_normal((128, 128))
    while True:
        values = np.tanh(values @ values * 0.01)


def main() -> None:
    """Wait for the file, spin while it is there, end when it is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=2 * (os.cpu_count() or 1))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    while not options.file.exists():
        time.sleep(0.05)
    hogs = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.count)]
    for one in hogs:
        one.start()
    while options.file.exists():
        time.sleep(0.05)
    for one in hogs:
        one.terminate()


if __name__ == "__main__":
    main()
