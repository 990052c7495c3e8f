"""Print how long `pinchpoint --help` takes, beside an empty Python of the same environment."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 20


def wall_s(command: list[str]) -> float:
    """Wall seconds of one call."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Take turns, so that a busy machine slows both alike."""
    commands = {
        "pinchpoint --help": [str(Path(sys.executable).parent / "pinchpoint"), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(wall_s(command))
    for name, taken in times.items():
        low, _, high = statistics.quantiles(taken, n=4)
        print(f"{name:28} median {statistics.median(taken):.3f} s, half of {ROUNDS} between {low:.3f} and {high:.3f} s")
    print("bar: pinchpoint --help below 0.15 s")


if __name__ == "__main__":
    main()
