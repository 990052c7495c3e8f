"""Time and peak memory of `pinchpoint diagnose` on a training log of a million lines as Megatron-LM prints them."""

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.trace_speed import measure

SECONDS_BAR = 4.0
_LINES = 1_000_000


def make(path: Path, lines: int) -> None:
    """A line for each iteration, as Megatron-LM prints it with --log-interval 1; it becomes slower two thirds in."""
    chance = random.Random(7)
    with path.open("w") as file:
        for number in range(1, lines + 1):
            milliseconds = chance.gauss(2500 if number < lines * 2 // 3 else 3500, 25)
            file.write(f" [2025-03-01 12:00:00] iteration {number:8}/ 1000000 | consumed samples: {number * 1024:12} | "
                       f"elapsed time per iteration (ms): {milliseconds:.1f} | throughput per GPU (TFLOP/s/GPU): {1e6 / milliseconds:.1f} "
                       f"| learning rate: 1.500000E-04 | global batch size:  1024 | lm loss: {2 + 1e5 / (number + 1e5):.6E} | "
                       f"loss scale: 1.0 | grad norm: 0.512 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")


def main() -> int:
    """Make the log, read it, print; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="how often it is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        make(path, _LINES)
        runs = [measure([str(Path(sys.executable).parent / "pinchpoint"), "diagnose", str(path)]) for _ in range(options.repeat)]
        print(f"a log of {_LINES} lines, {path.stat().st_size / 1e6:.0f} MB, {options.repeat} times; the middle, and the least to the most")
    seconds = sorted(one for one, _ in runs)
    middle = statistics.median(seconds)
    print(f"  {middle:.2f} s  ({seconds[0]:.2f} to {seconds[-1]:.2f}){max(peak for _, peak in runs):8.0f} MB   "
          f"bar {SECONDS_BAR:.0f} s: {'met' if middle <= SECONDS_BAR else 'MISSED'}")
    return 0 if middle <= SECONDS_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
