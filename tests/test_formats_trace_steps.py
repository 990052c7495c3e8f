"""Where steps begin and end when the device runs behind the host, and what of them is exclusive."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.formats import open_input
from shippers.formats.intervals import exclusive

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=12)


def intervals(pairs):
    start = np.array([one for one, _ in pairs], float)
    return start, start + np.array([lasts for _, lasts in pairs], float)


@given(st.lists(PAIRS, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=3))
def test_exclusive_times_equal_those_of_a_clock_that_ticks(ranked, windows):
    """In each tick the first rank that runs counts, and no other."""
    found = np.array(list(exclusive([intervals(pairs) for pairs in ranked], intervals(windows))))
    expected = np.zeros_like(found)
    for column, (begin, lasts) in enumerate(windows):
        for tick in range(begin, begin + lasts):
            running = [rank for rank, pairs in enumerate(ranked) if any(one <= tick < one + length for one, length in pairs)]
            if running:
                expected[running[0], column] += 1

    np.testing.assert_allclose(found, expected)


def test_exclusive_times_of_many_intervals_add_up():
    """Work on long traces goes piece by piece: windows and intervals that cross pieces are counted once."""
    begin = np.arange(600_000) * 10.0
    everywhere = np.array([0.0]), np.array([6e6])
    ranked = [(begin, begin + 5), (begin + 3, begin + 8), everywhere]
    found = np.array(list(exclusive(ranked, (np.array([0.0, 3e6]), np.array([3e6, 6e6])))))

    np.testing.assert_allclose(found, [[1.5e6, 1.5e6], [0.9e6, 0.9e6], [0.6e6, 0.6e6]])


def event(name, category, start, lasts, correlation=None):
    args = {} if correlation is None else {"correlation": correlation}
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": lasts, "args": args}


def read(path, events):
    path.write_text(json.dumps(events))
    batches = dict(open_input(path))
    return batches["step"].to_pylist(), dict(batches["metric"].to_pylist()[0]["metrics"])


#: Three steps of 100 us on the host, which launches within 10 us; each kernel runs 120 us, the last one is not recorded to its end.
ASYNCHRONOUS = [part for number in range(3) for part in (
    event(f"ProfilerStep#{number}", "user_annotation", 100.0 * number, 100.0),
    event("cudaLaunchKernel", "cuda_runtime", 100.0 * number + 5, 5.0, number),
    event("gemm", "kernel", 20.0 + 130.0 * number, 120.0 if number < 2 else 5.0, number))]


def test_a_step_lasts_until_its_last_kernel_is_through(tmp_path):
    """And the next one begins there, so that each kernel counts for the step that launched it."""
    steps, _ = read(tmp_path / "t", ASYNCHRONOUS)

    assert [step["step"] for step in steps] == [0, 1, 2]
    assert [step["duration_s"] * 1e6 for step in steps] == pytest.approx([140, 130, 30])
    assert [step["phase.compute_s"] * 1e6 for step in steps] == pytest.approx([120, 120, 5])


def test_what_was_launched_before_the_first_step_is_not_part_of_it(tmp_path):
    """The device still works for an earlier step when the recording begins."""
    steps, _ = read(tmp_path / "t", [event("earlier", "kernel", 0.0, 15.0), *ASYNCHRONOUS])

    assert steps[0]["duration_s"] * 1e6 == pytest.approx(125)
    assert steps[0]["phase.compute_s"] * 1e6 == pytest.approx(120)


def test_the_last_of_several_steps_does_not_count_for_the_device(tmp_path):
    """Its kernels are often cut off: idle is measured from the first to the last kernel of the steps before it."""
    _, metrics = read(tmp_path / "t", ASYNCHRONOUS)

    assert metrics["trace.gpu_idle_ratio"] == pytest.approx(10 / 250)
    assert metrics["trace.gpu_compute_ratio"] == pytest.approx(240 / 250)
    assert metrics["trace.kernels"] == 3


def test_copies_that_nothing_hides_are_exposed(tmp_path):
    """In whatever direction; under a kernel, or under a collective, they are not."""
    _, metrics = read(tmp_path / "t", [event("gemm", "kernel", 0.0, 50.0), event("ncclDevKernel_AllGather_RING_LL", "kernel", 60.0, 20.0),
                                       event("Memcpy DtoD (Device -> Device)", "gpu_memcpy", 45.0, 10.0),
                                       event("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 75.0, 25.0)])

    assert metrics["trace.memcpy_exposed_ratio"] == pytest.approx((5 + 20) / 100)


@pytest.mark.parametrize(("name", "communicates"), [
    ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)", True), ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", True),
    ("ncclDevKernel_Generic_4(ncclDevKernelArgsStorage<4096ul>)", True), ("ncclAllReduceRingLLKernel_sum_f32(ncclColl)", True),
    ("multimem_all_reduce_kernel", True), ("triton_red_fused_all_gather_into_tensor_native_layer_norm_3", False), ("gemm", False)])
def test_kernels_that_communicate_are_known_by_name(tmp_path, name, communicates):
    """Those of old and new NCCL and RCCL; not those that Inductor names after what it fused."""
    steps, _ = read(tmp_path / "t", [event("ProfilerStep#1", "user_annotation", 0.0, 100.0), event(name, "kernel", 10.0, 50.0)])

    assert steps[0]["phase.communication_s"] * 1e6 == pytest.approx(50 if communicates else 0)


def test_without_launches_every_kernel_counts(tmp_path):
    """Where the trace does not tell what launched a kernel, windows are those of the host."""
    steps, metrics = read(tmp_path / "t", [one for one in ASYNCHRONOUS if one["cat"] != "cuda_runtime"])

    assert [step["duration_s"] * 1e6 for step in steps] == pytest.approx([100, 100, 100])
    assert metrics["trace.gpu_idle_ratio"] == pytest.approx(20 / 265)


def test_iterations_that_the_loop_names_itself_are_steps(tmp_path):
    """A trace without ProfilerStep still has steps where its annotations count them."""
    steps, _ = read(tmp_path / "t", [part for number in (7, 8, 9) for part in (
        event(f"train_step {number}", "user_annotation", 100.0 * number, 90.0),
        event("gemm", "kernel", 100.0 * number + 10, 30.0))])

    assert [step["step"] for step in steps] == [7, 8, 9]
    assert [step["duration_s"] * 1e6 for step in steps] == pytest.approx([90, 90, 90])


def test_collectives_on_the_host_are_communication(tmp_path):
    """In a trace without a device, what gloo does while no operator runs is exposed."""
    steps, _ = read(tmp_path / "t", [event("ProfilerStep#1", "user_annotation", 0.0, 100.0), event("aten::mm", "cpu_op", 0.0, 40.0),
                                     event("gloo:all_reduce", "user_annotation", 30.0, 50.0)])

    assert steps[0]["phase.compute_s"] * 1e6 == pytest.approx(40)
    assert steps[0]["phase.communication_s"] * 1e6 == pytest.approx(40)
    assert steps[0]["overlap_s"] * 1e6 == pytest.approx(10)


def test_only_copies_to_the_device_are_h2d(tmp_path):
    """Copies within the device and back from it are none."""
    steps, _ = read(tmp_path / "t", [event("gemm", "kernel", 0.0, 10.0),
                                     event("Memcpy HtoD (Pinned -> Device)", "gpu_memcpy", 5.0, 10.0),
                                     event("Memcpy DtoH (Device -> Pinned)", "gpu_memcpy", 20.0, 10.0),
                                     event("Memcpy DtoD (Device -> Device)", "gpu_memcpy", 30.0, 10.0)])

    assert steps[0]["phase.h2d_s"] * 1e6 == pytest.approx(5)


def test_more_steps_than_fit_a_batch_come_in_several(tmp_path):
    """Batches hold 65,536 records at most, and identities stay different."""
    path = tmp_path / "t"
    annotations = [event(f"ProfilerStep#{number}", "user_annotation", 10.0 * number, 9.0) for number in range(70_000)]
    path.write_text(json.dumps(annotations))
    batches = [batch for kind, batch in open_input(path) if kind == "step"]

    assert [batch.num_rows for batch in batches] == [65_536, 4_464]
    assert len({identity for batch in batches for identity in batch.column("event.id").to_pylist()}) == 70_000
