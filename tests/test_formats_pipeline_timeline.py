"""Timelines of pipeline-parallel jobs tell what the table of the same operations tells."""

import gzip
import json

import pyarrow.parquet as pq
import pytest
from test_formats_operation_table import table

from shippers.formats import open_input

DATA = "../shared/data/bytedance_straggler/dev/AR/input"


def timeline(path, content, tensor_ranks=1, named=True):
    """The chrome trace of a table: names of threads come after what is on them, as in published ones."""
    events, names = [], {}
    for row in content.to_pylist():
        for tensor in range(tensor_ranks):
            tid = (row["stage"] * 8 + row["dp_rank"]) * 8 + tensor
            names[row["dp_rank"], tid] = f"PP rank {row['stage']}, TP rank {tensor}, compute"
            events.append({"name": row["optype"], "cat": row["optype"], "pid": row["dp_rank"], "tid": tid, "ts": row["start_ts"] * 1e6,
                           "dur": row["duration"] * 1e6, "ph": "X", "args": {"step": row["step"], "model_chunk": 0, "mb_id": row["mb_id"]}})
    if named:
        events += [{"name": "thread_name", "pid": pid, "tid": tid, "ph": "M", "args": {"name": name}} for (pid, tid), name in names.items()]
    path.write_bytes(gzip.compress(json.dumps(events).encode()))
    return path


def read(path):
    """What a file gives: (reading, steps, numbers that it states)."""
    reading, steps, told = open_input(path), [], {}
    for kind, batch in reading:
        for row in batch.to_pylist():
            if kind == "step":
                steps.append({name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()})
            else:
                told = {name: round(value, 6) for name, value in row["metrics"]}
    return reading, steps, told


@pytest.mark.parametrize("tensor_ranks", [1, 2])
def test_a_timeline_tells_what_its_table_tells(tmp_path, tensor_ranks):
    """Step by step, and what the slow worker costs; of tensor-parallel ranks the first stands for all."""
    content = table(lambda dp, stage: 0.4 if (dp, stage) == (2, 1) else 0.2)
    pq.write_table(content, tmp_path / "ops.parquet")
    reading, *found = read(timeline(tmp_path / "ops.json.gz", content, tensor_ranks))

    assert reading.reader == "pipeline_timeline"
    assert found == list(read(tmp_path / "ops.parquet")[1:])
    assert found[1]["told.slowdown"] > 1.5


def test_threads_whose_stage_is_not_told_are_left_out(tmp_path):
    """With a note."""
    reading, steps, _ = read(timeline(tmp_path / "ops.json.gz", table(lambda dp, stage: 0.2), named=False))

    assert steps == []
    assert any("no stage" in note for note in reading.notes)


def test_operations_that_cannot_be_are_left_out(tmp_path):
    """Those around them are read."""
    path = timeline(tmp_path / "ops.json.gz", table(lambda dp, stage: 0.2))
    events = json.loads(gzip.decompress(path.read_bytes()))
    events[3]["args"]["step"], events[4]["dur"], events[5]["args"]["mb_id"], events[6]["pid"] = -1, -5.0, 2**60, 2**40
    path.write_bytes(json.dumps(events).encode())
    reading, steps, _ = read(path)

    assert (reading.rejected, len(steps)) == (1, 96)


def test_the_published_timeline_gives_the_published_numbers(request):
    """ByteDance's trace AR: slowdown 1.973, one worker accounts for it, the last stage does not."""
    path = request.config.rootpath / DATA / "timeline-AR.json.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    told = read(path)[2]

    assert told["told.slowdown"] == pytest.approx(1.973, rel=0.001)
    assert (told["told.M_W"], told["told.M_S"]) == (pytest.approx(1.002, abs=0.005), pytest.approx(-0.001, abs=0.005))
