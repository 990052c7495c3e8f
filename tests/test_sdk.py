"""The SDK in training code: what it times, and that it never harms."""

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinchpoint import sdk

PACKAGE = Path(sdk.__file__).parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PINCHPOINT_DIR", str(tmp_path))
    monkeypatch.setenv("PINCHPOINT_RUN_ID", "r")
    for name in ("RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def written(folder, kind="step"):
    records = [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def busy(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_steps_and_phases_are_written_down(folder):
    """Wait, phases and what the step was told stand in one record."""
    run = sdk.start(rank=1, world_size=4)
    for _ in run.batches(range(2)):
        with run.step(samples=8, tokens=100, epoch=2), run.phase("forward"):
            busy(0.002)
    run.close()
    first, second = written(folder)

    assert (first["rank"], first["world_size"], first["samples"], first["tokens"], first["epoch"]) == (1, 4, 8, 100, 2)
    assert (first["step"], second["step"]) == (0, 1)
    assert first["phase.forward_s"] >= 0.002
    assert first["duration_s"] >= first["phase.forward_s"] + first["phase.data_wait_s"]


def test_what_is_outside_a_step_belongs_to_the_one_it_should(folder):
    """A wait to the step that follows, a checkpoint to the one before, which it lengthens."""
    run = sdk.start()
    for step, _ in enumerate(run.batches(range(2))):
        with run.step():
            pass
        if step == 0:
            with run.phase("checkpoint"):
                busy(0.01)
    run.close()
    first, second = written(folder)

    assert first["phase.checkpoint_s"] >= 0.01
    assert first["duration_s"] >= 0.01
    assert "phase.checkpoint_s" not in second


def test_a_loop_without_steps_is_timed_by_its_batches(folder):
    """From wait to wait."""
    run = sdk.start()
    for _ in run.batches(range(3)):
        busy(0.002)
    run.close()

    assert len(written(folder)) == 3
    assert all(record["duration_s"] >= 0.002 for record in written(folder))


def test_a_phase_inside_a_phase_is_taken_out_of_it(folder):
    """Seconds count once."""
    run = sdk.start()
    with run.step(), run.phase("forward"):
        busy(0.002)
        with run.phase("communication"):
            busy(0.005)
    run.close()
    step = written(folder)[0]

    assert step["phase.communication_s"] >= 0.005
    assert step["phase.forward_s"] < 0.005


def test_garbage_collection_is_a_phase_of_its_own(folder):
    """It is timed by itself and taken out of the phase it interrupts."""
    run = sdk.start()
    with run.step(), run.phase("backward"):
        gc.collect()
    run.close()

    assert written(folder)[0]["phase.gc_s"] > 0


NAMES = st.sampled_from(["data_wait", "forward", "communication", "checkpoint", "nonsense"])


@given(st.lists(st.one_of(NAMES, st.just("step"), st.just("leave")), max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_phases_never_exceed_their_step(folder, moves):
    """However phases and steps are nested, entered and left."""
    for path in folder.glob("*"):
        path.unlink()
    run, entered = sdk.start(), []
    for move in moves:
        if move == "leave":
            if entered:
                entered.pop(len(entered) // 2).__exit__(None, None, None)
            continue
        context = run.step() if move == "step" else run.phase(move)
        context.__enter__()
        entered.append(context)
    while entered:
        entered.pop().__exit__(None, None, None)
    run.close()

    for record in written(folder):
        phases = sum(value for name, value in record.items() if name.startswith("phase."))
        assert phases <= record["duration_s"] + 1e-6


def test_exceptions_of_the_training_pass_through(folder):
    """And the step is written all the same."""
    run = sdk.start()
    with pytest.raises(ZeroDivisionError), run.step(), run.phase("forward"):
        1 / 0  # noqa: B018
    run.close()

    assert len(written(folder)) == 1


def test_without_a_collector_nothing_happens(tmp_path, monkeypatch):
    """No file, no thread, and a loader comes back as it is."""
    monkeypatch.delenv("PINCHPOINT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    threads, run, loader = threading.active_count(), sdk.start(), [1, 2]
    with run.step(samples=1), run.phase("forward"):
        run.mark("config")
    run.close()

    assert run.batches(loader) is loader
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "three", "-1", "1e9", "99999999999999999999999999"])
def test_a_bad_rank_never_stops_a_training(folder, monkeypatch, value):
    """What cannot be meant counts as 0."""
    monkeypatch.setenv("RANK", value)
    run = sdk.start()
    with run.step(samples="many", tokens=float("nan")):  # type: ignore[arg-type]
        pass
    run.close()

    assert written(folder)[0]["rank"] == 0


@pytest.mark.parametrize("place", ["missing", "a file", "full"])
def test_a_folder_that_cannot_be_written_never_stops_a_training(tmp_path, place):
    """Nothing is written, nothing is said, the loop goes on."""
    target = tmp_path / "there"
    if place == "a file":
        target.write_text("")
    elif place == "full":
        target.mkdir()
    script = textwrap.dedent(f"""
        import resource, signal, sys
        sys.path.insert(0, {str(PACKAGE.parent)!r})
        if {place!r} == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        from pinchpoint import sdk
        run = sdk.start()
        for _ in range(100):
            with run.step(), run.phase("forward"):
                pass
        run.close()
        print("done")
    """)
    ended = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PINCHPOINT_DIR": str(target)}, capture_output=True,
                           text=True, timeout=60)

    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "done", "")


def test_what_was_written_stays_readable_after_kill_9(tmp_path):
    """Every line but the last is whole, and what is older than a moment is there."""
    script = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n" + textwrap.dedent("""
        import time
        from pinchpoint import sdk
        run = sdk.start()
        while True:
            with run.step(), run.phase("forward"):
                time.sleep(0.001)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PINCHPOINT_DIR": str(tmp_path)})
    deadline = time.monotonic() + 30
    while sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.ndjson")) < 300 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = next(tmp_path.glob("*.ndjson")).read_bytes().split(b"\n")

    assert len(lines) > 300
    assert [json.loads(line)["step"] for line in lines[:-1]] == list(range(len(lines) - 1))


def _child_of_fork(run):
    with run.step(), run.phase("forward"):
        pass


def test_a_forked_child_writes_a_file_of_its_own(folder):
    """And nothing of its parent twice; a child of multiprocessing writes what it has at its end."""
    run = sdk.start()
    with run.step():
        pass
    child = multiprocessing.get_context("fork").Process(target=_child_of_fork, args=(run,))
    child.start()
    child.join()
    run.close()
    pids = [record["process.pid"] for record in written(folder)]

    assert child.exitcode == 0
    assert sorted(pids) == sorted([os.getpid(), child.pid])
    assert len(list(folder.glob("*.ndjson"))) == 2


def test_other_threads_neither_count_nor_harm(folder):
    """Phases of another thread are not time of the training loop."""
    run = sdk.start()
    stop = threading.Event()

    def other():
        while not stop.is_set():
            with run.phase("checkpoint"):
                pass

    with run.step():
        thread = threading.Thread(target=other)
        thread.start()
        for _ in range(200):
            with run.phase("forward"):
                pass
        stop.set()
        thread.join()
    run.close()

    assert "phase.checkpoint_s" not in written(folder)[0]


def test_marks_become_events(folder):
    """With their details as labels."""
    run = sdk.start()
    run.mark("config", reason="new rate", lr=0.1)
    run.close()
    event = written(folder, "event")[0]

    assert (event["event.action"], event["event.reason"], event["lr"]) == ("config", "new rate", "0.1")


def test_the_length_and_the_errors_of_a_loader_pass_through(folder):
    """A loader behaves as it would without us."""
    run = sdk.start()

    def failing():
        yield 1
        raise OSError("disk")

    assert len(run.batches([1, 2, 3])) == 3
    with pytest.raises(OSError, match="disk"):
        list(run.batches(failing()))


def test_the_package_alone_is_enough(tmp_path):
    """A folder that holds only this package, an interpreter without site-packages, and nothing beyond the standard library."""
    (tmp_path / "pinchpoint").symlink_to(PACKAGE)
    script = ("import sys; sys.path.insert(0, sys.argv[1]); import pinchpoint; pinchpoint.start();"
              "print([name for name in ('click', 'numpy', 'pyarrow', 'rich') if name in sys.modules])")
    ended = subprocess.run([sys.executable, "-S", "-I", "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)

    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")
