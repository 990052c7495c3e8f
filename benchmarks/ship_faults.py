"""Ten runs of the agent under every fault of a server, a rotated log and six kill -9 each: what was lost, what came twice.

python -m benchmarks.ship_faults --runs 10 --lines 200000 --rate 10000
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import bulk_sink  # noqa: E402 - the tests' sink

KILLS = 6
_TIMEOUT_S = 600.0


def run(program: Path, how: str, lines: int, rate: int, seed: int) -> tuple[int, int, float]:
    """Lines lost and doubled, and seconds until the last line was there."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="bench-ship-") as name, \
            bulk_sink.running(program, "--expect", str(lines), "--seed", str(seed), *bulk_sink.FAULTS) as sink:
        folder = Path(name)
        (folder / "logs").mkdir()
        log = folder / "logs" / "app.log"
        log.touch()
        program_of_agent = str(Path(sys.executable).with_name("pinchpoint"))
        command = [program_of_agent, "ship", "--state-dir", str(folder / "state"), "--store", sink.url, f"{log}*"]
        output = (folder / "agent.log").open("wb")
        begun = time.monotonic()
        agent = subprocess.Popen(command, stderr=output)
        time.sleep(2.0)  # it has seen the first file, as an agent that runs for months has
        writer = subprocess.Popen([sys.executable, ROOT / "tests" / "log_writer.py", log, str(lines), str(rate), "1.5", how])
        span_s = lines / rate
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 2 * span_s / KILLS))
            agent.kill()
            agent.wait()
            agent = subprocess.Popen(command, stderr=output)
        while (writer.poll() is None or sink.stats()["missing"]) and time.monotonic() - begun < _TIMEOUT_S:
            time.sleep(0.2)
        took = time.monotonic() - begun
        found = sink.stats()
        agent.terminate()
        agent.wait()
        writer.kill()
        writer.wait()
        output.close()
    return found["missing"], found["duplicates"], took


def main() -> int:
    """Print each run; the status says whether every one lost and doubled nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    options = parser.parse_args()
    if (why := bulk_sink.missing()) is not None:
        print(f"skipped: {why}")
        return 0
    bad = 0
    with tempfile.TemporaryDirectory(prefix="bench-ship-") as folder:
        program = bulk_sink.build(Path(folder))
        for number in range(options.runs):
            how = ("create", "copytruncate")[number % 2]
            lost, doubled, took = run(program, how, options.lines, options.rate, number)
            bad += bool(lost or doubled)
            print(f"run {number + 1:2}, {how:12} {KILLS} kills, all faults: {lost} lost, {doubled} doubled, {took:.0f} s", flush=True)
    print(f"{options.runs - bad} of {options.runs} runs lost and doubled nothing")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
