"""The SDK never harms the training: forks, kills, full disks, removed files, closed descriptors, old interpreters."""

import ast
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sdk_files import PACKAGE, trained, training, until, written

import pinchpoint

OTHERS = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))


def lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.ndjson"))


def lock_is_free(path):
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_what_was_written_stays_readable_after_kill_9(tmp_path):
    """Every complete line parses, none is missing before the last, and the lock is free."""
    process = training(tmp_path, """
        run = pinchpoint.start()
        while True:
            with run.step(), run.phase("forward"):
                time.sleep(0.0005)
    """)
    until(lambda: lines(tmp_path) > 300)
    [path] = tmp_path.glob("*.ndjson")
    assert not lock_is_free(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    complete = path.read_bytes().split(b"\n")[:-1]

    assert [json.loads(line)["step"] for line in complete] == list(range(len(complete)))
    assert lock_is_free(path)


def test_the_end_of_the_process_writes_what_waits(tmp_path):
    """Without `close`, also when the training fails."""
    process = training(tmp_path, """
        run = pinchpoint.start()
        for batch in run.batches(range(3)):
            with run.step():
                pass
        sys.exit(7)
    """)
    process.communicate(timeout=60)

    assert process.returncode == 7
    assert [record["step"] for record in written(tmp_path)] == [0, 1, 2]


def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    """Nothing of its parent twice, and nothing of the step that was under way."""
    trained(tmp_path, """
        run = pinchpoint.start()
        for number in range(2):
            with run.step(step=number):
                pass
        with run.step(step=2), run.phase("forward"):
            child = os.fork()
            if child == 0:
                for number in (10, 11):
                    with run.step(step=number):
                        pass
                run.close()
                os._exit(0)
            os.waitpid(child, 0)
    """)
    files = {path: [json.loads(line)["step"] for line in path.read_text().splitlines()] for path in tmp_path.glob("*.ndjson")}

    assert sorted(files.values()) == [[0, 1, 2], [10, 11]]
    assert len({record["event.id"] for record in written(tmp_path)}) == 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_write_to_their_end(tmp_path, method):
    """They end without the usual ceremony, whether their run began before the fork or in them."""
    script = tmp_path / "train.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n" + """
import multiprocessing, pinchpoint, sys
inherited = pinchpoint.start() if sys.argv[1] == "fork" else None
def train(rank):
    run = inherited or pinchpoint.start(rank=rank)
    for number in range(3):
        with run.step(step=10 * rank + number), run.phase("forward"):
            pass
if __name__ == "__main__":
    if inherited:
        with inherited.step(step=100):
            pass
    ranks = [multiprocessing.get_context(sys.argv[1]).Process(target=train, args=(rank,)) for rank in range(2)]
    for one in ranks: one.start()
    for one in ranks: one.join()
    sys.exit(max(one.exitcode for one in ranks))
""")
    ended = subprocess.run([sys.executable, script, method], env={**os.environ, "PINCHPOINT_DIR": str(tmp_path)}, capture_output=True,
                           text=True, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(record["step"] for record in written(tmp_path)) == [0, 1, 2, 10, 11, 12, *([100] if method == "fork" else [])]


def test_forks_at_any_moment_never_hang(tmp_path):
    """Though another thread marks and the writer writes while the process is forked."""
    out = trained(tmp_path, """
        run = pinchpoint.start()
        stop = threading.Event()
        def mark():
            while not stop.is_set():
                run.mark("config")
        threads = [threading.Thread(target=mark) for _ in range(2)]
        for thread in threads: thread.start()
        for number in range(60):
            with run.step():
                child = os.fork()
            if child == 0:
                signal.alarm(20)
                with run.step(), run.phase("forward"):
                    pass
                run.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        print("done")
    """)

    assert out == "done"
    assert len(list(tmp_path.glob("*.ndjson"))) == 61


def test_a_child_does_not_hold_the_lock_of_its_parent(tmp_path):
    """A collector sees that the parent has ended though its child lives on."""
    process = training(tmp_path, """
        run = pinchpoint.start()
        run.mark("config")
        until(size)
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        os._exit(0)
    """)
    process.wait(timeout=60)
    [path] = tmp_path.glob("*.ndjson")

    assert lock_is_free(path)
    process.communicate(timeout=60)


@pytest.mark.parametrize("place", ["missing", "a file", "read-only", "a long name"])
def test_a_folder_that_cannot_be_written_never_stops_a_training(tmp_path, place):
    """Nothing is written, nothing is said, the loop goes on."""
    target = tmp_path / ("x" * 300 if place == "a long name" else "there")
    if place == "a file":
        target.write_text("")
    elif place == "read-only":
        target = Path("/proc/self")  # root may write to any other
    assert trained(target, """
        run = pinchpoint.start()
        for batch in run.batches(range(100)):
            with run.step(), run.phase("forward"):
                pass
        run.close()
        print("done")
    """) == "done"


def test_a_disk_that_was_full_for_a_while_loses_nothing(tmp_path):
    """Not even the line that was cut off: it is finished when there is room again."""
    trained(tmp_path, """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
        run = pinchpoint.start()
        for number in range(20):
            with run.step():
                pass
        until(lambda: size() == 1000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    """)

    assert [record["step"] for record in written(tmp_path)] == list(range(20))


def test_a_disk_that_stays_full_costs_records_which_are_counted(tmp_path):
    """The queue is bounded, the oldest go first, and the number is written as soon as it can be."""
    trained(tmp_path, """
        import resource
        from pinchpoint.sdk.writing import MOST_WAITING
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
        run = pinchpoint.start()
        run.mark("first")
        until(lambda: size() == 1)
        for number in range(MOST_WAITING + 100):
            with run.step():
                pass
        with run.step():
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    """)
    dropped = int(written(tmp_path, "event")[-1]["labels"]["dropped"])
    steps = [record["step"] for record in written(tmp_path)]

    assert written(tmp_path, "event")[-1]["event.action"] == "sdk_dropped"
    assert dropped >= 90
    assert len(steps) + dropped == 16_384 + 101
    assert steps[-1] == 16_384 + 100


def test_a_file_never_grows_beyond_its_most(tmp_path):
    """It ends with the number of records that were left out."""
    trained(tmp_path, """
        from pinchpoint.sdk import writing
        writing.MOST_BYTES = 100_000
        run = pinchpoint.start()
        for number in range(2000):
            with run.step():
                pass
    """)
    [path] = tmp_path.glob("*.ndjson")
    last = json.loads(path.read_text().splitlines()[-1])

    assert path.stat().st_size < 101_000
    assert (last["event.action"], int(last["labels"]["dropped"])) == ("sdk_dropped", 2000 - len(written(tmp_path)))


@pytest.mark.parametrize("gone", ["the file", "the folder"])
def test_a_removed_file_is_begun_again(tmp_path, gone):
    """As soon as its folder is there."""
    folder = tmp_path / "there"
    folder.mkdir()
    process = training(folder, """
        run = pinchpoint.start()
        run.mark("before")
        sys.stdin.readline()
        run.mark("after")
        sys.stdin.readline()
    """)
    until(lambda: lines(folder))
    if gone == "the file":
        next(folder.glob("*.ndjson")).unlink()
    else:
        shutil.rmtree(folder)
    process.stdin.write("\n")
    process.stdin.flush()
    folder.mkdir(exist_ok=True)
    until(lambda: lines(folder))
    process.communicate("\n", timeout=60)

    assert [event["event.action"] for event in written(folder, "event")] == ["after"]


def test_a_file_of_the_training_is_never_written_to(tmp_path):
    """Not even when the training closes all descriptors and its own file gets the number of ours."""
    victim = tmp_path / "checkpoint"
    folder = tmp_path / "there"
    folder.mkdir()
    trained(folder, f"""
        run = pinchpoint.start()
        run.mark("before")
        until(size)
        before = size()
        os.closerange(3, 100)
        files = [os.open({str(victim)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(10)]
        run.mark("after")
        until(lambda: size() > before)
        run.close()
        for file in files: os.write(file, b"x")
    """)

    assert victim.read_bytes() == b"x" * 10
    assert [event["event.action"] for event in written(folder, "event")] == ["before", "after"]


def test_a_collector_that_looks_at_a_new_file_does_not_take_it_over(tmp_path):
    """While another holds its lock nothing is written to it, for it may be about to remove it."""
    process = training(tmp_path, """
        os.urandom = lambda size: bytes(size)
        tries, lock = [], fcntl.flock
        fcntl.flock = lambda *arguments: (tries.append(arguments), lock(*arguments))
        run = pinchpoint.start()
        print(os.getpid(), flush=True)
        sys.stdin.readline()
        run.mark("config")
        until(lambda: len(tries) > 2)
        print("tried", flush=True)
        sys.stdin.readline()
    """)
    pid = int(process.stdout.readline())
    path = tmp_path / f"{os.uname().nodename}-{pid}-00000000.ndjson"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "tried\n"
        size = os.fstat(file.fileno()).st_size
    until(lambda: path.stat().st_size)
    process.communicate("\n", timeout=60)

    assert size == 0
    assert len(written(tmp_path, "event")) == 1


def test_where_no_thread_can_be_begun_the_end_writes(tmp_path):
    """The training hears nothing of it."""
    trained(tmp_path, """
        import _thread
        def refuse(*_, **__): raise RuntimeError("can't start new thread")
        threading._start_new_thread = threading._start_joinable_thread = refuse
        run = pinchpoint.start()
        for number in range(3):
            with run.step():
                pass
    """)

    assert [record["step"] for record in written(tmp_path)] == [0, 1, 2]


def test_times_do_not_jump_with_the_wall_clock(tmp_path):
    """They follow one reading of it, so that steps stay in order."""
    trained(tmp_path, """
        run = pinchpoint.start()
        with run.step():
            pass
        time.time_ns = time.time = lambda: 0
        with run.step():
            pass
    """)
    first, second = written(tmp_path)

    assert second["@timestamp"] > first["@timestamp"] > "2020"


def test_the_training_may_change_its_directory(tmp_path):
    """A relative folder is the one that was meant at the start."""
    (tmp_path / "there").mkdir()
    process = subprocess.run([sys.executable, "-c", f"import os, sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import pinchpoint;"
                              "run = pinchpoint.start(); os.chdir('/'); run.mark('config')"],
                             cwd=tmp_path, env={**os.environ, "PINCHPOINT_DIR": "there"}, timeout=60)

    assert process.returncode == 0
    assert len(written(tmp_path / "there", "event")) == 1


def test_the_package_alone_is_enough(tmp_path):
    """A folder that holds only this package, an interpreter without site-packages, and nothing beyond the standard library."""
    (tmp_path / "pinchpoint").symlink_to(PACKAGE)
    script = ("import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); import pinchpoint; run = pinchpoint.start()\n"
              "with run.step(): pass\n"
              "run.close(); new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
              "print(sorted(new - set(sys.stdlib_module_names)))")
    for environment in ({}, {"PINCHPOINT_DIR": str(tmp_path)}):
        ended = subprocess.run([sys.executable, "-S", "-I", "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True,
                               timeout=60)
        assert (ended.stdout.strip(), ended.stderr) == ("['pinchpoint']", "")
    assert len(written(tmp_path)) == 1


def test_who_is_not_collected_imports_next_to_nothing():
    """No threads, no JSON, no sockets."""
    script = (f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import os; before = set(sys.modules)\n"
              "import pinchpoint; pinchpoint.start(); print(sorted(set(sys.modules) - before))")
    ended = subprocess.run([sys.executable, "-S", "-I", "-c", script], env={}, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "['__future__', 'pinchpoint', 'pinchpoint.sdk']"


@pytest.mark.parametrize("path", [Path(pinchpoint.__file__), *sorted((PACKAGE / "sdk").glob("*.py")),
                                  *sorted((PACKAGE / "auto").rglob("*.py"))],
                         ids=lambda path: path.name)
def test_the_files_are_python_3_9(path):
    """Training environments are older than ours."""
    ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.skipif(not OTHERS, reason="no other Python under ~/.pyenv/versions")
@pytest.mark.parametrize("python", [path for path in OTHERS if int(path.parts[-3].split(".")[1]) >= 9], ids=lambda path: path.parts[-3])
def test_other_pythons_run_it(tmp_path, python):
    """From 3.9 on, with warnings as errors."""
    trained(tmp_path, """
        import warnings
        warnings.simplefilter("error")
        run = pinchpoint.start(workload="w")
        for batch in run.batches([1, 2, 3]):
            with run.step(samples=batch), run.phase("forward"):
                gc.collect()
        run.mark("config", lr=0.1)
    """, python=str(python))

    assert [record["samples"] for record in written(tmp_path)] == [1, 2, 3]
    assert len(written(tmp_path, "event")) == 1
