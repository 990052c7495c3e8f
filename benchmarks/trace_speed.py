"""Time and peak memory of `pinchpoint diagnose` on a profiler trace of 200 MB, beside HolisticTraceAnalysis on the same file.

    python -m benchmarks.trace_speed --hta /path/to/python

--hta names the Python of an environment with HolisticTraceAnalysis in it (pip install HolisticTraceAnalysis); without it only the
first is measured. The two take turns, three times each.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS_BAR, RSS_BAR_MB, RATIO_BAR = 25.0, 600.0, 3.0
_SIZE = 200_000_000
_STEPS = 40
#: What somebody asks HolisticTraceAnalysis for the same numbers: it reads the trace and breaks it down.
_HTA = """
import sys
from hta.trace_analysis import TraceAnalysis
analysis = TraceAnalysis(trace_files={0: sys.argv[1]}, trace_dir="")
print(analysis.get_temporal_breakdown(visualize=False).to_string())
"""
_OPERATORS = ("aten::linear", "aten::addmm", "aten::layer_norm", "aten::gelu", "aten::_scaled_dot_product_flash_attention", "aten::add_")
_KERNELS = ("ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_64x3_tn",
            "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl(at::TensorIteratorBase&)::{lambda()#2}>",
            "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>(int, float)",
            "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::bfloat16_t> >",
            "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)")


def make(path: Path, size: int) -> None:
    """A trace of about `size` bytes in the layout that Kineto writes: operators, the calls that launch kernels, flows, kernels."""
    chance = random.Random(7)
    a_step = size // _STEPS
    with path.open("w") as file:
        file.write('{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA A100-SXM4-80GB"}],\n'
                   '"distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 8}, "traceEvents": [\n')
        host_us, device_us, number = 1e9, 1e9, 1
        for step in range(_STEPS):
            begin_us, written = host_us, 0
            while written < a_step:
                text = _call(number, host_us, device_us, chance)
                device_us = max(device_us, host_us + 6) + 21.0
                host_us += 20.0
                written += len(text)
                number += 1
                file.write(text)
            event = {"ph": "X", "cat": "user_annotation", "name": f"ProfilerStep#{step}", "pid": 99, "tid": 99, "ts": begin_us,
                     "dur": host_us - begin_us, "args": {"External id": number}}
            file.write(json.dumps(event, indent=2) + ",\n")
        file.write('{"ph": "i", "name": "Record Window End", "pid": "", "tid": "", "ts": ' + str(device_us) + ', "s": "g"}\n]}\n')


def _call(number: int, host_us: float, device_us: float, chance: random.Random) -> str:
    """An operator, what it calls, and what that launches, as text that ends in a comma."""
    kernel = chance.choice(_KERNELS)
    start_us = round(max(device_us, host_us + 6), 3)
    name = chance.choice(_OPERATORS)
    host = {"pid": 99, "tid": 99}
    events = (
        {"ph": "X", "cat": "cpu_op", "name": name, **host, "ts": host_us, "dur": 18.5,
         "args": {"External id": number, "Sequence number": number, "Fwd thread id": 0, "Record function id": 0,
                  "Input Dims": [[8, 1024, 4096], [4096, 4096], [4096]], "Input type": ["c10::BFloat16", "c10::BFloat16", "c10::BFloat16"],
                  "Ev Idx": number}},
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", **host, "ts": host_us + 3, "dur": 4.25,
         "args": {"External id": number, "cbid": 211, "correlation": number}},
        {"ph": "s", "id": number, **host, "ts": host_us + 3, "cat": "ac2g", "name": "ac2g"},
        {"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 20 if "nccl" in kernel else 7, "ts": start_us, "dur": 20.75,
         "args": {"External id": number, "queued": 0, "device": 0, "context": 1, "stream": 20 if "nccl" in kernel else 7,
                  "correlation": number, "registers per thread": 64, "shared memory": 49152, "blocks per SM": 1.5, "warps per SM": 12.0,
                  "grid": [64, 1, 1], "block": [128, 1, 1], "est. achieved occupancy %": 50}},
        {"ph": "f", "id": number, "pid": 0, "tid": 7, "ts": start_us, "cat": "ac2g", "name": "ac2g", "bp": "e"})
    return "".join(json.dumps(event, indent=2) + ",\n" for event in events)


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds of wall time and MB of memory at its peak of a command that must end well."""
    began_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.monotonic() - began_s, usage.ru_maxrss * 1024 / 1e6


def main() -> int:
    """Make the trace, read it, print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hta", metavar="PYTHON", help="Python of an environment with HolisticTraceAnalysis")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        make(path, _SIZE)
        ours = [str(Path(sys.executable).parent / "pinchpoint"), "diagnose", str(path)]
        commands = {"pinchpoint": ours} | ({"HTA": [options.hta, "-c", _HTA, str(path)]} if options.hta else {})
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.repeat):
            for name, command in commands.items():
                found[name].append(measure(command))
        print(f"a trace of {path.stat().st_size / 1e6:.0f} MB, {options.repeat} times; the middle, and the least to the most")
    middle = {}
    for name, runs in found.items():
        seconds = sorted(one for one, _ in runs)
        middle[name] = statistics.median(seconds)
        print(f"  {name:12}{middle[name]:8.2f} s  ({seconds[0]:.2f} to {seconds[-1]:.2f}){max(peak for _, peak in runs):8.0f} MB")
    good = middle["pinchpoint"] <= SECONDS_BAR and max(peak for _, peak in found["pinchpoint"]) <= RSS_BAR_MB
    if "HTA" in middle:
        ratio = middle["HTA"] / middle["pinchpoint"]
        print(f"  {ratio:.1f} times as fast; bar {RATIO_BAR:.0f}")
        good &= ratio >= RATIO_BAR
    print(f"  bars: {SECONDS_BAR:.0f} s, {RSS_BAR_MB:.0f} MB: {'met' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
