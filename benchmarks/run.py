"""All measurements one after the other: `make bench`."""

import subprocess
import sys

PARTS = {
    "Start-up: pinchpoint --help": ["benchmarks/help_time.py"],
    "Analysis of a lake, beside DuckDB": ["-m", "benchmarks.analysis_speed"],
    "A trace of 1 GB": ["benchmarks/trace_memory.py"],
    "A trace of 200 MB": ["-m", "benchmarks.trace_speed"],
    "A training log of a million lines": ["-m", "benchmarks.log_speed"],
    "The SDK in a training loop": ["benchmarks/sdk_overhead.py"],
    "watch beside the example": ["benchmarks/watch_overhead.py"],
    "The OTLP receiver": ["benchmarks/otlp_speed.py"],
}


def main() -> int:
    """Run each part and go on whatever one of them does; the status says whether all ended well."""
    failed = False
    for title, arguments in PARTS.items():
        print(f"\n{title}\n{'=' * len(title)}", flush=True)
        failed |= subprocess.run([sys.executable, *arguments]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
