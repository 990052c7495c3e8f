"""Tables of logged values without times of day: metrics.csv of Lightning, golden values of Megatron-LM."""

import json

import pytest

from pinchpoint.errors import InputError
from shippers.formats import open_input


def read(path):
    """What a file gives: (reading, rows by kind)."""
    reading, rows = open_input(path), {}
    for kind, batch in reading:
        rows.setdefault(kind, []).extend(batch.to_pylist())
    return reading, rows


def test_lightning_with_the_time_of_a_step(tmp_path):
    """A column that the training logged; rows of validation lie between."""
    path = tmp_path / "version_0" / "metrics.csv"
    path.parent.mkdir()
    path.write_text("epoch,step,train/step_time,train_loss,val_loss\n0,9,0.5,2.0,\n0,19,0.5,1.9,\n0,19,,,1.8\n1,29,2.0,1.7,\n")
    reading, rows = read(path)

    assert reading.reader == "lightning_csv"
    assert [row["step"] for row in rows["step"]] == list(range(10, 30))
    assert [row["duration_s"] for row in rows["step"]] == [0.5] * 10 + [2.0] * 10
    assert {row["run.id"] for row in rows["step"]} == {"version_0"}


def test_lightning_with_its_throughput_monitor(tmp_path):
    """`train|time` is the seconds since the beginning."""
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss,train|time\n" + "".join(f"0,{10 * n},2.0,{5.0 * n}\n" for n in range(3)))

    assert [(row["step"], row["duration_s"]) for row in read(path)[1]["step"]] == [(n, 0.5) for n in range(1, 21)]


def test_lightning_without_any_time(tmp_path):
    """It says so, and tells of a loss that is no number all the same."""
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss\n0,9,2.0\n0,19,nan\n0,x,1.0\n")
    reading, rows = read(path)

    assert (reading.rejected, list(rows)) == (1, ["event"])
    assert "how long steps took is not known" in reading.notes[0]


def test_golden_values(tmp_path):
    """The curve of iteration times tells the steps, however often the others were written."""
    curve = {"start_step": 1, "end_step": 20, "step_interval": 5}
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({"lm loss": {**curve, "values": {str(n): 2.0 for n in range(1, 21)}},
                                "iteration-time": {**curve, "values": {"5": "nan", "10": 0.5, "15": 0.5, "20": 1.0, "x": 1.0}}}))
    reading, rows = read(path)

    assert (reading.reader, reading.rejected) == ("golden_values", 1)
    assert [row["step"] for row in rows["step"]] == list(range(11, 21))
    assert [row["duration_s"] for row in rows["step"]] == [0.5] * 5 + [1.0] * 5


def test_golden_values_that_are_none(tmp_path):
    """The error says so."""
    path = tmp_path / "golden.json"
    path.write_text('{"lm loss": {"start_step": 1, "values": {"1": [1]}}}')

    with pytest.raises(InputError, match="no golden values"):
        list(open_input(path))
