"""Analysis of a lake of one and of ten million records, start-up included, beside DuckDB reducing the same files.

DuckDB does the first third of the work: it reads the columns of the steps and reduces them to sums and medians for each rank and
window. It finds no critical path, joins no metrics and explains nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.store import open_store

RANKS, STEP_S = 16, 0.2
START = 1_767_225_600 * NS
#: Of a hundred records: steps, readings of hosts and processes, log lines.
STEPS, METRICS, LOGS = 80, 15, 5


def fill(lake: str, count: int) -> None:
    """A lake of `count` records of one run of 16 ranks that waits for data from the middle on."""
    store = open_store(lake)
    rng = np.random.default_rng(1)
    steps = count * STEPS // 100 // RANKS
    per_metric = max(steps * STEP_S / (count * METRICS / 100), 1e-3)
    for begin in range(0, steps, 20_000):
        number = np.arange(begin, min(begin + 20_000, steps))
        size = len(number) * RANKS
        step, rank = np.repeat(number, RANKS), np.tile(np.arange(RANKS), len(number))
        own = 0.15 + 0.004 * rng.standard_normal(size)
        wait = np.where(step > steps // 2, 0.06, 0.002) * rng.uniform(0.8, 1.2, size)
        mine = own + wait
        wall = mine.reshape(-1, RANKS).max(axis=1).repeat(RANKS) + 0.005
        time_ns = START + (step * STEP_S * NS).astype(np.int64) + rank
        store.append("step", records.batch("step", {
            "@timestamp": time_ns, "event.id": [f"r-{a}-{b}" for a, b in zip(rank.tolist(), step.tolist(), strict=True)],
            "run.id": ["run-1"] * size, "rank": rank, "world_size": np.full(size, RANKS), "step": step,
            "host.name": [f"host-{one // 8}" for one in rank.tolist()], "duration_s": wall, "phase.data_wait_s": wait,
            "phase.forward_s": own * 0.35, "phase.backward_s": own * 0.6, "phase.optimizer_s": own * 0.05,
            "phase.communication_s": wall - mine, "samples": np.full(size, 32),
        }), f"steps-{begin:09d}")
    metrics = count * METRICS // 100
    for begin in range(0, metrics, 100_000):
        number = np.arange(begin, min(begin + 100_000, metrics))
        host = number % 2
        store.append("metric", records.batch("metric", {
            "@timestamp": START + (number * per_metric * NS).astype(np.int64), "event.id": [f"m-{one}" for one in number.tolist()],
            "entity.kind": ["host"] * len(number), "entity.id": [f"host-{one}" for one in host.tolist()],
            "host.name": [f"host-{one}" for one in host.tolist()],
            "metrics": [[("system.cpu.count", 64.0), ("system.cpu.busy_s", one * 0.5), ("system.load.1m", 12.0)]
                        for one in number.tolist()],
        }), f"metrics-{begin:09d}")
    logs = count - steps * RANKS - metrics
    number = np.arange(logs)
    store.append("log", records.batch("log", {
        "@timestamp": START + (number * steps * STEP_S / logs * NS).astype(np.int64), "event.id": [f"l-{one}" for one in number.tolist()],
        "run.id": ["run-1"] * logs, "message": [f"step {one} loss 2.31" for one in number.tolist()],
        "host.name": ["host-0"] * logs}), "logs")


def measure(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory (MB) of a command."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {process.stderr.read().decode() if process.stderr else ''}")
    return {"wall_s": time.monotonic() - began, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


DUCKDB = """
import duckdb, sys
duckdb.connect(config={"threads": 2}).execute(f'''
    select "run.id", "rank", time_bucket(interval 10 seconds, "@timestamp"::timestamp) w, count(*), sum("duration_s"), median("duration_s"),
           sum("phase.data_wait_s"), sum("phase.forward_s"), sum("phase.backward_s"), sum("phase.optimizer_s"),
           sum("phase.communication_s"), max("duration_s"), sum("samples")
    from '{sys.argv[1]}/step/**/*.parquet' group by all order by all''').fetchall()
"""


def main() -> None:
    """Fill, analyse, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    rows = []
    for millions in options.millions:
        with tempfile.TemporaryDirectory() as folder:
            fill(folder, round(millions * 1e6))
            ours, theirs = [], []
            for _ in range(options.repeat):
                watermark = Path(folder) / "_watermarks"
                subprocess.run(["rm", "-rf", str(watermark), f"{folder}/feature", f"{folder}/cause", f"{folder}/_incidents"], check=True)
                ours.append(measure([str(Path(sys.executable).parent / "pinchpoint"), "analyze", "--store", folder, "--since", "36500d"]))
                theirs.append(measure([sys.executable, "-c", DUCKDB, folder]))
            for name, found in (("pinchpoint analyze", ours), ("DuckDB, steps only", theirs)):
                best = {key: sorted(one[key] for one in found)[len(found) // 2] for key in found[0]}
                rows.append({"records": round(millions * 1e6), "what": name, **{key: round(value, 2) for key, value in best.items()},
                             "spread_s": round(max(one["wall_s"] for one in found) - min(one["wall_s"] for one in found), 2)})
    if options.format == "json":
        print(json.dumps(rows, indent=2))
        return
    print(f"{'records':>12}  {'what':<20}{'wall s':>8}{'spread':>8}{'CPU s':>8}{'peak MB':>9}")
    for row in rows:
        print(f"{row['records']:>12,}  {row['what']:<20}{row['wall_s']:>8}{row['spread_s']:>8}{row['cpu_s']:>8}{row['peak_mb']:>9}")
    ours = [row for row in rows if row["what"].startswith("pinchpoint")]
    if len(ours) > 1:
        print(f"{ours[1]['records'] / ours[0]['records']:.0f} times the records take "
              f"{ours[1]['wall_s'] / ours[0]['wall_s']:.1f} times as long, "
              f"at {ours[1]['peak_mb'] / ours[0]['peak_mb']:.2f} times the memory")


if __name__ == "__main__":
    main()
