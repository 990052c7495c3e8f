"""Event files of TensorBoard: steps lie between two values of a scalar, times that were logged count before that."""

import base64
import math
import struct

import pytest

from shippers.formats import open_input
from shippers.formats.tensorboard import _EVENT
from shippers.formats.tfrecord import masked_crc32c

#: Written by tensorboardX 2.6: train/loss and train/step_time (0.08) each 10 steps and each second, then eval/loss and a histogram.
REAL = base64.b64decode(
    "GAAAAAAAAACjf0siCb/XFomXwtpBGg1icmFpbi5FdmVudDoyq7AHdB4AAAAAAAAA2dwSMgkAAABA/FTZQSoTChEKCnRyYWluL2xvc3MVAAAAQObZNBIjAAAAAAAAALCf"
    "d0MJAAAAQPxU2UEqGAoWCg90cmFpbi9zdGVwX3RpbWUVCtejPS2OMXogAAAAAAAAACntqVAJAABAQPxU2UEQCioTChEKCnRyYWluL2xvc3MVMzPzPzo/MxolAAAAAAAA"
    "AOq8NvMJAABAQPxU2UEQCioYChYKD3RyYWluL3N0ZXBfdGltZRUK16M91/EaryAAAAAAAAAAKe2pUAkAAIBA/FTZQRAUKhMKEQoKdHJhaW4vbG9zcxVmZuY/bUN+bSUA"
    "AAAAAAAA6rw28wkAAIBA/FTZQRAUKhgKFgoPdHJhaW4vc3RlcF90aW1lFQrXoz2jURjnIAAAAAAAAAAp7alQCQAAwED8VNlBEB4qEwoRCgp0cmFpbi9sb3NzFZqZ2T/Z"
    "QfLCJQAAAAAAAADqvDbzCQAAwED8VNlBEB4qGAoWCg90cmFpbi9zdGVwX3RpbWUVCtejPUcrUcogAAAAAAAAACntqVAJAAAAQfxU2UEQKCoTChEKCnRyYWluL2xvc3MV"
    "zczMPwHbf6slAAAAAAAAAOq8NvMJAAAAQfxU2UEQKCoYChYKD3RyYWluL3N0ZXBfdGltZRUK16M9U5jy2yAAAAAAAAAAKe2pUAkAAEBB/FTZQRAyKhMKEQoKdHJhaW4v"
    "bG9zcxUAAMA/SGzzKyUAAAAAAAAA6rw28wkAAEBB/FTZQRAyKhgKFgoPdHJhaW4vc3RlcF90aW1lFQrXoz2OU+L2HwAAAAAAAABRS0QYCQAAgEH8VNlBEDIqEgoQCgll"
    "dmFsL2xvc3MVAACAPwiVAtcoAQAAAAAAAPlAhqAJiOUXiZfC2kEQMiqaAgqXAgoBaCqRAgkAAAAAAADwPxEAAAAAAAAIQBkAAAAAAAAIQCEAAAAAAAAYQCkAAAAAAAAs"
    "QDJwCJlpGRVa7T8rFPrNviTwP2NJxhUFwvE/ulCNMZ+I8z8zP+gcr3z1P4VFzJ/Aovc/eUz64tP/+T9Th0YTaZn8P9yUzS6Ndf8/4BHxDHRNAUB3YDwOZggDQOo2D3aj"
    "7wRAaLwQNZoHB0ANnMWgKVUJQDpwAAAAAAAAAAAAAAAAAADwPwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAA8D8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADwP26wIDo="
)
T = 1_700_000_000.0


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def event(tag, step, time_s, value):
    made = _EVENT(wall_time=time_s, step=step)
    made.summary.value.add(tag=tag, simple_value=value)
    return record(made.SerializeToString())


def tensor_event(tag, step, time_s, value):
    """As TensorFlow 2 writes a scalar."""
    made = _EVENT(wall_time=time_s, step=step)
    made.summary.value.add(tag=tag).tensor.CopyFrom(type(made.summary.value.add().tensor)(dtype=1, content=struct.pack("<f", value)))
    del made.summary.value[1:]
    return record(made.SerializeToString())


VERSION = record(_EVENT(wall_time=T).SerializeToString() + b"\x1a\x0dbrain.Event:2")


def written(tmp_path, *events):
    folder = tmp_path / "myrun"
    folder.mkdir(exist_ok=True)
    path = folder / "events.out.tfevents.1700000000.host.1.0"
    path.write_bytes(VERSION + b"".join(events))
    return path


def read(path):
    """What a file gives: (reading, rows by kind)."""
    reading, rows = open_input(path), {}
    for kind, batch in reading:
        rows.setdefault(kind, []).extend(batch.to_pylist())
    return reading, rows


def test_what_tensorboardx_writes(tmp_path):
    """The step time that was logged is that of each step; they end when the values were written."""
    path = tmp_path / "events.out.tfevents.1795841572.vm"
    path.write_bytes(REAL)
    reading, rows = read(path)

    assert (reading.reader, reading.rejected) == ("tensorboard", 0)
    assert list(range(1, 51)) == [row["step"] for row in rows["step"]]
    assert {0.08} == {round(row["duration_s"], 6) for row in rows["step"]}
    assert pytest.approx(rows["step"][-1]["@timestamp"].timestamp(), abs=1e-3) == T + 5 - 0.08


@pytest.mark.parametrize("write", [event, tensor_event])
def test_steps_lie_between_two_values(tmp_path, write):
    """Without a time that was logged, the time between two values is shared among the steps between them."""
    _, rows = read(written(tmp_path, *(write("train/loss", 10 * n, T + 2 * n, 1.0) for n in range(3))))

    assert [round(row["duration_s"], 6) for row in rows["step"]] == [0.2] * 20
    assert {"myrun"} == {row["run.id"] for row in rows["step"]}
    assert [T + 0.2 * n for n in range(20)] == pytest.approx([row["@timestamp"].timestamp() for row in rows["step"]], abs=1e-3)


def test_an_evaluation_is_no_step(tmp_path):
    """The runtime that the Hugging Face Trainer logs is taken out of the steps, and shown as evaluation."""
    events = [event("train/loss", 0, T, 1.0), event("eval/runtime", 0, T + 5, 5.0), event("train/loss", 10, T + 6, 1.0)]
    _, rows = read(written(tmp_path, *events))

    assert pytest.approx([row["duration_s"] for row in rows["step"]]) == [5.1] + [0.1] * 9
    assert pytest.approx([row["phase.evaluation_s"] for row in rows["step"]]) == [5.0] + [0.0] * 9


def test_the_names_of_torchtitan(tmp_path):
    """Its mean step time and its mean wait for data become the phases of the steps."""
    events = [event(tag, 10 * n, T + 10 * n, value) for n in range(3)
              for tag, value in (("time_metrics/end_to_end(s)", 1.0), ("time_metrics/data_loading(s)", 0.25))]
    _, rows = read(written(tmp_path, *events))

    assert {(1.0, 0.25)} == {(row["duration_s"], row["phase.data_wait_s"]) for row in rows["step"]}


def test_a_loss_that_is_no_number_is_an_error(tmp_path):
    """As it is in the lines of a log."""
    _, rows = read(written(tmp_path, event("train/loss", 0, T, 1.0), event("train/loss", 1, T + 1, math.nan)))

    assert [dict(row["labels"])["error.kind"] for row in rows["event"]] == ["loss_nan"]


def test_epochs_samples_and_evaluations_count_no_steps(tmp_path):
    """A file of these alone says so."""
    reading, rows = read(written(tmp_path, *(event(tag, n, T + n, 1.0) for n in range(3)
                                             for tag in ("epoch_loss", "lm loss vs samples", "val/loss"))))

    assert rows == {}
    assert "how long steps took is not known" in reading.notes[0]


def test_damage_is_counted_and_the_rest_is_read(tmp_path):
    """A record with a wrong checksum is set aside; at a wrong length the file ends."""
    good = [event("train/loss", n, T + n, 1.0) for n in range(4)]
    bad = good[1][:20] + b"\xff" + good[1][21:]
    reading, rows = read(written(tmp_path, good[0], bad, good[2], good[3], b"\0" * 40, good[3]))

    assert (reading.rejected, [row["step"] for row in rows["step"]]) == (1, [1, 2, 3])
    assert any("damaged after" in note for note in reading.notes)


def test_a_file_that_is_cut_short_is_read_up_to_there(tmp_path):
    """Of a job that still runs."""
    path = written(tmp_path, *(event("train/loss", n, T + n, 1.0) for n in range(4)))
    path.write_bytes(path.read_bytes()[:-5])
    reading, rows = read(path)

    assert [row["step"] for row in rows["step"]] == [1, 2]
    assert any("cut short" in note for note in reading.notes)


def test_large_records_are_passed_over(tmp_path):
    """Images and graphs are not held in memory."""
    events = [event("train/loss", 0, T, 1.0), record(b"\x1a" + b"x" * (3 << 20)), event("train/loss", 1, T + 1, 1.0)]
    reading, rows = read(written(tmp_path, *events))

    assert ([row["step"] for row in rows["step"]], reading.rejected) == ([1], 0)


def test_values_of_no_possible_time_or_step_are_left_out(tmp_path):
    """Whatever is in the file, every record has a time that exists."""
    events = [event("train/loss", step, time_s, 1.0) for step, time_s in ((0, T), (-5, T + 1), (2**62, T + 2), (1, math.inf), (1, math.nan),
                                                                          (1, T + 3))]
    reading, rows = read(written(tmp_path, *events))

    assert [(row["step"], row["duration_s"]) for row in rows["step"]] == [(1, 3.0)]
    assert any(note.startswith("4 values are left out") for note in reading.notes)
