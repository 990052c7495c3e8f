"""Logs of training jobs that are followed: errors become events and step times steps, once, whatever is killed."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from tailing import Agent

from pinchpoint.clock import parse_time
from shippers.redact import redact
from shippers.tail import FileSet
from shippers.tail.job_lines import JobLines

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 79.10 GiB"


class Job(Agent):
    """An agent whose records are told apart by kind."""

    def take(self, output=0, most_bytes=1 << 20):
        batch = self.tails[output].take(most_bytes)
        if batch is None:
            return []
        self.token = batch.token
        found = [{"kind": item.kind, **json.loads(item.document)} for item in batch.items]
        assert [item.id for item in batch.items] == [one["event.id"] for one in found]
        self.documents[output] += found
        return found


def follow(tmp_path, text, **options):
    """What an agent makes of a log, by kind."""
    log = tmp_path / "job.log"
    log.write_text(text)
    agent = Job(tmp_path / "state", FileSet((str(log),), **{"format": "training", "run": "r1", "rank": 2, **options}))
    found = agent.run(10.0)
    return {kind: [one for one in found if one["kind"] == kind] for kind in ("log", "event", "step")}


def test_errors_become_events_beside_their_lines(tmp_path):
    """With the labels that every error has, and what is known of the log."""
    found = follow(tmp_path, f"starting\n{OOM}\n")

    assert [one["message"] for one in found["log"]] == ["starting", OOM]
    (event,) = found["event"]
    assert (event["event.action"], event["labels"]["error.kind"], event["labels"]["log.message"]) == ("oom", "cuda_oom", OOM)
    assert (event["run.id"], event["rank"], event["host.name"]) == ("r1", 2, "node-1")


def test_times_of_steps_become_steps(tmp_path):
    """Each line stands for the steps since the one before, which end when it was written."""
    line = "2026-01-01T10:00:{}Z iter {}: loss 2.0, time 500.0ms\n"
    found = follow(tmp_path, line.format(10, 100) + line.format(12, 103))

    assert [(one["@timestamp"], one["step"], one["duration_s"]) for one in found["step"]] == [
        ("2026-01-01T10:00:09.5Z", 100, 0.5), ("2026-01-01T10:00:10.5Z", 101, 0.5),
        ("2026-01-01T10:00:11Z", 102, 0.5), ("2026-01-01T10:00:11.5Z", 103, 0.5)]
    assert {(one["run.id"], one["rank"]) for one in found["step"]} == {("r1", 2)}


def test_steps_without_a_time_lie_end_to_end(tmp_path):
    """The last of them ends when it was read."""
    found = follow(tmp_path, "".join(f"iter {n}: loss 2.0, time 500.0ms\n" for n in range(3)))
    starts = [parse_time(one["@timestamp"]) for one in found["step"]]

    assert [one["step"] for one in found["step"]] == [0, 1, 2]
    assert [later - earlier for earlier, later in pairwise(starts)] == [500_000_000] * 2


def test_lines_with_a_step_and_a_time_of_day(tmp_path):
    """As torchtitan prints them, for each rank: the time between two lines is that of the steps between them."""
    line = "[rank{}]:[titan] 2026-01-01 10:00:{:02d},250 - root - INFO - step: {}  loss:  7.1  memory: 30.1GiB(38%)  tps: 7,200\n"
    found = follow(tmp_path, "".join(line.format(rank, at, step) for at, step in ((0, 10), (5, 20)) for rank in (0, 1)))

    assert [(one["rank"], one["step"]) for one in found["step"]] == [(rank, step) for rank in (0, 1) for step in range(11, 21)]
    assert {one["duration_s"] for one in found["step"]} == {0.5}


def test_other_formats_stay_lines(tmp_path):
    """Nobody pays for what was not asked for."""
    found = follow(tmp_path, f"iter 1: loss 2.0, time 500.0ms\n{OOM}\n", format="text")

    assert (len(found["log"]), found["event"], found["step"]) == (2, [], [])


def test_secrets_leave_the_quoted_line_too(tmp_path):
    """As they leave the line itself."""
    found = follow(tmp_path, f"{OOM} password=hunter2\n")

    assert "hunter2" not in json.dumps(found)
    assert "[redacted]" in found["event"][0]["labels"]["log.message"]


@pytest.mark.parametrize("settled", [0, 1])
def test_a_kill_loses_and_doubles_nothing(tmp_path, settled):
    """What lines tell goes before them, under ids that are the same when they are read again."""
    log = tmp_path / "job.log"
    log.write_text(f"2026-01-01T10:00:10Z iter 100: loss 2.0, time 500.0ms\n{OOM}\n")
    agent = Job(tmp_path / "state", FileSet((str(log),), format="training"))
    for number in range(2):
        while not agent.take():
            agent.clock.advance(0.25)
        if number < settled:
            agent.tail.settled(agent.token)
    before = {one["event.id"] for one in agent.documents[0]}
    agent.kill()
    agent.start()
    again = {one["event.id"] for one in agent.run(10.0)}

    assert again == before
    assert len(before) == 4


def test_a_line_that_repeats_tells_once_a_minute(tmp_path):
    """All ranks of a job print the same."""
    found = follow(tmp_path, f"2026-01-01T10:00:10Z {OOM}\n" * 50)

    assert (len(found["log"]), len(found["event"])) == (50, 1)


def test_a_jump_of_the_counter_is_one_step(tmp_path):
    """A job that went on from a checkpoint."""
    jobs = JobLines("f" * 8, {"log.file.path": "/logs/run7.out"}, redact)
    items = jobs.read([0, 40], [b"iter 1: loss 2.0, time 500.0ms", b"iter 90000: loss 2.0, time 500.0ms"], "2026-01-01T00:00:00Z")

    assert [(json.loads(item.document)["step"], json.loads(item.document)["run.id"]) for item in items] == [(1, "run7"), (90000, "run7")]


def test_lines_that_come_again_tell_the_same(tmp_path):
    """As when the journal could not be written: how many steps a line stands for is known from before it."""
    jobs = JobLines("f" * 8, {"log.file.path": "/logs/run7.out"}, redact)
    titan = b"[rank0]:[titan] 2026-01-01 10:00:%02d,250 - root - INFO - step: %d  loss:  7.1"
    jobs.read([0, 40], [b"iter 1: loss 2.0, time 500.0ms", titan % (0, 10)], "2026-01-01T00:00:00Z")
    again = [jobs.read([150, 190, 240], [b"iter 4: loss 2.0, time 500.0ms", titan % (5, 20), OOM.encode()], "2026-01-01T00:00:00Z")
             for _ in range(2)]

    assert again[0] == again[1]
    assert len(again[0]) == 3 + 10 + 1


def test_the_agent_loads_no_arrow():
    """It knows the lines of jobs by modules that need nothing."""
    code = "import shippers.tail, sys; sys.exit(any(name in sys.modules for name in ('pyarrow', 'numpy')))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_what_the_agent_ships_of_a_job_is_answered_for(tmp_path):
    """From the file to the incident: steps that became slower, and a worker of the loader that died."""
    log = tmp_path / "job.log"
    times = [f"2026-01-01T{10 + at // 3600}:{at // 60 % 60:02d}:{at % 60:02d}Z" for at in (*range(300), *range(300, 900, 2))]
    log.write_text("".join(f"{at} iter {n}: loss 2.0, time {1000 if n < 300 else 2000}.0ms\n" for n, at in enumerate(times))
                   + f"{times[-1]} RuntimeError: DataLoader worker (pid(s) 71, 72) exited unexpectedly\n")
    settings = tmp_path / "pinchpoint.toml"
    settings.write_text(f"[ship]\noutputs = ['{tmp_path}/lake']\n[[ship.files]]\npaths = ['{log}']\nformat = 'training'\nrun = 'r1'\n")

    def pinchpoint(*arguments):
        return subprocess.run([Path(sys.executable).with_name("pinchpoint"), *map(str, arguments)], capture_output=True, text=True,
                              timeout=100, check=True, cwd=tmp_path).stdout

    pinchpoint("ship", "--config", settings, "--state-dir", tmp_path / "state", "--once")
    pinchpoint("analyze", "--store", tmp_path / "lake", "--since", "3000d")
    found = json.loads(pinchpoint("incidents", "--store", tmp_path / "lake", "--format", "json"))

    assert {one["run"] for one in found} == {"r1"}
    assert [one["symptom"]["baseline"] for one in found if one["symptom"]["name"] == "step_time"] == [pytest.approx(1.0, rel=0.05)]
    assert "loader_worker_died" in [cause["cause"] for one in found for cause in one["causes"]]
