"""Traces of the PyTorch profiler: phases of each step, whatever shape or state the file is in."""

import contextlib
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.errors import InputError
from shippers.formats import detect, open_input
from shippers.formats.intervals import covered

REAL = Path(__file__).parents[2] / "shared" / "data"


def event(name, category, start, lasts, **more):
    return {"ph": "X", "name": name, "cat": category, "ts": start, "dur": lasts, "pid": 1, "tid": 1, **more}


#: Two steps of 100 us: 30 waiting for data, 50 of kernels of which 10 are hidden under nothing, 10 of communication behind them.
STEPS = [part for begin in (1000.0, 1100.0) for part in (
    event(f"ProfilerStep#{int(begin / 100)}", "user_annotation", begin, 100.0),
    event("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", "user_annotation", begin, 30.0),
    event("aten::copy_", "cpu_op", begin + 5, 10.0),
    event("Memcpy HtoD (Pageable -> Device)", "gpu_memcpy", begin + 30, 5.0),
    event("gemm", "kernel", begin + 40, 40.0),
    event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "kernel", begin + 70, 20.0))]


def write(path, document):
    path.write_text(json.dumps(document))
    return path


def read(path):
    reading = open_input(path)
    batches = dict(reading)
    return batches["step"].to_pylist(), dict(batches["metric"].to_pylist()[0]["metrics"]), reading


SHAPES = {
    "object": lambda events: {"schemaVersion": 1, "distributedInfo": {"rank": 3, "world_size": 8}, "traceEvents": events, "traceName": "x"},
    "bare list": lambda events: events,
    "with nested lists": lambda events: {"traceEvents": [{**one, "args": {"Input Dims": [[1], [2]], "more": [{"a": 1}, {"b": 2}]}}
                                                         for one in events]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_phases_of_a_step_are_exclusive(tmp_path, shape):
    """What runs at the same time counts once: kernels first, then communication, copies and the loader."""
    steps, metrics, _ = read(write(tmp_path / "t.json", SHAPES[shape](STEPS)))
    step = steps[0]

    assert [one["step"] for one in steps] == [10, 11]
    assert step["duration_s"] == pytest.approx(100e-6)
    assert step["phase.data_wait_s"] == pytest.approx(30e-6)
    assert step["phase.h2d_s"] == pytest.approx(5e-6)
    assert step["phase.compute_s"] == pytest.approx(40e-6)
    assert step["phase.communication_s"] == pytest.approx(10e-6)
    assert step["overlap_s"] == pytest.approx(10e-6)
    assert metrics["trace.single_process_loader"] == 1.0
    assert (step["rank"], step["world_size"]) == ((3, 8) if shape == "object" else (0, None))


def test_gzip_is_found_by_looking_inside(tmp_path):
    """A compressed trace under any name."""
    path = tmp_path / "unnamed"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": STEPS}).encode()))

    assert detect(path).name == "torch_profiler"
    assert len(read(path)[0]) == 2


def test_without_profiler_steps_the_whole_trace_is_one(tmp_path):
    """And the answer says so."""
    steps, _, reading = read(write(tmp_path / "t", [one for one in STEPS if not one["name"].startswith("ProfilerStep")]))

    assert len(steps) == 1
    assert any("ProfilerStep" in note for note in reading.notes)


def test_a_trace_of_the_cpu_alone_counts_operators(tmp_path):
    """Without kernels, operators outside the loader are the computation."""
    loader = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    steps, _, reading = read(write(tmp_path / "t", [event("ProfilerStep#1", "user_annotation", 0, 100), event(loader, "cpu_op", 0, 20),
                                                    event("aten::mm", "cpu_op", 30, 50)]))

    assert steps[0]["phase.compute_s"] == pytest.approx(50e-6)
    assert steps[0]["phase.data_wait_s"] == pytest.approx(20e-6)
    assert any("no kernels" in note for note in reading.notes)


def test_kernels_and_operators_are_summed_up(tmp_path):
    """The names that took most time, most first."""
    _, _, reading = read(write(tmp_path / "t", STEPS))

    assert reading.summary[0] == {"kind": "kernel", "name": "gemm", "count": 2, "total_s": pytest.approx(80e-6)}


def test_a_large_trace_is_read_in_pieces(tmp_path):
    """More events than fit one piece come out whole."""
    many = [event(f"kernel {number % 7}", "kernel", 10.0 * number, 5.0, args={"stream": 7, "grid": [1, 2, 3]})
            for number in range(60_000)]
    path = write(tmp_path / "t", {"traceEvents": many})
    steps, metrics, reading = read(path)

    assert path.stat().st_size > 6 << 20
    assert metrics["trace.kernels"] == 60_000
    assert steps[0]["phase.compute_s"] == pytest.approx(0.3)
    assert reading.rejected == 0


def test_a_truncated_trace_is_read_as_far_as_it_goes(tmp_path):
    """With a note of how far that was."""
    path = write(tmp_path / "t", {"traceEvents": STEPS})
    path.write_bytes(path.read_bytes()[:-200])
    _, metrics, reading = read(path)

    assert metrics["trace.kernels"] >= 2
    assert any("truncated after" in note for note in reading.notes)


def test_events_with_values_of_a_wrong_type_are_counted(tmp_path):
    """One bad event never costs the others."""
    steps, _, reading = read(write(tmp_path / "t", [*STEPS, {"ph": "X", "name": 5, "ts": "soon"}, 7, None,
                                                    event("endless", "kernel", 0, 1e18), event("backwards", "kernel", 0, -5)]))

    assert len(steps) == 2
    assert reading.rejected == 5


HOSTILE = {
    "deep nesting": b'{"traceEvents": [' + b'{"args":' * 50_000, "not JSON": b'{"traceEvents": [nope]}',
    "no events": b'{"traceEvents": []}',
    "no list": b'{"traceEvents": 3}', "zeros": b"\x00" * 4096, "only a beginning": b'{"traceEvents": [{"ph": "X"',
    "a bomb": gzip.compress(b'{"traceEvents": [' + b" " * (80 << 20)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path, data):
    """A clear error with the file in it, never a crash."""
    path = tmp_path / "t"
    path.write_bytes(data)

    with pytest.raises(InputError, match=str(path)):
        list(open_input(path, reader="torch_profiler"))


@given(st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_cut_anywhere_it_is_read_or_refused(tmp_path_factory, length):
    """No length of a file ends in anything but batches or an InputError."""
    path = tmp_path_factory.mktemp("cut") / "t"
    path.write_bytes(json.dumps({"traceEvents": STEPS}).encode()[:length])
    with contextlib.suppress(InputError):
        list(open_input(path, reader="torch_profiler"))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30), st.integers(0, 60), st.integers(0, 40))
def test_coverage_equals_counting_one_by_one(pairs, begin, lasts):
    """The covered part of a window is that of a clock that ticks through it."""
    start = np.array([one for one, _ in pairs], float)
    end = start + np.array([length for _, length in pairs], float)
    ticks = sum(any(one <= tick < one + length for one, length in pairs) for tick in range(begin, begin + lasts))

    assert covered(start, end, (np.array([float(begin)]), np.array([float(begin + lasts)])))[0] == pytest.approx(ticks)


KINETO = {"resnet50_num_workers_0/worker0.1623143089861": 0.3337, "resnet50_num_workers_0/worker0.1623143566756": 0.2292,
          "resnet50_num_workers_4/worker0.1623212756351": 0.0084, "resnet50_num_workers_4/worker0.1623213129365": 0.0020}


@pytest.mark.parametrize("name", KINETO)
def test_the_loaders_share_is_that_of_the_tensorboard_plugin(name):
    """On published traces, within half a point of what torch_tb_profiler 0.4.3 says."""
    path = REAL / "kineto_tb_samples" / "dev" / f"{name}.pt.trace.json.gz"
    if not path.exists():
        pytest.skip(f"needs {path.name} of the published samples, which are not part of this repository")
    steps, _, _ = read(path)

    share = sum(step["phase.data_wait_s"] for step in steps) / sum(step["duration_s"] for step in steps)
    assert share == pytest.approx(KINETO[name], abs=0.005)


@pytest.mark.parametrize("path", sorted(REAL.glob("hta_testdata/**/*.json.gz")) or [None], ids=lambda path: path.name if path else "none")
def test_published_traces_are_read(path):
    """Of NVIDIA, AMD and MTIA devices, old and new."""
    if path is None:
        pytest.skip("needs published traces, which are not part of this repository")
    try:
        batches = list(open_input(path))
    except InputError as error:
        assert path.name in str(error)
    else:
        assert all(batch.num_rows for _, batch in batches)
