"""Step times from progress lines."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint.clock import NS
from shippers.progress import Progress, parse_line, steps_from_lines


@pytest.mark.parametrize(("line", "step", "duration_s"), [
    ("step 120 … 0.31 s/it", 120, 0.31),
    ("iter 120: loss 2.2013, time 45.2ms, mfu 3.1%", 120, 0.0452),
    (" iteration      120/    5000 | consumed samples: 960 | elapsed time per iteration (ms): 1234.5 | lr: 1E-4", 120, 1.2345),
    ("120/1000 [00:37<04:34, 4.00it/s]", 120, 0.25),
    ("train:  12%|█▏        | 120/1000 [00:37<04:34,  1.50s/it, loss=0.3]", 120, 1.5),
    ("12/100 ━━━━━━━━━━━━━━━━━━━━ 5s 52ms/step - loss: 0.1", 12, 0.052),
    ("12/100 [==>.................] - 5s 2s/step - loss: 0.1", 12, 2.0),
    ("Step 120: loss=0.23 step_time=0.31", 120, 0.31),
    ('{"step": 3, "loss": 1e-3, "step_time_ms": 310.5}', 3, 0.3105),
    ("Epoch: [0][  10/5005]\tTime  0.231 ( 0.871)\tData  0.012 ( 0.305)", 10, 0.231),
    ("Iter [50/7330]  lr: 1e-3, eta: 1:02:03, time: 0.412, data_time: 0.052", 50, 0.412),
    ("[rank1]: step 3 | 4.0 it/s", 3, 0.25),
    ("global_step=55 loss=1.0", 55, None),
    ("batch 12/100, loss 3", 12, None),
    ("step 3 time: 12:30:05", 3, None),
    ("step 3 time 95.2", 3, None),
])
def test_lines_that_count_steps(line: str, step: int, duration_s: float | None) -> None:
    """The step and, where the line gives it for certain, the time of one."""
    progress = parse_line(line)

    assert progress is not None
    assert progress.step == step
    assert progress.duration_s == (None if duration_s is None else pytest.approx(duration_s))


@pytest.mark.parametrize("line", [
    "", "epoch 3", "loss 0.5", "eta 5 it/s", "Downloading: 3.2M/10M [00:01<00:02, 18MB/s]",
    "Map: 30%| 3000/9000 [00:01<00:02, 5000 examples/s]",
    "stepping 3", "step size 0.5", "iter 1.5", "2026-01-01 12:00:00 INFO ready",
])
def test_other_lines_count_nothing(line: str) -> None:
    """A line that may mean something else means nothing."""
    assert parse_line(line) is None


def test_data_time_and_rank_are_kept() -> None:
    """The wait for data of the line becomes the wait of the step, and ranks stay apart."""
    assert parse_line("rank 2 Epoch: [0][ 10/50] Time 0.40 (0.4) Data 0.10 (0.1)") == Progress(("epoch", "50"), 2, 10, 0.4, 0.1)


def test_steps_without_a_number_of_their_own_share_the_clock() -> None:
    """Ten steps between two lines two seconds apart took 0.2 s each."""
    steps = steps_from_lines([(0, "step 10"), (2 * NS, "step 20"), (3 * NS, "step 30")])

    assert [step.step for step in steps] == list(range(11, 31))
    assert [step.duration_s for step in steps] == pytest.approx([0.2] * 10 + [0.1] * 10)


def test_time_between_steps_stays_between_them() -> None:
    """What a line's own number leaves of the clock, such as a checkpoint, is no step time."""
    steps = steps_from_lines([(10 * NS, "step 1 1.0 s/it"), (11 * NS, "step 2 1.0 s/it"), (17 * NS, "step 3 1.0 s/it")])

    assert [(step.start_ns, step.duration_s) for step in steps] == [(9 * NS, 1.0), (10 * NS, 1.0), (16 * NS, 1.0)]


def test_lines_that_arrive_together_are_laid_out() -> None:
    """A program that writes into a pipe hands over many lines at once: their steps lie one after the other."""
    steps = steps_from_lines([(10 * NS, "step 0 1 s/it"), *((14 * NS, f"step {number} 1 s/it") for number in range(1, 5))])

    assert [step.start_ns // NS for step in steps] == [9, 10, 11, 12, 13]


def test_the_finest_loop_counts() -> None:
    """Epoch bars and validation bars are no steps when a loop with more steps is there."""
    lines = [(number * NS, f"Training: {number}/50 [00:01<00:02, 1.00it/s]") for number in range(1, 40)]
    lines += [(50 * NS, "Validating: 3/5 [00:01<00:02, 2.00it/s]"), (51 * NS, "Validating: 4/5 [00:01<00:02, 2.00it/s]")]

    assert len(steps_from_lines(lines)) == 39


def test_a_counter_that_begins_again_is_a_new_epoch() -> None:
    """Steps go on counting, epochs tell them apart."""
    lines = [(number * NS, f"batch {number % 3 + 1}/3") for number in range(6)]

    assert [(step.step, step.epoch) for step in steps_from_lines(lines)] == [(2, 0), (3, 0), (4, 1), (5, 1), (6, 1)]


def test_a_bar_over_samples_is_no_step() -> None:
    """Iterations of microseconds are not those of training."""
    assert steps_from_lines([(0, "0/9000000 [00:00<?, ?it/s]"), (NS, "9000/9000000 [00:01<00:02, 9000.00it/s]")]) == []


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 5 * NS), st.floats(0.001, 10)), min_size=2, max_size=30), st.booleans())
def test_steps_never_overlap(rows: list[tuple[int, int, float]], with_numbers: bool) -> None:
    """Whatever the lines say, steps of a rank are in order, and none begins before the one before it has ended."""
    step, time_ns, lines = 0, 10_000 * NS, []
    for count, wait_ns, duration_s in rows:
        step, time_ns = step + count, time_ns + wait_ns
        lines.append((time_ns, f"step {step} {duration_s:.6f} s/it" if with_numbers else f"step {step}"))

    steps = steps_from_lines(lines)

    for before, after in itertools.pairwise(steps):
        assert after.step == before.step + 1
        assert after.start_ns >= before.start_ns + before.duration_s * NS - 1000
    for one in steps:
        assert one.duration_s > 0


@given(st.lists(st.tuples(st.integers(0, NS * 100), st.text(alphabet="step iter0123456789/[]:<,.s%msd=━\x1b", max_size=60))))
def test_any_text_is_survived(lines: list[tuple[int, str]]) -> None:
    """Lines of any content, in any order of time, raise nothing."""
    steps_from_lines(lines)


@pytest.mark.parametrize("hostile", [
    "1" * 1_000_000, "step " * 200_000, "1/1 [0" * 160_000, "12/100 " + "=" * 1_000_000, "time 0.5 " * 110_000 + "step 3",
    "step 1 " + "time: 0.5 " * 100_000, " " * 1_000_000, "1/1 [" + ":" * 1_000_000, "step 1 " + "1." * 500_000,
], ids=range(9))
def test_a_megabyte_of_nonsense_costs_little(hostile: str) -> None:
    """A hostile line of a megabyte is dealt with in far less time than a person notices."""
    began = time.perf_counter()
    parse_line(hostile)

    assert time.perf_counter() - began < 0.5
