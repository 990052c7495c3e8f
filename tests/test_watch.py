"""`pinchpoint watch` with real commands: what passes through, and what it leaves behind."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pinchpoint
from pinchpoint.errors import PinchpointError, UsageError
from pinchpoint.store import open_store
from shippers.watch.cli import workload_of
from shippers.watch.collect import recover
from shippers.watch.sdk_folder import sdk_folder
from shippers.watch.spool import Spool, spool_parent

ROOT = str(Path(pinchpoint.__file__).parent.parent)
#: The command without the root command around it, on the code under test wherever it is installed.
WATCH = [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\nfrom shippers.watch.cli import watch\n"
         "sys.exit(watch.main(standalone_mode=False))"]


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
    return value


class Watched:
    """Calls `watch --no-verdict` with a lake of its own."""

    def __init__(self, folder: Path) -> None:
        self.lake = folder / "lake"

    def command(self, *command: str) -> list[str]:
        return [*WATCH, "--no-verdict", "--store", str(self.lake), "--run", "r", "--", *command]

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*command), **{"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 60, **options})

    def start(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*command), **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                                                           "stderr": subprocess.PIPE, **options})

    def records(self, kind: str) -> list[dict[str, Any]]:
        store = open_store(str(self.lake))
        return [row for split in store.splits(kind) for batch in store.read(split) for row in batch.to_pylist()]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


PYTHON = [sys.executable, "-S", "-u", "-c"]


@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_exit_status_passes_through(watched: Watched, status: int) -> None:
    """Watch ends with the exit status of the command."""
    assert watched.run("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGPIPE])
def test_a_command_ended_by_a_signal_ends_watch_by_it(watched: Watched, number: int, tmp_path: Path) -> None:
    """The parent of watch sees the same signal, and no core is dumped in its name."""
    assert watched.run("sh", "-c", f"kill -{int(number)} $$", cwd=tmp_path).returncode == -number
    assert not list(tmp_path.glob("core*"))


def test_a_command_that_is_not_there(watched: Watched, tmp_path: Path) -> None:
    """Statuses and words are those of a shell, and nothing is left behind."""
    script = tmp_path / "script.py"
    script.write_text("")

    missing, forbidden, folder = watched.run("no-such-command"), watched.run(str(script)), watched.run(str(tmp_path))

    assert (missing.returncode, forbidden.returncode, folder.returncode) == (127, 126, 126)
    assert b"command not found: no-such-command" in missing.stderr
    assert b"not executable" in forbidden.stderr
    assert not list((watched.lake / "_spool").iterdir())


def test_a_script_without_interpreter_line_runs(watched: Watched, tmp_path: Path) -> None:
    """A script that has no `#!` is run by sh, as shells do."""
    script = tmp_path / "plain"
    script.write_text("echo plain $1\n")
    script.chmod(0o755)

    assert watched.run(str(script), "x").stdout == b"plain x\n"


def test_binary_input_and_output_pass_through(watched: Watched) -> None:
    """Every byte comes out as it went in, also many of them, and stderr stays apart."""
    data = bytes(range(256)) * 4096

    done = watched.run("sh", "-c", "cat; printf 'e\\000\\377' >&2", input=data, stdin=None)

    assert done.stdout == data
    assert done.stderr.startswith(b"e\x00\xff")


def test_order_is_kept_where_both_outputs_are_one(watched: Watched, tmp_path: Path) -> None:
    """With `2>&1` what the command writes to either stays in its order."""
    path = tmp_path / "both"
    with path.open("wb") as file:
        watched.run("sh", "-c", "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done", stdout=file, stderr=subprocess.STDOUT,
                    capture_output=False)

    assert path.read_text().startswith("o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n")


def test_arguments_of_the_command_are_its_own(watched: Watched) -> None:
    """Options after the command are not those of watch, with and without `--`."""
    done = subprocess.run([*WATCH, "--no-verdict", "--store", str(watched.lake), "echo", "--run", "-h"], capture_output=True, check=True)

    assert done.stdout == b"--run -h\n"


def test_a_reader_that_leaves_ends_the_command(watched: Watched) -> None:
    """When nobody reads our output any more, the command meets the broken pipe."""
    process = watched.start("yes")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    process.stdout = None

    process.communicate(timeout=30)

    assert process.returncode == -signal.SIGPIPE


def test_a_slow_reader_slows_the_command(watched: Watched) -> None:
    """Nothing is hoarded: a command that writes much waits until it is read."""
    code = "import os\nfor number in range(64): os.write(1, bytes(65536)); os.write(2, b'.')"
    process = watched.start(*PYTHON, code)
    assert process.stdout is not None
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    seen = [0]

    def standstill() -> bool:
        before = seen[0]
        time.sleep(0.3)
        seen[0] += len(process.stderr.read() or b"")  # type: ignore[union-attr]
        return 0 < seen[0] == before

    until(standstill)
    assert seen[0] < 10
    os.set_blocking(process.stderr.fileno(), True)
    assert len(process.communicate(timeout=30)[0]) == 64 * 65536


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_are_passed_on_once(watched: Watched, number: int) -> None:
    """A signal sent to watch reaches the command, once."""
    code = (f"import signal, time, os\ncount = []\nsignal.signal({int(number)}, lambda *_: count.append(1))\n"
            "print('ready')\nwhile not count: signal.pause()\n"
            "deadline = time.monotonic() + 0.3\nwhile time.monotonic() < deadline: time.sleep(0.05)\nos._exit(40 + len(count))")
    process = watched.start(*PYTHON, code)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    process.send_signal(number)

    process.communicate(timeout=30)
    assert process.returncode == 41


def test_ignored_signals_stay_ignored(watched: Watched) -> None:
    """Under nohup neither watch nor the command ends by a hang-up."""
    process = subprocess.Popen(["nohup", *watched.command(*PYTHON, "print('ready'); input(); raise SystemExit(7)")],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    process.send_signal(signal.SIGHUP)

    process.communicate(b"\n", timeout=30)
    assert process.returncode == 7


def test_a_stopped_watch_stops_the_command_until_it_is_continued(watched: Watched) -> None:
    """SIGTSTP stops both, SIGCONT continues both."""
    process = watched.start(*PYTHON, "import os; print(os.getpid()); input(); print('on')")
    assert process.stdout is not None
    pid = int(process.stdout.readline())

    process.send_signal(signal.SIGTSTP)
    until(lambda: _state(pid) == "T" and _state(process.pid) == "T")
    process.send_signal(signal.SIGCONT)

    assert process.communicate(b"\n", timeout=30)[0] == b"on\n"
    assert process.returncode == 0


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_daemon_does_not_hold_watch(watched: Watched, tmp_path: Path) -> None:
    """Watch ends when the command ends and says how many of its processes still run."""
    pid_file = tmp_path / "pid"
    code = (f"import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            f"        open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n        time.sleep(600)\n    os._exit(0)\n"
            f"os.wait()\nwhile not os.path.exists({str(pid_file)!r}): time.sleep(0.01)\nprint('started')")

    done = watched.run(*PYTHON, code)

    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert done.returncode == 0
    assert done.stdout == b"started\n"
    assert b"still running: 1 process of the command" in done.stderr


def test_closed_streams_stay_closed(watched: Watched) -> None:
    """A command started with a closed output finds it closed."""
    script = " ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in watched.command("sh", "-c", "echo x || exit 9"))

    assert subprocess.run(["sh", "-c", f"{script} >&-"], stderr=subprocess.DEVNULL, check=False).returncode == 9


def test_the_child_finds_the_sdk_and_nothing_else_of_ours(watched: Watched, tmp_path: Path) -> None:
    """Training code can import pinchpoint, and `models` stays its own."""
    code = ("import importlib.util, json, os, pinchpoint\n"
            "names = ['models', 'shippers', 'pipelines', 'click', 'pyarrow']\n"
            "print(json.dumps([[name for name in names if importlib.util.find_spec(name)], os.environ['PINCHPOINT_RUN_ID'],"
            " os.environ['PINCHPOINT_WORKLOAD'], os.path.isdir(os.environ['PINCHPOINT_DIR']), os.environ['PYTHONPATH'].split(':')[2:]]))")

    done = watched.run(*PYTHON, code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": "/elsewhere"})

    assert not done.returncode, done.stderr.decode()
    assert json.loads(done.stdout) == [[], "r", Path(sys.executable).name, True, ["/elsewhere"]]


def test_output_becomes_log_records(watched: Watched) -> None:
    """Each line is a record with its place, its output and its level; colours are gone from the record only."""
    done = watched.run("sh", "-c", "printf '\\033[31mERROR bad\\033[0m\\nplain'; echo WARNING: w >&2")

    logs = sorted(watched.records("log"), key=lambda row: (row["log.file.path"], row["log.offset"]))
    assert done.stdout == b"\x1b[31mERROR bad\x1b[0m\nplain"
    assert [(row["message"], row["log.file.path"], row["log.offset"], row["log.level"], row["run.id"]) for row in logs] == [
        ("WARNING: w", "stderr", 0, "warning", "r"), ("ERROR bad", "stdout", 0, "error", "r"), ("plain", "stdout", 19, None, "r")]


def test_host_and_processes_are_sampled(watched: Watched) -> None:
    """Even a command of a moment leaves readings of the host, one that lasts also of its processes."""
    watched.run("sleep", "1.2")

    rows = watched.records("metric")
    hosts = [row for row in rows if row["entity.kind"] == "host"]
    processes = [row for row in rows if row["entity.kind"] == "process" and dict(row["labels"])["process.role"] == "run"]
    assert len(hosts) == 3
    assert {dict(row["labels"])["process.name"] for row in processes} == {"sleep"}
    assert {row["run.id"] for row in rows} == {"r"}
    assert len({row["event.id"] for row in rows}) == len(rows)


def test_steps_are_read_from_progress_lines(watched: Watched) -> None:
    """Without the SDK the lines a training program prints give its steps."""
    watched.run("sh", "-c", "for i in 1 2 3 4; do echo step $i 0.05 s/it; sleep 0.06; done")

    steps = sorted(watched.records("step"), key=lambda row: row["step"])
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert [row["duration_s"] for row in steps] == pytest.approx([0.05] * 4, abs=0.011)
    assert {(row["rank"], row["run.id"]) for row in steps} == {(0, "r")}


SDK_LINE = '{"kind":"step","@timestamp":"2026-01-01T00:00:0%dZ","event.id":"r-0-%d","run.id":"r","rank":0,"step":%d,"duration_s":0.5}'


def test_steps_of_the_sdk_win_over_lines(watched: Watched) -> None:
    """A run that counts its steps itself is not counted twice, and its folder is gone at the end."""
    lines = "\\n".join(SDK_LINE % (number, number, number) for number in range(3))
    watched.run("sh", "-c", f"printf '%b\\n' '{lines}' > $PINCHPOINT_DIR/host-1-00000000.ndjson; echo step 7 1 s/it; echo step 8 1 s/it")

    assert sorted(row["step"] for row in watched.records("step")) == [0, 1, 2]
    assert not list((watched.lake / "_spool").iterdir())


def test_nothing_heavy_is_loaded_while_the_command_runs(watched: Watched) -> None:
    """What the analysis needs is imported after the command has ended."""
    code = ("import os\nmaps = open(f'/proc/{os.getppid()}/maps').read()\n"
            "print([name for name in ('arrow', 'numpy', 'pandas', 'sklearn') if name in maps])")

    assert watched.run(*PYTHON, code).stdout == b"[]\n"
    light = ("import sys\nsys.path.insert(0, sys.argv[1])\nimport shippers.watch.cli\n"
             "print([name for name in ('pyarrow', 'numpy', 'pandas', 'apache_beam', 'sklearn', 'rich') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", light, ROOT], capture_output=True, check=True).stdout == b"[]\n"


def test_a_killed_watch_loses_nothing_that_was_written(watched: Watched) -> None:
    """After kill -9 the folder of the run is brought into the store by the next that asks, once."""
    process = watched.start(*PYTHON, "import os; print('hello'); print(os.getpid()); input()")
    assert process.stdout is not None
    process.stdout.readline()
    pid = int(process.stdout.readline())
    spool = watched.lake / "_spool" / "r" / "watch.ndjson"
    until(lambda: spool.exists() and b"hello" in spool.read_bytes())
    store = open_store(str(watched.lake))

    assert recover(store).records == 0  # it lives
    process.kill()
    os.kill(pid, signal.SIGKILL)
    process.communicate()
    with spool.open("ab") as file:
        file.write(b'{"kind":"log","@time')  # what a kill in the middle of a write leaves
    first, again = recover(store), recover(store)

    assert first.records > 1
    assert again.records == 0
    assert [row["message"] for row in watched.records("log")].count("hello") == 1
    assert not spool.parent.exists()


def test_bringing_in_twice_writes_once(watched: Watched, tmp_path: Path) -> None:
    """A crash after the store has the records, and before the folder is gone, repeats nothing."""
    store = open_store(str(watched.lake))
    for _ in range(2):
        folder = watched.lake / "_spool" / "x"
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "host-1-00000000.ndjson").write_text("".join(SDK_LINE % (number, number, number) + "\n" for number in range(3)))
        recover(store)

    assert sorted(row["step"] for row in watched.records("step")) == [0, 1, 2]


def test_a_run_that_is_not_over_is_left_alone(watched: Watched) -> None:
    """The folder of a killed watch stays while a process of the run still writes into it."""
    folder = watched.lake / "_spool" / "x"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    path = folder / "host-1-00000000.ndjson"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(SDK_LINE % (0, 0, 0) + "\n")
        file.flush()

        assert recover(open_store(str(watched.lake))).records == 0
    assert recover(open_store(str(watched.lake))).records == 1


def test_two_watches_of_one_run_do_not_share_a_folder(tmp_path: Path) -> None:
    """Two hosts of a run that keep their records in one lake each have a folder."""
    first, second = Spool.create(tmp_path, "r"), Spool.create(tmp_path, "r")

    assert first.folder != second.folder
    assert list(Spool.left_behind(tmp_path)) == []


def test_the_status_of_the_command_survives_a_failed_analysis(watched: Watched, tmp_path: Path) -> None:
    """What goes wrong after the command has ended is said, and does not change how watch ends."""
    (tmp_path / "pinchpoint.toml").write_text('causes.paths = ["gone.toml"]\n')
    command = [word for word in watched.command("sh", "-c", "for i in 1 2 3 4; do echo step $i 0.2 s/it; done; exit 3")
               if word != "--no-verdict"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)

    assert done.returncode == 3
    assert b"pinchpoint: the analysis failed: " in done.stderr
    assert b"pinchpoint incidents --run r" in done.stderr


def test_a_verdict_that_cannot_be_written_is_refused_at_the_door(watched: Watched, tmp_path: Path) -> None:
    """The command does not start."""
    done = subprocess.run([*WATCH, "--store", str(watched.lake), "--verdict", str(tmp_path / "no" / "v.json"), "--", "touch",
                           str(tmp_path / "ran")], capture_output=True, check=False)

    assert b"--verdict" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_store_in_memory_is_refused() -> None:
    """It would end with watch."""
    with pytest.raises(UsageError, match="--store"):
        spool_parent("memory:")


@pytest.mark.parametrize(("command", "name"), [
    (["python", "train.py", "--lr", "1"], "train"), (["torchrun", "--nproc-per-node", "2", "src/fit.py"], "fit"),
    (["python", "-m", "pkg.train"], "pkg.train"), (["/usr/bin/make", "x"], "make"), (["./run.sh"], "run"),
])
def test_workload_of(command: list[str], name: str) -> None:
    """Runs of the same script share a name."""
    assert workload_of(command) == name


def test_the_sdk_folder_holds_the_package_alone(tmp_path: Path) -> None:
    """Asking again gives the same folder, a wrong link is put right, and something else in its place is an error."""
    folder = sdk_folder(tmp_path)
    link = folder / "pinchpoint"
    assert [path.name for path in folder.iterdir()] == ["pinchpoint"]

    link.unlink()
    link.symlink_to(tmp_path / "gone")
    assert sdk_folder(tmp_path) == folder
    assert link.resolve() == Path(pinchpoint.__file__).parent.resolve()
    link.unlink()
    link.mkdir()
    with pytest.raises(PinchpointError, match="not a link"):
        sdk_folder(tmp_path)


def test_many_may_ask_for_the_sdk_folder_at_once(tmp_path: Path) -> None:
    """Processes that start together all get a whole folder."""
    code = (f"import sys; sys.path.insert(0, {ROOT!r})\nfrom pathlib import Path\nfrom shippers.watch.sdk_folder import sdk_folder\n"
            f"folder = sdk_folder(Path({str(tmp_path)!r}))\nassert (folder / 'pinchpoint' / 'errors.py').exists()\nprint(folder)")
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(6)]

    folders = {process.communicate()[0] for process in processes}

    assert len(folders) == 1
    assert all(process.returncode == 0 for process in processes)
    assert [path.name for path in tmp_path.iterdir()] == [Path(folders.pop().decode().strip()).name]


def test_a_page_is_written_beside_the_verdict(tmp_path: Path) -> None:
    """`--report FILE` leaves a page with the same verdict; one that cannot be written is refused before the command runs."""
    page = tmp_path / "page.html"
    lines = "for step in range(1, 30): print(f'step {step} loss 1.0 0.05 s/it', flush=True); time.sleep(0.05)"
    given = [*WATCH, "--store", str(tmp_path / "lake"), "--report"]
    done = subprocess.run([*given, str(page), "--", sys.executable, "-c", f"import time\n{lines}"], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=90, check=False)
    refused = subprocess.run([*given, str(tmp_path / "no" / "page.html"), "--", "true"], stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=60, check=False)

    assert done.returncode == 0
    assert f"{page} shows the verdict" in done.stderr.decode()
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert "UsageError" in refused.stderr.decode() and "--report" in refused.stderr.decode()
