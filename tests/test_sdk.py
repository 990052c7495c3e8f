"""The SDK in a training loop: what it times, and where the time goes."""

import gc
import itertools
import os
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sdk_files import phases, written

import pinchpoint
from pinchpoint import fields
from pinchpoint.clock import parse_time
from pinchpoint.sdk import timing
from pinchpoint.sdk.writing import PHASES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINCHPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("PINCHPOINT_RUN_ID", "r")
    for name in ("RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(folder):
    started = pinchpoint.start()
    yield started
    started.close()


def busy(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def began_ns(step):
    return parse_time(step["@timestamp"])


def test_the_phases_are_those_of_the_fields():
    """The SDK cannot import the table, so it has a copy."""
    assert tuple(fields.PHASES) == PHASES


def test_steps_and_phases_are_written_down(folder):
    """Wait, phases and what the step was told stand in one record."""
    run = pinchpoint.start(workload="w", rank=1, world_size=4)
    for _ in run.batches(range(2)):
        with run.step(samples=8, tokens=100, batch_bytes=64, epoch=2), run.phase("forward"):
            busy(0.002)
    run.close()
    first, second = written(folder)

    assert {name: first[name] for name in ("run.id", "run.workload", "rank", "world_size", "process.pid")} == {
        "run.id": "r", "run.workload": "w", "rank": 1, "world_size": 4, "process.pid": os.getpid()}
    assert [first[name] for name in ("samples", "tokens", "batch_bytes", "epoch")] == [8, 100, 64, 2]
    assert (first["step"], second["step"]) == (0, 1)
    assert set(phases(first)) - {"gc"} == {"data_wait", "forward"}
    assert first["phase.forward_s"] + first.get("phase.gc_s", 0) >= 0.002
    assert first["duration_s"] >= sum(phases(first).values())
    assert first["event.id"] != second["event.id"]
    assert abs(began_ns(first) / 1e9 - time.time()) < 60


def test_a_wait_belongs_to_the_step_that_follows_and_a_checkpoint_to_the_one_before(folder, run):
    """Which a checkpoint lengthens."""
    for step, _ in enumerate(run.batches(range(2))):
        with run.step():
            pass
        if step == 0:
            with run.phase("checkpoint"):
                busy(0.01)
    run.close()
    first, second = written(folder)

    assert first["phase.checkpoint_s"] + first.get("phase.gc_s", 0) >= 0.01
    assert first["duration_s"] >= 0.01
    assert set(phases(first)) >= {"data_wait", "checkpoint"}
    assert "phase.checkpoint_s" not in second


def test_the_wait_that_finds_the_end_belongs_to_no_step(folder, run):
    """What follows the last batch, an evaluation with batches of its own, still belongs to the last step."""
    def loader():
        yield 1
        yield 2
        busy(0.05)

    for _ in run.batches(loader()):
        with run.step():
            pass
    with run.phase("evaluation"):
        for _ in run.batches(range(3)):
            busy(0.002)
    run.close()
    first, last = written(folder)

    assert (first["step"], last["step"]) == (0, 1)
    assert last["phase.data_wait_s"] < 0.05
    assert last["phase.evaluation_s"] >= 0.004
    assert "phase.evaluation_s" not in first


def test_a_loop_over_batches_without_steps_is_no_step_of_a_run_that_has_some(folder, run):
    """Such as one that validates: its waits lengthen neither the step before nor the one that follows."""
    for _ in range(2):
        for _ in run.batches(range(2)):
            with run.step():
                pass
        for _ in run.batches(range(3)):
            busy(0.02)
    run.close()

    assert [record["step"] for record in written(folder)] == [0, 1, 2, 3]
    assert max(record["duration_s"] for record in written(folder)) < 0.06


def test_a_run_without_steps_is_timed_by_its_batches(folder, run):
    """From wait to wait, the last one too."""
    for _ in run.batches(range(3)):
        busy(0.002)
    run.close()

    assert [record["step"] for record in written(folder)] == [0, 1, 2]
    assert all(record["duration_s"] >= 0.002 for record in written(folder))


def test_what_is_before_the_first_step_belongs_to_none(folder, run):
    """Loading a checkpoint or evaluating at the start makes no step slow."""
    with run.phase("evaluation"):
        busy(0.02)
    with run.step():
        pass
    run.close()

    [step] = written(folder)
    assert step["duration_s"] < 0.02
    assert "phase.evaluation_s" not in step


def test_micro_batches_add_up_to_one_step(folder, run):
    """Waits and phases before a step that follows several batches are its own, once the run is known to have steps."""
    with run.step():
        pass
    for number, _ in enumerate(run.batches(range(4))):
        with run.phase("forward"):
            busy(0.001)
        if number % 2:
            with run.step(samples=2), run.phase("optimizer"):
                pass
    run.close()

    assert [record["step"] for record in written(folder)] == [0, 1, 2]
    assert all(record["phase.forward_s"] + record.get("phase.gc_s", 0) >= 0.002 for record in written(folder)[1:])


def test_steps_are_numbered_on_from_the_number_that_is_given(folder, run):
    """As after a checkpoint was restored; a step inside a step is part of it."""
    for number in (None, 500, None):
        with run.step(step=number), run.step(step=7):
            pass
    run.close()

    assert [record["step"] for record in written(folder)] == [0, 500, 501]
    assert len({record["event.id"] for record in written(folder)}) == 3


def test_a_step_that_ends_for_want_of_a_batch_is_none(folder, run):
    """`next()` inside a step raises StopIteration through it."""
    items = iter(run.batches(range(2)))
    with pytest.raises(StopIteration):
        while True:
            with run.step():
                next(items)
    run.close()

    assert [record["step"] for record in written(folder)] == [0, 1]


def test_garbage_collection_is_a_phase_of_its_own(folder, run):
    """It is timed by itself and taken out of the phase it interrupts, and of the CPU time of a wait."""
    gc.disable()  # only the one below
    try:
        rubbish = [[] for _ in range(300_000)]
        with run.step(), run.phase("data_wait"):
            gc.collect()
        run.close()
    finally:
        gc.enable()
    [step] = written(folder)

    assert len(rubbish) == 300_000
    assert step["phase.gc_s"] > 10 * step["phase.data_wait_s"]
    assert step["data_wait_cpu_s"] < step["phase.gc_s"]


def test_waiting_uses_no_cpu_time_and_loading_does(folder, run):
    """`data_wait_cpu_s` tells a loader that works in the training thread from one that is waited for."""
    with run.phase("data_wait"):
        busy(0.05)
    with run.step():
        pass
    with run.phase("data_wait"):
        threading.Event().wait(0.05)
    with run.step():
        pass
    run.close()
    works, waits = written(folder)

    assert waits["data_wait_cpu_s"] < 0.02 < works["data_wait_cpu_s"]
    assert works["cpu_s"] >= works["data_wait_cpu_s"]


#: A step of phases inside phases: a tree of (name, children).
TREES = st.recursive(st.tuples(st.sampled_from([*PHASES, "no such phase"]), st.just(())),
                     lambda below: st.tuples(st.sampled_from(PHASES), st.lists(below, max_size=4).map(tuple)), max_leaves=12)


@given(trees=st.lists(TREES, max_size=5), spans=st.lists(st.integers(1, 10**9), min_size=60, max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_moment_goes_to_the_innermost_phase(tmp_path, monkeypatch, trees, spans):
    """Seconds count once, to the nanosecond, however deep phases are nested."""
    for path in tmp_path.glob("*.ndjson"):
        path.unlink()
    clock, span, expected = [1], itertools.cycle(spans), dict.fromkeys([*PHASES, None], 0)
    current = [None]

    def work():
        taken = next(span)
        clock[0] += taken
        expected[current[-1]] += taken

    def walk(run, tree):
        name, below = tree
        with run.phase(name):
            current.append(name if name in PHASES else "other")
            work()
            for child in below:
                walk(run, child)
                work()
            current.pop()

    with monkeypatch.context() as held:
        held.setenv("PINCHPOINT_DIR", str(tmp_path))
        held.setattr(timing, "perf_counter_ns", lambda: clock[0])
        gc.disable()
        try:
            run = pinchpoint.start()
            with run.step():
                work()
                for tree in trees:
                    walk(run, tree)
                    work()
            run.close()
        finally:
            gc.enable()
    [step] = written(tmp_path)

    assert step["duration_s"] == sum(expected.values()) / 1e9
    assert phases(step) == {name: spent / 1e9 for name, spent in expected.items() if spent and name not in (None, "other")}


MOVES = st.one_of(st.sampled_from(["data_wait", "h2d", "forward", "checkpoint", "nonsense"]),
                  st.sampled_from(["step", "leave", "leave another", "collect", "batch", "end of batches"]))


@given(st.lists(MOVES, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_phases_never_exceed_their_step_and_steps_never_overlap(folder, moves):
    """However phases, steps and batches are entered and left, in any order, with the garbage collector in between."""
    for path in folder.glob("*.ndjson"):
        path.unlink()
    run, entered = pinchpoint.start(), []
    items = iter(run.batches(itertools.count()))
    for move in moves:
        if move == "leave" and entered:
            entered.pop().__exit__(None, None, None)
        elif move == "leave another" and entered:
            entered.pop(len(entered) // 2).__exit__(None, None, None)
        elif move == "collect":
            gc.collect(0)
        elif move == "batch":
            next(items)
        elif move == "end of batches":
            assert list(run.batches([])) == []
        elif not move.startswith("leave"):
            entered.append(run.step() if move == "step" else run.phase(move))
            entered[-1].__enter__()
    run.close()
    steps = written(folder)
    spans = [(began_ns(step), began_ns(step) + round(step["duration_s"] * 1e9)) for step in steps]

    assert all(value >= 0 for step in steps for value in phases(step).values())
    assert all(sum(phases(step).values()) <= step["duration_s"] + 1e-9 for step in steps)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_exceptions_of_the_training_pass_through(folder, run):
    """And the step is written all the same."""
    with pytest.raises(ZeroDivisionError), run.step(), run.phase("forward"):
        1 / 0  # noqa: B018
    run.close()

    assert len(written(folder)) == 1


def test_an_unknown_phase_counts_as_other_and_is_said_once(folder, run):
    """It is taken out of the phase around it; a name that cannot be one does not stop the training."""
    with run.step(), run.phase("forward"):
        for name in ("forwards", "forwards", ["a list"], None):
            with run.phase(name):
                busy(0.01)
    run.close()
    [step] = written(folder)

    assert step["phase.forward_s"] < 0.01
    assert set(phases(step)) - {"gc"} == {"forward"}
    assert [(event["event.action"], event["event.reason"]) for event in written(folder, "event")] == [
        ("sdk_unknown_phase", reason) for reason in ("forwards", "['a list']", "None")]


class Tensor:
    """A number on a device: asking for it would wait until the device is there."""

    def __int__(self):
        raise AssertionError("asked")

    __index__ = __float__ = __int__


@pytest.mark.parametrize(("given", "kept"), [
    (32, 32), (0, 0), (32.0, 32), (True, 1), ((1 << 63) - 1, (1 << 63) - 1),
    (float("nan"), None), (float("inf"), None), (-1, None), (1 << 63, None), ("many", None), ([], None), (Tensor(), None),
])
def test_a_number_that_is_none_is_left_out(folder, run, given, kept):
    """Of a batch as of a step; a tensor is not asked."""
    with run.step(samples=given, tokens=given, batch_bytes=given, epoch=given):
        pass
    run.close()

    [step] = written(folder)
    assert [step.get(name) for name in ("samples", "tokens", "batch_bytes", "epoch")] == [kept] * 4


@pytest.mark.parametrize(("environment", "given", "expected"), [
    ({}, {}, (0, 1)),
    ({"RANK": "3", "WORLD_SIZE": "8"}, {}, (3, 8)),
    ({"RANK": "3", "WORLD_SIZE": "8", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, {}, (3, 8)),
    ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, {}, (1, 2)),
    ({"SLURM_PROCID": "5", "SLURM_NTASKS": "6"}, {}, (5, 6)),
    ({"RANK": "three", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, {}, (2, 4)),
    ({"RANK": "3", "WORLD_SIZE": "8"}, {"rank": 1, "world_size": 2}, (1, 2)),
    ({"RANK": "3", "WORLD_SIZE": "8"}, {"rank": "x", "world_size": float("nan")}, (3, 8)),
    ({"RANK": "3"}, {}, (3, None)),
    *(({"RANK": bad, "WORLD_SIZE": bad}, {}, (0, 1)) for bad in ("", "-1", "1e9", "9" * 5000)),
])
def test_rank_and_size_come_from_the_launcher(folder, monkeypatch, environment, given, expected):
    """Unless they are given; what cannot be meant counts as not said, and a size that its rank contradicts is left out."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run = pinchpoint.start(**given)
    with run.step():
        pass
    run.close()

    [step] = written(folder)
    assert (step["rank"], step.get("world_size")) == expected


def test_marks_become_events(folder, run):
    """With their details as labels, which may be called like a field; the step is the one they are in."""
    run.mark("restart")
    for number in (7, 8):
        with run.step(step=number):
            run.mark("config", reason="new rate", lr=0.1, step="mine", action="a", odd="\udc80\n")
    run.mark("checkpoint")
    run.close()

    assert [(event["event.action"], event["step"]) for event in written(folder, "event")] == [
        ("restart", 0), ("config", 7), ("config", 8), ("checkpoint", 8)]
    assert written(folder, "event")[1]["event.reason"] == "new rate"
    assert written(folder, "event")[1]["labels"] == {"lr": "0.1", "step": "mine", "action": "a", "odd": "?\n"}


def test_our_own_reader_takes_every_record(folder, run):
    """As an input of records, with nothing rejected."""
    from shippers.formats import open_input

    for _ in run.batches(range(3)):
        with run.step(samples=4), run.phase("forward"):
            pass
    run.mark("config", reason="x", step="mine")
    run.close()
    [path] = folder.glob("*.ndjson")
    reading = open_input(path, reader="records")

    assert {kind: batch.num_rows for kind, batch in reading} == {"step": 3, "event": 1}


class Loader(list):
    """Sized, can be iterated over again, and has a sampler, like that of PyTorch."""

    sampler = "the sampler"


def test_a_loader_acts_as_without_us(run):
    """Length, attributes, being iterated over twice, and not being an iterator unless it is one."""
    loader = run.batches(Loader([1, 2]))

    assert (len(loader), loader.sampler, list(loader), list(loader)) == (2, "the sampler", [1, 2], [1, 2])
    assert not hasattr(loader, "__next__")
    assert not hasattr(run.batches(iter([1])), "__len__")
    assert next(run.batches(iter([1]))) == 1
    assert bool(run.batches(Loader())) is False
    with pytest.raises(AttributeError, match="nothing"):
        loader.nothing  # noqa: B018
    with pytest.raises(TypeError):
        iter(run.batches(7))


def test_a_generator_is_closed_as_without_us(run):
    """When the loop is left, or when told to; its errors are its own."""
    closed = []

    def loader():
        try:
            yield 1
            raise OSError("disk")
        finally:
            closed.append(True)

    for _ in run.batches(loader()):
        break
    gc.collect()
    batches = run.batches(loader())
    next(batches)
    batches.close()
    with pytest.raises(OSError, match="disk"):
        list(run.batches(loader()))

    assert closed == [True, True, True]


def test_threads_that_do_not_train_neither_count_nor_harm(folder, run):
    """Not even when they are first, with the same phases and batches at the same time."""
    def load():
        for _ in run.batches(range(500)):
            with run.step(samples=1), run.phase("checkpoint"), run.phase("h2d"):
                pass

    early = threading.Thread(target=lambda: list(run.batches(range(3))))
    early.start()
    early.join()
    for _ in range(20):
        with run.step(samples=7):
            threads = [threading.Thread(target=load) for _ in range(2)]
            for thread in threads:
                thread.start()
            for _ in range(50):
                with run.phase("forward"):
                    pass
            for thread in threads:
                thread.join()
    run.close()

    assert [(step["step"], step["samples"]) for step in written(folder)] == [(number, 7) for number in range(20)]
    assert {name for step in written(folder) for name in phases(step)} - {"gc"} == {"forward"}


def test_the_thread_that_trains_counts(folder, run):
    """Though another one called `start`; when it has ended the next one takes its place."""
    def train():
        for _ in run.batches(range(2)):
            with run.step(), run.phase("forward"):
                pass

    for _ in range(2):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    train()
    run.close()

    assert [step["step"] for step in written(folder)] == list(range(6))


def test_a_closed_run_writes_nothing_more(folder, run):
    """And does not mind being used, or closed again."""
    with run.step():
        pass
    run.close()
    with run.step(), run.phase("forward"):
        run.mark("config")
    assert list(run.batches([1])) == [1]
    run.close()

    assert len(written(folder)) == 1
    assert written(folder, "event") == []


def test_without_a_collector_nothing_happens(tmp_path, monkeypatch):
    """No file, no thread, and a loader comes back as it is."""
    monkeypatch.chdir(tmp_path)
    threads, callbacks, run, loader = threading.active_count(), len(gc.callbacks), pinchpoint.start(), [1, 2]
    with run.step(samples=1), run.phase("forward"):
        run.mark("config")
    run.close()

    assert run.batches(loader) is loader
    assert pinchpoint.start() is run
    assert (threading.active_count(), len(gc.callbacks)) == (threads, callbacks)
    assert list(tmp_path.iterdir()) == []
