"""The agent as a process: what it ships, what it survives, and what it says."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import bulk_sink
import pytest
from bulk_sink import Sink

ROOT = Path(__file__).parent.parent
PINCHPOINT = Path(sys.executable).with_name("pinchpoint")

needs_sink = pytest.mark.skipif(bulk_sink.missing() is not None, reason=str(bulk_sink.missing()))


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Path:
    return bulk_sink.build(tmp_path_factory.mktemp("bulk_sink"))


@pytest.fixture
def sink(program) -> Iterator[Sink]:
    with bulk_sink.running(program) as one:
        yield one


def eventually(holds: Callable[[], object], within_s: float = 60.0) -> bool:
    """Whether something becomes true in time."""
    due = time.monotonic() + within_s
    while time.monotonic() < due:
        if holds():
            return True
        time.sleep(0.05)
    return False


def lines(first: int, last: int) -> str:
    return "".join(f'{{"@timestamp":"2026-01-01T00:00:00Z","message":"line {number}","rank":{number}}}\n' for number in range(first, last))


def arguments(tmp_path: Path, *more: object) -> list[str]:
    return [str(PINCHPOINT), "ship", "--state-dir", str(tmp_path / "state"), *map(str, more)]


def ship(tmp_path: Path, *more: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments(tmp_path, *more), capture_output=True, text=True, timeout=100, cwd=tmp_path, **options)


class Agent:
    """A running agent."""

    def __init__(self, tmp_path: Path, *more: object, **options) -> None:
        self.log = tmp_path / f"agent-{len(list(tmp_path.glob('agent-*.log')))}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(arguments(tmp_path, *more), stdout=log, stderr=log, cwd=tmp_path, **options)

    def said(self, text: str, within_s: float = 30.0) -> bool:
        return eventually(lambda: text in self.log.read_text(), within_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def agent(tmp_path: Path, *more: object, **options) -> Iterator[Agent]:
    one = Agent(tmp_path, *more, **options)
    try:
        assert one.said("shipping to"), one.log.read_text()
        yield one
    finally:
        if one.process.poll() is None:
            one.kill()


def settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pinchpoint.toml"
    path.write_text(text)
    return path


def complete(sink: Sink, number: int) -> bool:
    found = sink.stats()
    return found["unique"] + found["refused"] >= number


@needs_sink
def test_once_ships_a_file_exactly_and_nothing_the_second_time(tmp_path, sink):
    """Every line arrives once; a second run has nothing to send of the file."""
    (tmp_path / "app.log").write_text(lines(0, 5000))
    first = ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")
    second = ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")

    found = sink.stats()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (found["unique"], found["duplicates"], found["items_409"]) == (5000, 0, 0)


@needs_sink
def test_once_sends_a_last_line_without_its_end(tmp_path, sink):
    """A file whose last line has no line feed is shipped whole."""
    (tmp_path / "app.log").write_text(lines(0, 10).removesuffix("\n"))
    ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")

    assert sink.stats()["unique"] == 10


@needs_sink
def test_once_says_that_something_is_left(tmp_path, program):
    """With an output that refuses, the exit status is 1 and the reason stands on stderr; nothing is lost."""
    (tmp_path / "app.log").write_text(lines(0, 10))
    with bulk_sink.running(program, "--authorization", "ApiKey right") as sink:
        refused = ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")
        taken = ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log", env={**os.environ, "PINCHPOINT_ES_API_KEY": "right"})
        found = sink.stats()

    assert refused.returncode == 1
    assert "does not know the key" in refused.stderr
    assert taken.returncode == 0
    assert found["unique"] == 10


@needs_sink
def test_a_key_that_is_replaced_is_found(tmp_path, program):
    """An output that was refused goes on by itself when its key file holds a good key."""
    (tmp_path / "app.log").write_text(lines(0, 10))
    key = tmp_path / "key"
    key.write_text("wrong")
    path = settings(tmp_path, f'[elasticsearch]\napi_key_file = "{key}"\n')
    with bulk_sink.running(program, "--authorization", "ApiKey right") as sink, \
            agent(tmp_path, "--config", path, "--store", sink.url, tmp_path / "app.log") as one:
        assert one.said("does not know the key")
        key.write_text("right")

        assert eventually(lambda: sink.stats()["unique"] == 10)
        assert one.said("works again")
    assert "right" not in one.log.read_text().replace("works again", "")


def test_dry_run_prints_what_it_would_send_and_moves_nothing(tmp_path):
    """The documents stand on stdout with their kind, and there is no state afterwards."""
    (tmp_path / "app.log").write_text("one line\npassword=hunter2\n")
    shown = ship(tmp_path, "--dry-run", "--store", "http://127.0.0.1:9", tmp_path / "app.log")

    documents = [json.loads(line) for line in shown.stdout.splitlines()]
    assert shown.returncode == 0, shown.stderr
    assert [one["message"] for one in documents if one["kind"] == "log"] == ["one line", "password=[redacted]"]
    assert "host" in {one.get("entity.kind") for one in documents}
    assert not (tmp_path / "state").exists()


@needs_sink
def test_dry_run_begins_where_the_agent_stands(tmp_path, sink):
    """Only what was not shipped yet is shown, and it is shipped afterwards all the same."""
    (tmp_path / "app.log").write_text(lines(0, 3))
    ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")
    with (tmp_path / "app.log").open("a") as file:
        file.write(lines(3, 5))
    shown = ship(tmp_path, "--dry-run", "--store", sink.url, tmp_path / "app.log")
    ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")

    assert [one["message"] for one in map(json.loads, shown.stdout.splitlines()) if one["kind"] == "log"] == ["line 3", "line 4"]
    assert sink.stats()["unique"] == 5


@pytest.mark.parametrize(("text", "says"), [
    ("[ship]\noutput = []", "ship.output: unknown setting, did you mean ship.outputs?"),
    ("[[ship.files]]\npaths = ['/a']\nformat = 'xml'",
     "ship.files[0].format: expected auto, text, json, logfmt, cri, docker or training, got 'xml'"),
    ("[[ship.files]]\nformat = 'json'", "ship.files[0].paths: is missing"),
    ("[[ship.files]]\npaths = ['/a']\nmultiline = '('", "ship.files[0].multiline: no regular expression"),
    ("[ship.host]\ninterval_s = 0", "ship.host.interval_s: expected a number above 0, got 0"),
    ("[ship.host]\ninterval = 1", "ship.host.interval: unknown setting, did you mean interval_s?"),
    ("[ship.otlp]\nlisten = '4318'", "ship.otlp.listen: expected an address and a port such as 127.0.0.1:4318, got '4318'"),
    ("[ship.redact]\npatterns = ['(']", "ship.redact.patterns: no regular expression"),
    ("[ship.spool]\nfsync = 'sometimes'", "ship.spool.fsync: expected always, interval or never, got 'sometimes'"),
    ("[ship]\noutputs = ['ftp://x']", "ship.outputs: expected a path, s3://"),
    ("[ship]\noutputs = ['/a', '/a']", "ship.outputs: /a is named twice"),
    ("[ship]\noutputs = ['https://me:secret@x']", "a user or password in the store URL"),
])
def test_bad_settings_are_named(tmp_path, text, says):
    """An error at the start names the setting, and no secret."""
    refused = ship(tmp_path, "--config", settings(tmp_path, text), "--once")

    assert refused.returncode == 2, refused.stderr
    assert says in refused.stderr
    assert "secret@" not in refused.stderr


@needs_sink
def test_check_config_says_what_may_need_a_look(tmp_path, sink):
    """Files that match nothing and servers that do not answer are named; a good configuration is called good."""
    (tmp_path / "app.log").touch()
    good = settings(tmp_path, f"[ship]\noutputs = ['{sink.url}', '{tmp_path}/lake']\n[[ship.files]]\npaths = ['*.log']")
    well = ship(tmp_path, "--config", good, "--check-config")
    bad = settings(tmp_path, "[ship]\noutputs = ['http://127.0.0.1:9']\n[[ship.files]]\npaths = ['*.nothing']")
    ill = ship(tmp_path, "--config", bad, "--check-config")

    assert (well.returncode, well.stdout) == (0, ""), well.stderr
    assert ill.returncode == 1
    assert "matches no file yet" in ill.stdout
    assert "http://127.0.0.1:9 does not answer" in ill.stdout


@needs_sink
def test_a_second_agent_is_refused(tmp_path, sink):
    """Two agents on one state folder would send everything twice: the second one ends and says who has it."""
    with agent(tmp_path, "--store", sink.url) as one:
        second = ship(tmp_path, "--once", "--store", sink.url)

        assert second.returncode == 2
        assert f"another agent (process {one.process.pid})" in second.stderr


@needs_sink
def test_sigterm_delivers_what_waits(tmp_path, sink):
    """What sources pushed is sent before the agent ends, with status 0."""
    with agent(tmp_path, "--store", sink.url) as one:
        assert eventually(lambda: sink.stats()["stored"] > 0)

        assert one.end() == 0


@needs_sink
def test_sigterm_ends_in_time_when_an_output_is_dead(tmp_path):
    """The agent ends within about ten seconds, and says that the rest is kept."""
    (tmp_path / "app.log").write_text(lines(0, 10))
    with agent(tmp_path, "--store", "http://127.0.0.1:9", tmp_path / "app.log") as one:
        begun = time.monotonic()

        assert one.end() == 0
        assert time.monotonic() - begun < 15
    assert "the rest is kept" in one.log.read_text()


@needs_sink
def test_a_dead_output_holds_up_only_itself(tmp_path, sink):
    """With one of two outputs dead the other is current, and the dead one gets everything when it comes back."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path / "app.log"
    log.write_text(lines(0, 1000))
    with agent(tmp_path, "--store", sink.url, "--store", f"http://127.0.0.1:{port}", log) as one:
        assert eventually(lambda: sink.stats()["unique"] == 1000)
        with log.open("a") as file:
            file.write(lines(1000, 1500))
        assert eventually(lambda: sink.stats()["unique"] == 1500)
        with bulk_sink.running(bulk_sink.build(tmp_path), port=port) as late:
            assert eventually(lambda: late.stats()["unique"] == 1500)
            assert late.stats()["duplicates"] == 0
        assert one.end() == 0
    assert sink.stats()["duplicates"] == 0


@needs_sink
def test_sighup_reads_the_settings_anew_without_loss(tmp_path, sink):
    """New files are followed, old ones go on where they were, and bad settings change nothing."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").touch()
    path = settings(tmp_path, "[[ship.files]]\npaths = ['a.log']")
    with agent(tmp_path, "--config", path, "--store", sink.url) as one:
        (tmp_path / "a.log").write_text(lines(0, 100))
        assert eventually(lambda: sink.stats()["unique"] == 100)
        settings(tmp_path, "[ship]\nbroken = 1")
        one.process.send_signal(signal.SIGHUP)
        assert one.said("the old one stays")
        settings(tmp_path, "[[ship.files]]\npaths = ['a.log', 'b.log']")
        one.process.send_signal(signal.SIGHUP)
        assert one.said("the new configuration is in use")
        (tmp_path / "b.log").write_text(lines(100, 200))
        with (tmp_path / "a.log").open("a") as file:
            file.write(lines(200, 300))

        assert eventually(lambda: sink.stats()["unique"] == 300)
        assert one.end() == 0
    found = sink.stats()
    assert (found["duplicates"], found["id_collisions"]) == (0, 0)


@needs_sink
def test_many_reloads_while_lines_come_lose_and_double_nothing(tmp_path, sink):
    """SIGHUP in the middle of sending, again and again."""
    log = tmp_path / "app.log"
    path = settings(tmp_path, "[[ship.files]]\npaths = ['app.log']")
    log.touch()
    with agent(tmp_path, "--config", path, "--store", sink.url) as one:
        for part in range(8):
            with log.open("a") as file:
                file.write(lines(part * 2000, (part + 1) * 2000))
            one.process.send_signal(signal.SIGHUP)
            assert eventually(lambda part=part: one.log.read_text().count("the new configuration is in use") == part + 1)

        assert eventually(lambda: sink.stats()["unique"] == 16000)
        assert one.end() == 0
    assert sink.stats()["duplicates"] == 0


@needs_sink
def test_a_full_disk_loses_nothing_of_files(tmp_path, sink):
    """Where nothing can be written to the state any more, lines still arrive, and once."""
    log = tmp_path / "app.log"
    log.write_text(lines(0, 100))

    def no_more_writes() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    with agent(tmp_path, "--store", sink.url, log, preexec_fn=no_more_writes) as one:
        assert eventually(lambda: sink.stats()["unique"] == 100)
        with log.open("a") as file:
            file.write(lines(100, 200))
        time_to_fill = time.monotonic() + 20
        while time.monotonic() < time_to_fill and sink.stats()["unique"] < 200:
            time.sleep(0.2)
        one.kill()
    with agent(tmp_path, "--store", sink.url, log) as one:
        assert eventually(lambda: sink.stats()["unique"] == 200)
        assert one.end() == 0
    assert sink.stats()["duplicates"] == 0


@needs_sink
def test_the_agent_tells_of_itself(tmp_path, sink):
    """/metrics has what was sent by output, /healthz says what does not work, and the same goes out as records."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = settings(tmp_path, f"[ship]\noutputs = ['{sink.url}', 'http://127.0.0.1:9']\n"
                              f"[ship.self]\nlisten = '127.0.0.1:{port}'\ninterval_s = 1")

    def page(name: str) -> str:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
            return answer.read().decode()
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10)
        return failed.value.read().decode()

    with agent(tmp_path, "--config", path) as one:
        assert eventually(lambda: sink.stats()["stored"] > 3)
        assert "pinchpoint_agent_memory_rss_bytes" in page("metrics")
        assert 'pinchpoint_agent_output_stored{output="http___127_0_0_1_' in page("metrics")
        assert eventually(lambda: "http___127_0_0_1_9" in page("healthz"))
        one.end()


@needs_sink
@pytest.mark.timeout(170)
@pytest.mark.parametrize("how", ["create", "copytruncate"])
def test_kills_faults_and_rotation_lose_and_double_nothing(tmp_path, program, how):
    """Kill -9 at random times under every fault while the log is rotated: each line is stored once, or refused and kept aside."""
    number, random_s = 24_000, random.Random(how)
    log = tmp_path / "logs" / "app.log"
    log.parent.mkdir()
    log.touch()
    with bulk_sink.running(program, "--expect", str(number), *bulk_sink.FAULTS) as sink:
        pattern = f"{log}*"
        with agent(tmp_path, "--store", sink.url, pattern):
            pass
        writer = subprocess.Popen([sys.executable, Path(__file__).with_name("log_writer.py"), log, str(number), "4000", "1.2", how])
        with writer:
            for _ in range(3):
                one = Agent(tmp_path, "--store", sink.url, pattern)
                time.sleep(random_s.uniform(1.0, 3.0))
                one.kill()
            with agent(tmp_path, "--store", sink.url, pattern) as one:
                assert eventually(lambda: writer.poll() is not None and sink.stats()["missing"] == 0, 100), sink.stats()
                one.end()
        found = sink.stats()

    assert (number - number // 1000, 0, 0) == (found["unique"], found["duplicates"], found["missing"])
    kept = [json.loads(line) for path in (tmp_path / "state" / "outputs").glob("*/dead-letter.ndjson") for line in path.open()]
    assert number // 1000 == len({one["id"] for one in kept})
