"""Tables of operations of pipeline-parallel jobs: what stragglers cost, by simulation."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinchpoint.config import Config
from pinchpoint.errors import InputError
from pinchpoint.store import open_store
from pipelines.analysis import diagnose_run
from shippers.formats import open_input

STAGES, WORKERS, MICROBATCHES = 4, 4, 8


def table(seconds, steps=6):
    """A job whose stages run all forward and then all backward passes; `seconds(dp, stage)` is a forward pass, backward takes twice."""
    rows = []
    for step in range(steps):
        for dp in range(WORKERS):
            done = {}
            free = [0.0] * STAGES
            for kind, order, weight in (("forward-compute", range(STAGES), 1), ("backward-compute", range(STAGES - 1, -1, -1), 2)):
                for microbatch in range(MICROBATCHES):
                    for stage in order:
                        before = done.get((kind, stage - 1 if weight == 1 else stage + 1, microbatch), 0.0)
                        start = max(free[stage], before)
                        took = seconds(dp, stage) * weight
                        free[stage] = done[kind, stage, microbatch] = start + took
                        rows.append((dp, stage, stage * WORKERS + dp, step, kind, start, took, microbatch))
    names = ("dp_rank", "stage", "rank", "step", "optype", "start_ts", "duration", "mb_id")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def answer(tmp_path, content):
    pq.write_table(content, tmp_path / "ops.parquet")
    store = open_store(str(tmp_path / "lake"))
    for number, (kind, batch) in enumerate(open_input(tmp_path / "ops.parquet")):
        store.append(kind, batch, str(number))
    return diagnose_run(str(tmp_path / "lake"), None, Config())


def causes(found):
    return [cause["cause"] for incident in found["incidents"] for cause in incident["causes"]]


def test_one_slow_worker(tmp_path):
    """It is named, and mending it would win all that was lost."""
    found = answer(tmp_path, table(lambda dp, stage: 0.4 if (dp, stage) == (2, 1) else 0.2))

    assert causes(found)[:1] == ["slow_gpu"]
    assert found["entities"][0]["entity"] == "rank:6"
    assert found["shares"]["slowdown"] > 1.5
    assert found["shares"]["M_W"] == pytest.approx(1.0, abs=0.1)
    assert abs(found["shares"]["M_S"]) < 0.1


def test_a_last_stage_with_too_many_layers(tmp_path):
    """The stage is to blame, not its workers one by one."""
    found = answer(tmp_path, table(lambda dp, stage: 0.4 if stage == STAGES - 1 else 0.2))

    assert causes(found)[:1] == ["stage_imbalance"]
    assert found["shares"]["M_S"] > 0.9
    assert found["shares"]["M_W"] < 0.3


def test_an_even_job_is_healthy(tmp_path):
    """Waiting for the pipeline to fill is no incident."""
    found = answer(tmp_path, table(lambda dp, stage: 0.2))

    assert found["verdict"] == "healthy"
    assert found["shares"]["slowdown"] == pytest.approx(1.0, abs=0.01)


def test_csv_is_read_too_and_bad_rows_are_set_aside(tmp_path):
    """A row without its numbers is counted."""
    rows = table(lambda dp, stage: 0.2, steps=1).to_pylist()
    lines = [",".join(rows[0])] + [",".join(map(str, row.values())) for row in rows] + ["0,1,2", "a,b,c,d,e,f,g,h"]
    (tmp_path / "ops.csv").write_text("\n".join(lines))
    reading = open_input(tmp_path / "ops.csv")

    assert sum(batch.num_rows for kind, batch in reading if kind == "step") == STAGES * WORKERS
    assert (reading.reader, reading.rejected) == ("operation_table", 2)


def test_numbers_that_cannot_be_are_set_aside(tmp_path):
    """A stage or a rank beyond any job, or below 0, is no operation: nothing is made in its size."""
    good = table(lambda dp, stage: 0.2, steps=1).to_pylist()
    bad = [{**good[0], "stage": 2**50}, {**good[0], "dp_rank": -1}, {**good[0], "duration": float("nan")}, {**good[0], "mb_id": 2**60}]
    pq.write_table(pa.Table.from_pylist(good + bad), tmp_path / "ops.parquet")
    reading = open_input(tmp_path / "ops.parquet")

    assert sum(batch.num_rows for kind, batch in reading if kind == "step") == STAGES * WORKERS
    assert reading.rejected == 3


def test_a_table_of_something_else_says_what_it_lacks(tmp_path):
    """Parquet without these columns is refused with their names."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="lacks the columns dp_rank, stage"):
        list(open_input(tmp_path / "x.parquet"))

    (tmp_path / "y.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(InputError, match="no table of operations"):
        list(open_input(tmp_path / "y.parquet"))
