"""Published traces give the numbers that other tools give of them."""

from pathlib import Path

import pytest

from pinchpoint.errors import InputError
from shippers.formats import open_input

REAL = Path(__file__).parents[2] / "shared" / "data"
TRACES = [path for name in ("kineto_tb_samples", "hta_testdata", "tracelens", "modded_nanogpt", "bytedance_straggler")
          for path in sorted((REAL / name).rglob("*.json.gz"))]

#: Mean step in microseconds, by torch_tb_profiler 0.4.3.
STEPS = {"resnet50_num_workers_0/worker0.1623143089861": 177592, "resnet50_num_workers_0/worker0.1623143566756": 154911,
         "resnet50_num_workers_4/worker0.1623212756351": 141068, "resnet50_num_workers_4/worker0.1623213129365": 142808}
#: Percent of the kernel timeline idle and computing, by HolisticTraceAnalysis 0.5.0.
DEVICE = {"trace_diff/control/control": (16.2, 61.23), "trace_diff/test/test": (7.47, 68.31),
          "timeline_analysis/sampled_rank-0": (53.56, 17.71), "mtia_trace_single_rank/mtia_rank_0": (42.39, 54.81),
          "amd_trace/mi250_minitoy_train_ROCm6_2_kineto": (98.53, 1.08), "triton_example/triton_example": (0.0, 100.0)}


def read(name):
    path = REAL / name
    if not path.exists():
        pytest.skip(f"needs {path.name} of the published traces, which are not part of this repository")
    batches = dict(open_input(path))
    return batches["step"].to_pylist(), dict(batches["metric"].to_pylist()[0]["metrics"])


@pytest.mark.parametrize("name", STEPS)
def test_steps_last_as_long_as_the_tensorboard_plugin_says(name):
    """To the microsecond: windows are extended to the kernels that were launched in them."""
    steps, _ = read(f"kineto_tb_samples/dev/{name}.pt.trace.json.gz")

    assert sum(step["duration_s"] for step in steps) / len(steps) * 1e6 == pytest.approx(STEPS[name], abs=1)


@pytest.mark.parametrize("name", DEVICE)
def test_the_device_is_as_busy_as_holistic_trace_analysis_says(name):
    """Within one point of idle and computing time."""
    _, metrics = read(f"hta_testdata/dev/{name}.json.gz")

    found = 100 * metrics["trace.gpu_idle_ratio"], 100 * metrics["trace.gpu_compute_ratio"]
    assert found == pytest.approx(DEVICE[name], abs=1.0)


@pytest.mark.parametrize("path", TRACES or [None], ids=lambda path: str(path.relative_to(REAL)) if path else "none")
def test_every_published_trace_is_read_or_refused(path):
    """Whatever the profiler, the device and the version."""
    if path is None:
        pytest.skip("needs published traces, which are not part of this repository")
    try:
        batches = list(open_input(path))
    except InputError as error:
        assert path.name in str(error)
    else:
        assert all(batch.num_rows for _, batch in batches)
