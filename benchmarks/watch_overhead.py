"""How much longer a training step takes under `pinchpoint watch`: alternating pairs of the same run with and without it.

    python benchmarks/watch_overhead.py --pairs 10 --steps 300
    python benchmarks/watch_overhead.py --pairs 10 -- python my_training.py

The step time is that of the run's progress lines, from the first to the last, so the start of Python does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shippers.progress import parse_line

ROOT = Path(__file__).parent.parent
BAR = 1.005
WATCH = "import sys; from shippers.watch.cli import watch; sys.exit(watch.main(standalone_mode=False))"


def cpu_s(pid: int) -> float:
    """CPU time of the main thread of a process, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def step_time(command: list[str]) -> tuple[float, float]:
    """Mean seconds a step of a run, and the share of a core its first process used meanwhile."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    first = last = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment) as run:
        assert run.stdout is not None
        for line in run.stdout:
            progress = parse_line(line)
            if progress is not None and (last is None or progress.step > last[0]):
                last = (progress.step, time.perf_counter(), cpu_s(run.pid))
                first = first or last
    if first is None or last is None or last[0] == first[0] or run.returncode:
        raise SystemExit(f"the run ended with {run.returncode} and printed no progress lines to measure it by: {' '.join(command)}")
    return (last[1] - first[1]) / (last[0] - first[0]), (last[2] - first[2]) / (last[1] - first[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300, help="of examples/train.py")
    parser.add_argument("command", nargs="*", help="what to run instead of examples/train.py")
    options = parser.parse_args()
    command = options.command or [sys.executable, str(ROOT / "examples" / "train.py"), "--steps", str(options.steps)]
    ratios, shares = [], []
    with tempfile.TemporaryDirectory() as lake:
        watched = [sys.executable, "-c", WATCH, "--no-verdict", "--store", lake, "--", *command]
        for number in range(options.pairs):
            # Whatever drifts meanwhile, such as the heat of the machine, meets both sides alike.
            if number % 2:
                (with_watch, share), (alone, _) = step_time(watched), step_time(command)
            else:
                (alone, _), (with_watch, share) = step_time(command), step_time(watched)
            ratios.append(with_watch / alone)
            shares.append(share)
            print(f"pair {number + 1:2}: alone {alone * 1e3:8.3f} ms  watched {with_watch * 1e3:8.3f} ms  ratio {ratios[-1]:.4f}",
                  flush=True)
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(f"step time with watch: {middle:.4f} times that without (quartiles {low:.4f} to {high:.4f}, {len(ratios)} pairs; bar {BAR})")
    print(f"watch itself: {statistics.median(shares):.2%} of a core while the command ran")


if __name__ == "__main__":
    main()
