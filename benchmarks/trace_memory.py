"""Time and peak memory of `pinchpoint diagnose` on a profiler trace of 5 MB and of 1 GB."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(path: Path, size: int) -> None:
    """A trace of about `size` bytes, in the layout that Kineto writes."""
    with path.open("w") as file:
        file.write('{"schemaVersion": 1, "traceEvents": [\n')
        number, written = 0, 0
        while written < size:
            step, place = divmod(number, 1000)
            begin = 1e9 + 1000.0 * number
            if place == 0:
                one = {"ph": "X", "cat": "user_annotation", "name": f"ProfilerStep#{step}", "pid": 1, "tid": 1, "ts": begin,
                       "dur": 999_000.0}
            else:
                # an operator, the call that launches its kernel, the kernel
                category, name = (("kernel", "gemm"), ("cpu_op", "aten::op"), ("cuda_runtime", "cudaLaunchKernel"))[place % 3]
                one = {"ph": "X", "cat": category, "name": f"{name}_{place % 50}", "pid": 0, "tid": 7, "ts": begin, "dur": 700.0,
                       "args": {"External id": number, "device": 0, "stream": 7, "correlation": number - (category == "kernel"),
                                "grid": [64, 1, 1], "block": [128, 1, 1], "registers per thread": 64,
                                "est. achieved occupancy %": 50}}
            text = ("" if number == 0 else ",\n") + json.dumps(one, indent=1)
            file.write(text)
            written += len(text)
            number += 1
        file.write("\n]}\n")


def main() -> None:
    """Make the traces, read them, print."""
    print(f"{'trace':>10}{'wall s':>9}{'peak MB':>9}")
    for size in (5_000_000, 1_000_000_000):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            make(path, size)
            began = time.monotonic()
            command = [str(Path(sys.executable).parent / "pinchpoint"), "diagnose", str(path)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            print(f"{size / 1e6:>7.0f} MB{time.monotonic() - began:>9.2f}{usage.ru_maxrss / 1024:>9.0f}"
                  + (f"  status {status}" if status else ""))


if __name__ == "__main__":
    main()
