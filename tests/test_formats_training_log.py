"""Logs of trainers: the time of each step is read as it was printed, whoever printed it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.gpu_errors.job_lines import has_nan
from shippers.formats import detect, open_input
from shippers.formats.step_blocks import parse_block
from shippers.formats.step_lines import StepTime, Timers, parse_line

MEGATRON = (" iteration {step:8d}/    1000 | consumed samples: 80 | elapsed time per iteration (ms): {ms} | learning rate: 1.0E-04 |\n"
            "time (ms) | forward-compute: {forward} | forward-recv: 20.0 | backward-compute: 500.0 | optimizer: 100.0 | "
            "batch-generator: 10.0\n")


@pytest.mark.parametrize(("line", "step", "seconds"), [
    (b" iteration       20/    1000 | consumed samples: 80 | elapsed time per iteration (ms): 1354.9 | lr", 20, 1.3549),
    (b"[2024-05-01 12:00:00] iteration 7/ 10 | elapsed time per iteration (s): 2.5 |", 7, 2.5),
    (b"iter 100: loss 2.3114, time 123.45ms, mfu 30.12%", 100, 0.12345),
    (b"steps: 10 loss: 2.1012 iter time (s): 0.512 samples/sec: 31.250", 10, 0.512),
    (b"step:100/1390 train_loss:4.0 train_time:1234ms step_avg:142.50ms", 100, 0.1425),
    (b"Epoch 0: : 12%|# | 12/100 [00:12<01:30, global_step=12.0, train_step_timing in s=1.230]", 12, 1.23),
])
def test_the_lines_of_each_trainer(line, step, seconds):
    """Step and seconds come out whatever the unit is."""
    found = parse_line(line)

    assert isinstance(found, StepTime)
    assert (found.step, found.seconds) == (step, pytest.approx(seconds))


@pytest.mark.parametrize("line", [
    b"", b"loading step 3 of 4", b"iteration 5: loss 2.0", b"time: 3.2s", b"step 4 time -1s", b"step 4 time 0.0s", b"the times of step",
    b"checkpoint of step 12 saved", b"elapsed time per iteration (ms)", b"\xff\xfe iteration", b"step 1 time 1e99s"])
def test_other_lines_tell_nothing(line):
    """A line without a step and a time that can be one is no step."""
    assert parse_line(line) is None


def test_newer_timers_of_megatron_tell_the_slowest_rank():
    """They stand on lines of their own as (min, max) over the ranks."""
    assert parse_line(b"    forward-compute ................................: (10.50, 30.00)") == Timers({"forward": 0.03})


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_line_breaks_the_parser(line):
    """Whatever a log holds, a line is a step, timers or nothing."""
    assert parse_line(b"iteration 3/ " + line) is None or isinstance(parse_line(line), StepTime | Timers | None)


PIECES = st.sampled_from([
    b"iteration ", b" iteration       7/ 9 | ", b"iteration 12/", b"iteration  0003/ 5", b"elapsed time per iteration (ms): ",
    b"elapsed time per iteration (s): ", b"elapsed time per iteration (us): ", b"1250.5 |", b"7", b"0.0", b"1e3 ", b".5", b"3.", b"3.4.5",
    b"123456789012345678 ", b" ", b"/", b"nan", b"lm loss: NaN | ", b"number of nan iterations:   0 |", b"[2025-03-01 12:00:00] ",
    b"\xff", b"\r", b"x" * 500, b"saved", b"\n", b"\n"])


@given(st.lists(PIECES, max_size=40).map(b"".join), st.booleans())
@settings(max_examples=600, deadline=None)
def test_a_block_is_read_as_its_lines_are(block, ends):
    """What is read of many lines at once is what each tells by itself; what could mean anything else is left to that."""
    block += b"\n" if ends else b"end"
    found = parse_block(block)
    lines = [block[start:end] for start, end in zip(found.start, found.end, strict=True)]

    assert lines == block.removesuffix(b"\n").split(b"\n")
    for place, line in enumerate(lines):
        if found.is_step[place]:
            assert parse_line(line) == StepTime(found.step[place], pytest.approx(found.seconds[place]))
            assert not has_nan(line)


def test_usual_lines_are_read_as_a_block():
    """The lines of Megatron-LM, with its count of NaN at their end, need no second look; one with a loss that is none does."""
    usual = (b" [2025-03-01 12:00:00] iteration  %d/ 1000 | elapsed time per iteration (ms): 2500.5 | lm loss: %s | "
             b"number of nan iterations:   0 |\n")
    found = parse_block(usual % (7, b"2.1E+00") + usual % (8, b"nan") + usual % (9, b"2.0E+00"))

    assert found.is_step.tolist() == [True, False, True]
    assert (found.step[2], found.seconds[2]) == (9, 2.5005)


def test_errors_and_timers_stand_where_they_were_printed(tmp_path):
    """Between the steps that a block holds."""
    log = tmp_path / "run.out"
    log.write_text("".join(f" iteration {n}/ 50 | elapsed time per iteration (ms): 1000.0 |\n" for n in range(1, 21))
                   + "RuntimeError: DataLoader worker (pid(s) 71, 72) exited unexpectedly\n"
                   + "".join(f" iteration {n}/ 50 | elapsed time per iteration (ms): 1000.0 |\n" for n in range(21, 41)))
    events = [row for kind, batch in open_input(log) if kind == "event" for row in batch.to_pylist()]

    assert [row["@timestamp"].timestamp() for row in events] == [20.0]


def test_printed_milliseconds_are_told_as_printed(tmp_path):
    """Shares are the printed timers over the printed time; each line stands for the steps since the one before."""
    log = tmp_path / "run.out"
    log.write_text("noise\n" + "".join(MEGATRON.format(step=10 * n, ms=1000.0, forward=300.0) for n in range(1, 6)))

    reading = open_input(log)
    batches = list(reading)
    steps = [row for kind, batch in batches if kind == "step" for row in batch.to_pylist()]
    told = [dict(row["metrics"]) for kind, batch in batches if kind == "metric" for row in batch.to_pylist()]

    assert reading.reader == "training_log"
    assert [row["step"] for row in steps] == list(range(1, 51))
    assert {row["duration_s"] for row in steps} == {1.0}
    assert told == [pytest.approx({"told.forward": 0.3, "told.communication": 0.02, "told.backward": 0.5, "told.optimizer": 0.1,
                                   "told.data_wait": 0.01})]
    assert steps[0]["phase.forward_s"] == pytest.approx(0.29)


def test_steps_are_found_behind_a_long_prologue(tmp_path):
    """Trainers print megabytes of settings first; gzip is unpacked."""
    log = tmp_path / "run.out"
    log.write_text("using arguments ...\n" * 40_000 + "".join(f"iter {n}: loss 2.0, time 50.0ms\n" for n in range(5)))

    assert detect(log).name == "training_log"


def test_a_counter_that_jumps_counts_once(tmp_path):
    """After a restart from a checkpoint the number goes back: the line is one step."""
    log = tmp_path / "run.out"
    log.write_text("".join(f"iter {n}: loss 2.0, time 50.0ms\n" for n in (1, 2, 900_000, 3)))

    steps = [row["step"] for kind, batch in open_input(log) if kind == "step" for row in batch.to_pylist()]

    assert steps == [1, 2, 900_000, 3]


def test_an_error_before_the_first_step_of_a_long_log_does_not_hide_the_steps(tmp_path):
    """Trainers print a lot before they begin: an error among it, and steps only megabytes later, are a log of steps with an error in it."""
    path = tmp_path / "train.log"
    path.write_text("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n" + "a setting of the model\n" * 20_000
                    + "".join(f"step {number} | loss 2.1 | time 0.5 s\n" for number in range(50)))

    assert detect(path).name == "training_log"
    path.write_text("\n".join(path.read_text().splitlines()[:100]))
    assert detect(path).name == "job_errors"


@pytest.mark.parametrize("lines", [
    "".join(f" iteration {n}/ 9 | elapsed time per iteration (ms): 1000.0 |\ntime (ms) | forward-compute: 300.0 |\n"
            for n in range(1, 70_001)),
    "".join(f"iter {n}: loss 2.0, time 50.0ms\n" for n in range(1, 70_001))], ids=["as a block, with timers", "line by line"])
def test_long_logs_come_whole(tmp_path, lines):
    """In batches of bounded size, each step once, and none without its timers."""
    log = tmp_path / "run.out"
    log.write_text(lines)
    batches = [batch for kind, batch in open_input(log) if kind == "step"]
    steps = [step for batch in batches for step in batch.column("step").to_pylist()]
    forward = [batch.column("phase.forward_s").to_pylist() for batch in batches]

    assert steps == list(range(1, 70_001))
    assert max(batch.num_rows for batch in batches) <= 65_536
    assert {value for part in forward for value in part} == ({0.3} if "forward" in lines else {None})
