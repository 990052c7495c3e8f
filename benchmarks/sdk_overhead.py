"""What a phase and a step of the SDK cost, collected and not."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def measure(collected: bool, rounds: int, calls: int) -> dict[str, list[float]]:
    """Nanoseconds of a phase, and of a step with three phases, in each round."""
    with tempfile.TemporaryDirectory() as folder:
        if collected:
            os.environ["PINCHPOINT_DIR"] = folder
        else:
            os.environ.pop("PINCHPOINT_DIR", None)
        from pinchpoint import sdk

        run = sdk.start()
        found: dict[str, list[float]] = {"phase": [], "step with 3 phases": []}
        for _ in range(rounds):
            with run.step():
                began = time.perf_counter_ns()
                for _ in range(calls):
                    with run.phase("forward"):
                        pass
                found["phase"].append((time.perf_counter_ns() - began) / calls)
            began = time.perf_counter_ns()
            for _ in range(calls // 20):
                with run.step(samples=32):
                    with run.phase("forward"):
                        pass
                    with run.phase("backward"):
                        pass
                    with run.phase("optimizer"):
                        pass
            found["step with 3 phases"].append((time.perf_counter_ns() - began) / (calls // 20))
        run.close()
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    rows = [{"what": what, "collected": collected, "median_ns": round(statistics.median(values)), "lowest_ns": round(min(values)),
             "highest_ns": round(max(values))}
            for collected in (True, False) for what, values in measure(collected, options.rounds, options.calls).items()]
    if options.format == "json":
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<22}{'collected':>10}{'median':>10}{'lowest':>10}{'highest':>10}")
    for row in rows:
        print(f"{row['what']:<22}{'yes' if row['collected'] else 'no':>10}"
              + "".join(f"{row[key] / 1000:>7.2f} us" for key in ("median_ns", "lowest_ns", "highest_ns")))


if __name__ == "__main__":
    main()
