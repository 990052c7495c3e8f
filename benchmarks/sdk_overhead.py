"""What a phase and a step of the SDK cost the training thread, collected and not.

    python benchmarks/sdk_overhead.py --repeats 15 --format json

An empty loop of the same kind is taken off. The writer has its turn between the repeats and is measured as CPU time for each step.
"""

import argparse
import contextlib
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

import pinchpoint

BAR_NS = 5000
BATCH = range(1_000_000)


def empty(calls: int) -> None:
    for _ in range(calls):
        pass


def phases(run: pinchpoint.Run, name: str) -> Callable[[int], None]:
    """Phases inside a step."""

    def loop(calls: int) -> None:
        with run.step():
            for _ in range(calls):
                with run.phase(name):
                    pass

    return loop


def steps(run: pinchpoint.Run) -> Callable[[int], None]:
    """Steps that are told their samples, with no phases."""

    def loop(calls: int) -> None:
        for _ in range(calls):
            with run.step(samples=32):
                pass

    return loop


def training(run: pinchpoint.Run) -> Callable[[int], None]:
    """What a training loop usually has: a wait for the batch, a step, three phases."""

    def loop(calls: int) -> None:
        for _ in run.batches(BATCH[:calls]):
            with run.step(samples=32):
                with run.phase("forward"):
                    pass
                with run.phase("backward"):
                    pass
                with run.phase("optimizer"):
                    pass

    return loop


def measure(run: pinchpoint.Run, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Nanoseconds of each thing, once for each repeat; all take turns, so that a busy machine slows them alike."""
    loops = {"phase forward": (phases(run, "forward"), 20_000), "phase data_wait": (phases(run, "data_wait"), 20_000),
             "step": (steps(run), 2000), "batch, step and 3 phases": (training(run), 2000)}
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, (loop, calls) in loops.items():
            began = time.perf_counter_ns()
            empty(calls)
            nothing = time.perf_counter_ns() - began
            began = time.perf_counter_ns()
            loop(calls)
            found[name].append((time.perf_counter_ns() - began - nothing) / calls)
            settle(folder)
    return found


def settle(folder: Path) -> None:
    """Wait until the writer has written what it was given, which it does within two of its beats of 0.2 s."""
    size = -1
    while size != (size := sum(path.stat().st_size for path in folder.glob("*.ndjson"))):
        time.sleep(0.45 if os.environ.get("PINCHPOINT_DIR") else 0)


def writer_ns(run: pinchpoint.Run, folder: Path, calls: int = 10_000) -> float:
    """CPU time of the writer thread in nanoseconds for a step with three phases."""
    settle(folder)
    training(run)(calls)
    whole, own = time.process_time_ns(), time.thread_time_ns()
    settle(folder)
    return (time.process_time_ns() - whole - (time.thread_time_ns() - own)) / calls


def rows(repeats: int) -> list[dict[str, Any]]:
    """Median and quartiles of everything, in nanoseconds."""
    found: list[dict[str, Any]] = []
    for collected in (True, False):
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as after:
            os.environ["PINCHPOINT_DIR"] = name if collected else ""
            run = pinchpoint.start()
            after.callback(run.close)
            values = measure(run, Path(name), repeats)
            if collected:
                values["writer thread, for each step"] = [writer_ns(run, Path(name)) for _ in range(max(repeats // 3, 2))]
        for what, each in values.items():
            low, middle, high = statistics.quantiles(each, n=4)
            found.append({"what": what, "collected": collected, "median_ns": round(middle), "low_ns": round(low), "high_ns": round(high),
                          "repeats": len(each)})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    found = rows(max(options.repeats, 2))
    if options.format == "json":
        print(json.dumps({"python": platform.python_version(), "bar_ns": BAR_NS, "rows": found}, indent=2))
        return
    print(f"{'':<30}{'collected':>10}{'median':>11}   half of the repeats between")
    for row in found:
        low, middle, high = (row[key] / 1000 for key in ("low_ns", "median_ns", "high_ns"))
        print(f"{row['what']:<30}{'yes' if row['collected'] else 'no':>10}{middle:>8.2f} us   {low:.2f} and {high:.2f} us")
    print(f"bar: a phase below {BAR_NS / 1000:.0f} us (Python {platform.python_version()})")


if __name__ == "__main__":
    main()
