"""What reading eight GPUs costs, what a call that hangs costs, and what ten thousand starts and stops leave behind.

    python -m benchmarks.gpu_speed --seconds 60

On a driver library that plays a scenario: the cost of a real driver's calls comes on top. Needs a C compiler.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import fake_gpus  # noqa: E402 - the tests' driver library

from pinchpoint.clock import SYSTEM_CLOCK  # noqa: E402
from shippers.gpu.keeper import Pace  # noqa: E402
from shippers.gpu.source import GpuSource  # noqa: E402
from shippers.sources.documents import event_items, reading_items  # noqa: E402

SHARE_BAR, RSS_BAR_MB, GROWTH_BAR_KIB = 0.005, 30.0, 500
_WARM_S = 3.0


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / 1e6


def steady(seconds: float) -> bool:
    """Eight GPUs each second: the reading process, and the agent that takes the readings."""
    source = GpuSource("host", SYSTEM_CLOCK, Pace())
    items = size = 0
    began_s = time.monotonic()
    child_s = agent_s = 0.0
    while time.monotonic() - began_s < _WARM_S + seconds:
        if not child_s and time.monotonic() - began_s >= _WARM_S and source.pid is not None:
            child_s, agent_s = cpu_s(source.pid), time.process_time()
            items = size = 0
        made = reading_items(source.read(), SYSTEM_CLOCK.now_ns(), "host", bytes) + event_items(source.events(), bytes)
        items += len(made)
        size += sum(len(item.document) for item in made)
        time.sleep(1.0)
    assert source.pid is not None
    child, agent = (cpu_s(source.pid) - child_s) / seconds, (time.process_time() - agent_s) / seconds
    memory = rss_mb(source.pid)
    [_, fast_us, slow_us] = source.learnt[0]
    source.close()
    print(f"8 GPUs each second, {seconds:.0f} s")
    print(f"  reading process  {child:8.2%} of a core   bar {SHARE_BAR:.1%}   {verdict(child <= SHARE_BAR)}")
    print(f"                   {memory:8.1f} MB          bar {RSS_BAR_MB:.0f} MB   {verdict(memory <= RSS_BAR_MB)}")
    print(f"  agent            {agent:8.2%} of a core to make records of the readings")
    print(f"  records          {items / seconds:8.1f} a second, {size / seconds / 1e3:.1f} kB/s before compression")
    print(f"  a round of a GPU {fast_us:8d} us, each 30 s {slow_us} us more")
    return child <= SHARE_BAR and memory <= RSS_BAR_MB


def hang() -> bool:
    """A call of one of eight GPUs that does not return: rounds that the others lose, and time until it is told."""
    pace = Pace(interval_s=1.0, deadline_s=5.0)
    source = GpuSource("host", SYSTEM_CLOCK, pace)
    counts: dict[str, list[int]] = {}
    told_s = None
    began_s = time.monotonic()
    while time.monotonic() - began_s < 25:
        for reading in source.read():
            if "gpu.busy_ratio" in reading.metrics and reading.time_ns is not None:
                counts.setdefault((reading.labels or {})["gpu.index"], []).append(reading.time_ns)
        if told_s is None and any(event["labels"]["error.kind"] == "gpu_unresponsive" for event in source.events()):
            told_s = time.monotonic() - began_s
        time.sleep(0.1)
    source.close()
    gaps = [max(later - earlier for earlier, later in itertools.pairwise(times)) / 1e9
            for index, times in counts.items() if index != "3"]
    good = told_s is not None and len(gaps) == 7 and max(gaps) < 2.5
    print("a call for one of eight GPUs hangs 8 s after the start, deadline 5 s")
    print(f"  told after       {(told_s or float('nan')) - 8:8.1f} s")
    print(f"  the other seven  {max(gaps, default=float('nan')):8.1f} s between readings at most, with the start of a new process: "
          f"{verdict(good)}")
    return good


def cycles(count: int) -> bool:
    """Starts and stops of the driver session in one process."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu_cycles", str(count)], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    good = before[:2] == after[:2] and after[2] - before[2] < GROWTH_BAR_KIB
    print(f"{count:,} starts and stops")
    for name, one, other in zip(("open files", "threads", "resident KiB"), before, after, strict=True):
        print(f"  {name:16} {one:8,} -> {other:,}")
    print(f"  {verdict(good)}")
    return good


def verdict(good: bool) -> str:
    return "met" if good else "MISSED"


def main() -> int:
    """Measure all; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the steady state is measured")
    parser.add_argument("--cycles", type=int, default=10_000, help="starts and stops")
    options = parser.parse_args()
    if (why := fake_gpus.missing()) is not None:
        print(f"skipped: {why}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LD_LIBRARY_PATH"] = str(fake_gpus.build(Path(folder)))
        scenario = Path(folder) / "scenario"
        os.environ["FAKE_NVML_SCENARIO"] = str(scenario)
        scenario.write_text(fake_gpus.HEALTHY)
        good = [steady(options.seconds)]
        os.environ["FAKE_NVML_EPOCH"] = str(time.time())
        scenario.write_text(fake_gpus.HEALTHY + "[gpu 3]\nhang = nvmlDeviceGetTemperature from 8\n")
        good.append(hang())
        scenario.write_text(fake_gpus.HEALTHY)
        good.append(cycles(options.cycles))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
