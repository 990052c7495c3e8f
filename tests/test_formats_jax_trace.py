"""Traces of JAX: both forms tell the same, devices are ranks, and what repeats operations counts once."""

import gzip
import json
import time

import pytest

from pinchpoint.errors import InputError
from shippers.diagnose import ship
from shippers.formats import open_input
from shippers.formats.jax_events import _SPACE
from shippers.recorded import recorded

GPU, CPU = "/device:GPU:0", "/host:CPU"
#: (plane, line, name, start in us, duration in us, arguments)
STEPS = [(CPU, "python", "train", 1000.0 * n, 900.0, {"step_num": str(n)}) for n in range(3)]


def as_json(path, events):
    """As the profiler writes a chrome trace: names first."""
    planes = {plane: number for number, plane in enumerate(dict.fromkeys(one[0] for one in events), 1)}
    lines = {pair: number for number, pair in enumerate(dict.fromkeys(one[:2] for one in events), 1)}
    rows = [{"ph": "M", "pid": pid, "name": "process_name", "args": {"name": plane}} for plane, pid in planes.items()]
    rows += [{"ph": "M", "pid": planes[plane], "tid": tid, "name": "thread_name", "args": {"name": line}}
             for (plane, line), tid in lines.items()]
    rows += [{"ph": "X", "pid": planes[plane], "tid": lines[plane, line], "ts": start, "dur": lasts, "name": name, "args": arguments}
             for plane, line, name, start, lasts, arguments in events]
    document = {"displayTimeUnit": "ns", "metadata": {"highres-ticks": True}, "traceEvents": [*rows, {}]}
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path


def as_xplane(path, events):
    """As the profiler writes a message."""
    space = _SPACE()
    for plane_name in dict.fromkeys(one[0] for one in events):
        plane = space.planes.add(name=plane_name)
        for key, name in enumerate(("step_num", "hlo_op"), 1):
            plane.stat_names.add(key=key).value.name = name
        mine = [one for one in events if one[0] == plane_name]
        names = {name: key for key, name in enumerate(dict.fromkeys(one[2] for one in mine), 1)}
        for name, key in names.items():
            plane.event_names.add(key=key).value.name = name
        for line_name in dict.fromkeys(one[1] for one in mine):
            line = plane.lines.add(name=line_name)
            for _, of, name, start, lasts, arguments in mine:
                if of == line_name:
                    event = line.events.add(metadata_id=names[name], offset_ps=round(start * 1e6), duration_ps=round(lasts * 1e6))
                    for argument, value in arguments.items():
                        if argument == "step_num":
                            event.stats.add(metadata_id=1, int64_value=int(value))
                        elif argument == "hlo_op":
                            event.stats.add(metadata_id=2, str_value=value.encode())
    path.write_bytes(space.SerializeToString())
    return path


def read(path):
    """What a file gives: (reading, rows by kind)."""
    reading, rows = open_input(path), {}
    for kind, batch in reading:
        rows.setdefault(kind, []).extend(batch.to_pylist())
    return reading, rows


def phases(rows):
    """Milliseconds of each step: (computation, collectives, copies to the device, compiling, waiting for data)."""
    return [tuple(round(row[f"phase.{name}_s"] * 1e3, 6) for name in ("compute", "communication", "h2d", "compile", "data_wait"))
            for row in rows["step"]]


@pytest.mark.parametrize("write", [as_json, as_xplane])
def test_operations_on_the_cpu(tmp_path, write):
    """What XLA runs is computation, on whatever thread; compiling and waiting count where nothing is computed."""
    reading, rows = read(write(tmp_path / "trace", [
        *STEPS, (CPU, "tf_XLAPjRtCpuClient/1", "fusion.1", 100.0, 300.0, {"hlo_op": "fusion.1"}),
        (CPU, "tf_XLAPjRtCpuClient/2", "fusion.2", 200.0, 400.0, {"hlo_op": "fusion.2"}),
        (CPU, "python", "backend_compile_and_load", 1000.0, 500.0, {}), (CPU, "tf_Compiler/1", "PjRtCpuClient::Compile", 1100.0, 300.0, {}),
        (CPU, "python", "$data_loader.py:510 __next__", 2100.0, 250.0, {}), (CPU, "python", "$pjit.py:250 cache_miss", 0.0, 900.0, {})]))

    assert phases(rows) == [(0.5, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 0.0, 0.25)]
    assert [(row["step"], round(row["duration_s"], 9)) for row in rows["step"]] == [(n, 0.0009) for n in range(3)]
    assert [one["name"] for one in reading.summary] == ["fusion.2", "fusion.1"]


@pytest.mark.parametrize("write", [as_json, as_xplane])
def test_each_device_is_a_rank(tmp_path, write):
    """Its own line of steps goes before what the host annotated; its other lines and streams repeat operations."""
    events = list(STEPS)
    for device, busy_us in enumerate((500.0, 800.0)):
        plane = f"/device:GPU:{device}"
        events += [(plane, "Steps", str(n), 2000.0 * n, 1000.0, {}) for n in range(2)]
        events += [(plane, line, "fusion", 2000.0 * n, busy_us, {"hlo_op": "fusion"}) for n in range(2)
                   for line in ("XLA Ops", "XLA Modules", "Framework Ops", "Stream #7(Compute)")]
        events += [(plane, "XLA Ops", "all-reduce-start.3", 2000.0 * n + 700.0, 200.0, {}) for n in range(2)]
        events += [(plane, "XLA Ops", "MemcpyH2D", 2000.0 * n + 950.0, 25.0, {}) for n in range(2)]
    _, rows = read(write(tmp_path / "trace", events))

    assert [(row["rank"], row["world_size"], row["step"]) for row in rows["step"]] == [(0, 2, 0), (0, 2, 1), (1, 2, 0), (1, 2, 1)]
    assert phases(rows) == [(0.5, 0.2, 0.025, 0.0, 0.0)] * 2 + [(0.8, 0.1, 0.025, 0.0, 0.0)] * 2
    assert [round(row["overlap_s"] * 1e3, 6) for row in rows["step"]] == [0.0, 0.0, 0.1, 0.1]
    metrics = [dict(row["metrics"]) for row in rows["metric"]]
    assert [round(one["trace.gpu_idle_ratio"], 6) for one in metrics] == [0.275, 0.075]


def test_streams_stand_for_a_device_without_a_line_of_operations(tmp_path):
    """As older profilers write it."""
    _, rows = read(as_json(tmp_path / "trace", [*STEPS, (GPU, "Stream #7(Compute)", "gemm", 100.0, 300.0, {}),
                                                (GPU, "Stream #8(MemcpyH2D)", "MemcpyH2D", 300.0, 200.0, {})]))

    assert phases(rows)[0] == (0.3, 0.0, 0.1, 0.0, 0.0)


def test_without_a_step_the_whole_trace_counts_as_one(tmp_path):
    """And says what would tell steps."""
    reading, rows = read(as_json(tmp_path / "trace", [(GPU, "XLA Ops", "gemm", start, 300.0, {}) for start in (0.0, 700.0)]))

    assert [(row["step"], row["duration_s"], row["phase.compute_s"]) for row in rows["step"]] == [(0, 0.001, 0.0006)]
    assert any("StepTraceAnnotation" in note for note in reading.notes)


def test_of_a_folder_the_form_that_holds_everything_is_read(tmp_path):
    """The other one is the same once more."""
    events = [*STEPS, (CPU, "x", "fusion", 100.0, 300.0, {"hlo_op": "fusion"})]
    folder = tmp_path / "plugins" / "profile" / "now"
    folder.mkdir(parents=True)
    as_json(folder / "host.trace.json.gz", events)
    as_xplane(folder / "host.xplane.pb", events)
    with recorded() as store:
        inputs, _ = ship((str(tmp_path / "plugins"),), None, store, None)

    assert [one["reader"] for one in inputs] == ["jax_xplane"]


def test_events_of_no_possible_time_are_rejected(tmp_path):
    """The others are read."""
    events = [(GPU, "XLA Ops", "x", start, lasts, {}) for start, lasts in ((0.0, 300.0), (0.0, -1.0), (1e300, 1.0))]
    reading, rows = read(as_json(tmp_path / "trace", [*STEPS, *events]))

    assert (reading.rejected, phases(rows)[0]) == (2, (0.3, 0.0, 0.0, 0.0, 0.0))


def test_what_is_no_message_says_so(tmp_path):
    """Whatever it begins with."""
    path = tmp_path / "trace.xplane.pb"
    path.write_bytes(b"\x0a\xff\x01\x12\x09/host:CPU" + b"\xff" * 500)

    with pytest.raises(InputError, match="no XSpace"):
        list(open_input(path))


def test_a_trace_of_jax_itself(tmp_path):
    """Both forms of one trace of the CPU tell the same of each step: compiling in the first, sleeping in the third."""
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    step = jax.jit(lambda x: (x @ x).sum())
    x = jax.numpy.ones((200, 200))
    with jax.profiler.trace(str(tmp_path)):
        for number in range(4):
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                time.sleep(0.05 if number == 2 else 0.0)
                step(x).block_until_ready()
    (from_json,), (from_xplane,) = (list(tmp_path.rglob(name)) for name in ("*.trace.json.gz", "*.xplane.pb"))
    rows = read(from_xplane)[1]

    assert phases(rows) == phases(read(from_json)[1])
    assert rows["step"][0]["phase.compile_s"] > 0.5 * rows["step"][0]["duration_s"]
    assert rows["step"][2]["duration_s"] > 0.05 > rows["step"][2]["phase.compute_s"]
