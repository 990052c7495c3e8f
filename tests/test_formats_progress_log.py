"""Jobs that show their progress: steps get the time that went by on the bar, evaluations stand apart."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.formats import open_input
from shippers.formats.progress_lines import Progress, Runtime, parse_progress

BAR = "█" * 12 + "▏" + " " * 20
KERAS_BAR = "━" * 20


def rows(path, kind):
    """All records of a kind in a file."""
    return [row for found, batch in open_input(path) if found == kind for row in batch.to_pylist()]


def told(path):
    """What the file states itself."""
    return [dict(row["metrics"]) for row in rows(path, "metric")]


def tqdm(done, total, seconds, rate="1.93it/s", name=""):
    """A line as tqdm draws it."""
    return f"\r{name}{100 * done // total:3d}%|{BAR}| {done}/{total} [{seconds // 60:02d}:{seconds % 60:02d}<07:35, {rate}]"


@pytest.mark.parametrize(("line", "bar", "done", "total", "seconds"), [
    (tqdm(120, 1000, 62), "", 120, 1000, 62.0),
    (" 50%|#####     | 5/10 [1:00:02<1:00:00, 720.4s/it]", "", 5, 10, 3602.0),
    (f"Epoch 3:  45%|{BAR}| 120/267 [00:31<00:38,  3.85it/s, v_num=0, loss=2.1]", "Epoch", 120, 267, 31.0),
    (f"120/500 {KERAS_BAR} 35s 290ms/step - loss: 0.5123", "keras", 120, 500, 34.8),
    ("\x1b[1m120/500\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m━━━━\x1b[0m \x1b[1m1:35\x1b[0m 250ms/step - loss: 0.5", "keras", 120, 500, 30.0),
    ("500/500 [==============================] - 12s 24ms/step - loss: 0.3", "keras", 500, 500, 12.0),
    ("500/500 - 12s - 24ms/step - loss: 0.3", "keras", 500, 500, 12.0),
    ("[rank0]:[titan] 1970-01-01 00:01:00,250 - root - INFO - step: 10  loss:  7.1  memory: 30.1GiB(38%)  tps: 7,200  mfu: 40.5%",
     "steps of rank 0", 10, 0, 60.25),
])
def test_the_lines_of_each_tool(line, bar, done, total, seconds):
    """How far, of how much, and since when."""
    found = parse_progress(line.strip("\r").encode())

    assert isinstance(found, Progress)
    assert (found.bar, found.done, found.total, found.seconds) == (bar, done, total, pytest.approx(seconds))


@pytest.mark.parametrize("line", [
    b"", b"12%|", b"Downloading: 100%|###| 5/5 [00:01<00:00, 3it/s]", b"Map (num_proc=4):  10%|# | 100/1000 [00:01<00:10, 90 examples/s]",
    b"step: 10 loss: 2.0", b"2026-99-99 10:00:00 step: 1 loss: 2.0", b"{'loss': 2.1, 'learning_rate': 1e-05, 'epoch': 0.5}",
    b"{'eval_runtime': nan}", b"12/500 files 3ms/step", b"100%|" + b"|" * 4000])
def test_other_lines_tell_nothing(line):
    """Downloads, tables that are made and lines without a time are no steps."""
    assert parse_progress(line) is None


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_line_breaks_the_parser(line):
    """Whatever a log holds, a line is progress, a runtime or nothing."""
    for prefix in (b"", b" 12%|", b"'eval_runtime': ", b"3/5 "):
        assert isinstance(parse_progress(prefix + line), Progress | Runtime | None)


def test_hostile_lines_take_linear_time():
    """A line that is long or made of beginnings costs no more than a plain one."""
    pieces = (b"{'eval_runtime'", b"1%|", b"| 1%|", b"1/1 ", "━".encode(), b"\x1b[", b"step: 1 ")
    lines = [piece * (1_000_000 // len(piece)) for piece in pieces]
    begun = time.perf_counter()
    for line in lines:
        for at in range(0, len(line), 4096):
            parse_progress(line[at:at + 4096] + b"%|_runtime'/step step: loss:")

    assert time.perf_counter() - begun < 5.0


def test_the_trainer_draws_its_evaluations_into_its_bar(tmp_path):
    """Steps take the time on the bar without what the Trainer says that evaluations took; the evaluation's own bar is shorter."""
    log = tmp_path / "run.out"
    text = "Map: 100%|###| 9000/9000 [00:50<00:00, 180.0 examples/s]\n"
    for done in range(101):
        text += tqdm(done, 200, 2 * done) + ("\n{'loss': 2.5, 'learning_rate': 1e-05, 'epoch': 0.5}\n" if done % 10 == 0 else "")
    for done in range(21):
        text += tqdm(done, 20, done * 2)
    text += "\r\n{'eval_loss': 2.1, 'eval_runtime': 40.0, 'eval_steps_per_second': 0.5, 'epoch': 0.5}\n"
    for done in range(101, 201):
        text += tqdm(done, 200, 2 * done + 40)
    log.write_text(text + "\n{'train_runtime': 440.0, 'train_steps_per_second': 0.455, 'epoch': 1.0}\n")

    steps = rows(log, "step")

    assert open_input(log).reader == "progress_log"
    assert [row["step"] for row in steps] == list(range(1, 201))
    assert {round(row["duration_s"], 6) for row in steps} == {2.0}
    assert told(log) == [pytest.approx({"told.evaluation": 40 / 440})]


def test_steps_that_become_slower_are_seen(tmp_path):
    """Each step has the mean of at least ten seconds around it."""
    log = tmp_path / "run.out"
    log.write_text("".join(tqdm(done, 2000, done // 10 if done < 1000 else 100 + (done - 1000) // 4) for done in range(1, 2001)))

    durations = [row["duration_s"] for row in rows(log, "step")]

    assert durations[100] == pytest.approx(0.1, rel=0.1)
    assert durations[1500] == pytest.approx(0.25, rel=0.1)
    assert len(durations) == 2000
    assert sum(durations) == pytest.approx(350)


def test_epochs_of_lightning_follow_each_other(tmp_path):
    """Each epoch draws its bar anew; what validation took is told beside the steps, whether the bar is drawn again or not."""
    log = tmp_path / "run.out"
    text = "".join(tqdm(done, 2, done, name="Sanity Checking DataLoader 0: ") for done in (0, 1, 2))
    for epoch in range(3):
        text += "".join(tqdm(done, 50, done, name=f"Epoch {epoch}: ") for done in range(51))
        text += "".join(tqdm(done, 5, done * 2, name="Validation DataLoader 0: ") for done in (0, 3, 5, 5))
        text += tqdm(50, 50, 60, name=f"Epoch {epoch}: ") if epoch else ""
    log.write_text(text)

    steps = rows(log, "step")

    assert [row["step"] for row in steps] == list(range(1, 151))
    assert {round(row["duration_s"], 6) for row in steps} == {1.0}
    assert told(log) == [pytest.approx({"told.evaluation": 30 / 180})]


def test_epochs_of_keras_follow_each_other(tmp_path):
    """The mean that Keras prints is that since the epoch began; the last line of an epoch holds its validation."""
    log = tmp_path / "run.out"
    text = ""
    for epoch in (1, 2):
        text += f"Epoch {epoch}/2\n" + "".join(f"{done}/100 {KERAS_BAR} 3s 200ms/step - loss: 0.5\n" for done in range(1, 101))
        text += f"100/100 {KERAS_BAR} 25s 250ms/step - loss: 0.5 - val_loss: 0.6\n"
    log.write_text(text)

    steps = rows(log, "step")

    assert len(steps) == 200
    assert {round(row["duration_s"], 6) for row in steps} == {0.2}
    assert told(log) == [pytest.approx({"told.evaluation": 0.2})]


def test_steps_of_torchtitan_are_told_apart_by_time(tmp_path):
    """Its lines tell no time of a step, but when they were written; other ranks' lines do not disturb."""
    log = tmp_path / "run.out"
    line = "[rank{rank}]:[titan] 2026-01-01 10:{minute:02d}:{second:02d},000 - root - INFO - step: {step:2d}  loss:  7.1  tps: 7,200\n"
    log.write_text("".join(line.format(rank=rank, minute=at // 60, second=at % 60, step=step)
                           for at, step in ((0, 1), (18, 10), (38, 20), (78, 30)) for rank in (1, 0)))

    steps = rows(log, "step")

    assert [row["step"] for row in steps] == list(range(2, 31))
    assert [row["duration_s"] for row in steps] == pytest.approx([2.0] * 19 + [4.0] * 10)


def test_without_a_bar_the_end_of_the_trainer_tells_the_mean(tmp_path):
    """Newer versions print numbers as texts."""
    log = tmp_path / "run.out"
    log.write_text("{'loss': '2.5', 'epoch': '0.5'}\n{'eval_runtime': '10.0', 'epoch': '1'}\n"
                   "{'train_runtime': '110', 'train_steps_per_second': '0.4545', 'epoch': '1'}\n{'eval_runtime': '99'}\n")

    assert [row["duration_s"] for row in rows(log, "step")] == pytest.approx([2.0] * 50)
    assert told(log) == [pytest.approx({"told.evaluation": 10 / 110})]


def test_a_saved_state_tells_the_mean_and_the_evaluations(tmp_path):
    """The steps of the training that ended last; what came after it is not counted, what is no entry is set aside."""
    file = tmp_path / "trainer_state.json"
    file.write_text(json.dumps({"global_step": 100, "logging_steps": 10, "log_history": [
        {"loss": 2.0, "step": 40}, {"train_runtime": 999.0, "step": 50}, 7, {"eval_runtime": 20.0, "step": 75},
        {"train_runtime": 100.0, "step": 100}, {"eval_runtime": 50.0, "step": 100}]}, indent=2))

    reading = open_input(file)
    batches = list(reading)

    assert (reading.reader, reading.rejected) == ("trainer_state", 1)
    assert [(row["step"], row["duration_s"]) for row in batches[0][1].to_pylist()] == [(step, 2.0) for step in range(51, 101)]
    assert told(file) == [pytest.approx({"told.evaluation": 0.2})]


def test_a_state_in_the_middle_of_a_training_says_what_it_lacks(tmp_path):
    """Checkpoints hold no times: that is said, and is no error."""
    file = tmp_path / "trainer_state.json"
    file.write_text(json.dumps({"global_step": 100, "log_history": [{"loss": 2.0, "step": 40}]}))

    reading = open_input(file)

    assert list(reading) == []
    assert "no train_runtime" in reading.notes[0]
