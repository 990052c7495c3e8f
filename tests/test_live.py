"""A run while it goes on: what is seen of it, and how that is drawn."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from people import ROOT, WATCH, Person
from rich.cells import cell_len

from pinchpoint import records
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.errors import InputError
from pinchpoint.store import open_store
from pipelines.live import look
from shippers.live.cli import top
from shippers.live.recent import KEEP_S, Recent
from shippers.live.screen import Page, draw, plain
from shippers.live.sources import SpoolSource, open_source
from shippers.watch.spool import WATCH_FILE, Spool, spool_parent

START = 1_767_225_600 * NS
GPU_LABELS = [("gpu.index", "0")]


def step_batch(seconds: int = 60, *, start: int = START, waits_from: int = 30) -> pa.RecordBatch:
    """Ten steps a second of two ranks; from `waits_from` (seconds) on, both wait ten times as long for data."""
    times, waits = [], []
    at = 0.0
    while at < seconds:
        wait = 0.09 if at >= waits_from else 0.009
        times.append(start + round(at * NS))
        waits.append(wait)
        at += wait + 0.09
    both, wait = np.repeat(times, 2), np.repeat(waits, 2)
    size = len(both)
    return records.batch("step", {
        "@timestamp": both, "event.id": [f"s{number}" for number in range(size)], "run.id": ["r"] * size, "run.workload": ["train"] * size,
        "rank": [0, 1] * len(times), "host.name": ["node"] * size, "step": np.repeat(np.arange(len(times)), 2),
        "duration_s": wait + 0.09, "phase.data_wait_s": wait, "phase.forward_s": np.full(size, 0.09)})


def metric_batch(seconds: int = 60) -> pa.RecordBatch:
    """A reading each second of the host and of a hot GPU."""
    rows = [(START + at * NS, kind, name, values) for at in range(seconds) for kind, name, values in (
        ("host", "node", {"system.cpu.count": 8.0, "system.cpu.busy_s": 2.0 * at, "system.memory.total_bytes": 8e9,
                          "system.memory.available_bytes": 2e9}),
        ("gpu", "GPU-1", {"gpu.busy_ratio": 0.5, "gpu.clock.sm_hz": 1.2e9, "gpu.clock.sm_max_hz": 1.98e9, "gpu.memory.used_bytes": 4e9,
                          "gpu.memory.total_bytes": 8e9, "gpu.throttled.thermal_s": 0.5 * at}))]
    return records.batch("metric", {
        "@timestamp": [row[0] for row in rows], "event.id": [f"m{number}" for number in range(len(rows))],
        "entity.kind": [row[1] for row in rows], "entity.id": [row[2] for row in rows], "host.name": ["node"] * len(rows),
        "labels": [GPU_LABELS if row[1] == "gpu" else [] for row in rows], "metrics": [list(row[3].items()) for row in rows]})


@pytest.fixture(scope="module")
def picture() -> dict[str, Any]:
    return look({"step": records.concat("step", [step_batch()]), "metric": records.concat("metric", [metric_batch()])}, "r")


def test_a_slowdown_is_suspected_while_it_goes_on() -> None:
    """Thirty seconds of waiting for data are told, with what each phase took before."""
    picture = look({"step": records.concat("step", [step_batch()])}, "r")

    assert picture["verdict"] == "slow"
    assert picture["incidents"][0]["causes"][0]["category"] == "data"
    _, now, before = next(one for one in picture["phases"] if one[0] == "data_wait")
    assert now == pytest.approx(0.09, rel=0.01)
    assert before < 0.05
    assert [(one["rank"], one["host"]) for one in picture["ranks"]] in ([(0, "node"), (1, "node")], [(1, "node"), (0, "node")])


def test_gpus_and_host_are_seen(picture: dict[str, Any]) -> None:
    """Busy, clocks, memory and what holds the clocks; of the host the share of its processors and of its memory."""
    [gpu], [host] = picture["gpus"], picture["host"]

    assert (gpu["index"], gpu["busy"], gpu["held"]) == (0, 0.5, ["heat"])
    assert (host["cpu"], host["memory"]) == (pytest.approx(0.25), pytest.approx(0.75))


def test_nothing_seen_is_no_error() -> None:
    """Without a step there is a picture that says so."""
    found = look({}, "r")

    assert (found["verdict"], found["phases"], found["ranks"], found["step_time_s"]) == ("not_enough_data", [], [], None)
    assert draw(found, (), Page(80, 24))


@pytest.mark.parametrize("page", [Page(80, 24), Page(200, 60), Page(40, 12), Page(20, 5), Page(80, 24, ascii=True), Page(10, 4)], ids=str)
def test_it_fits_any_terminal(picture: dict[str, Any], page: Page) -> None:
    """No line is wider and no page is higher than the terminal; hostile output stays text."""
    lines = draw(picture, ["\x1b[31mred\x07", "日本語" * 40], page, "q ends")

    assert len(lines) == page.height
    assert [line.plain for line in lines if cell_len(line.plain) > page.width] == []
    assert "SLOW" in lines[0].plain
    text = "\n".join(line.plain for line in lines)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert not page.ascii or text.isascii()


def test_all_is_seen_at_80_by_24(picture: dict[str, Any]) -> None:
    """The smallest usual terminal has the suspicion with its fix, phases, ranks, GPUs, host and output."""
    text = "\n".join(line.plain for line in draw(picture, ["step 120"], Page(80, 24), "q ends"))

    for word in ("suspicion", "do: ", "data wait", "ranks, slowest", "GPUs (1)", "held by heat", "CPU 25 %", "step 120", "q ends"):
        assert word in text


def test_one_line_for_a_printer(picture: dict[str, Any]) -> None:
    """What a terminal without a screen prints has verdict, step time, longest phase and cause."""
    assert plain(picture).startswith("pinchpoint: slow, ")
    assert " a step, " in plain(picture)
    assert " sure)" in plain(picture)


def test_old_records_are_forgotten() -> None:
    """What is older than some minutes does not count, however long a run lasts."""
    recent = Recent()
    recent.add("step", step_batch(5))
    recent.add("step", step_batch(5, start=START + round((KEEP_S + 60) * NS)))

    assert recent.tables()["step"].num_rows == step_batch(5).num_rows


def test_progress_lines_stand_for_steps() -> None:
    """A run without the SDK is seen by what it prints."""
    recent = Recent()
    recent.add("log", records.batch("log", {
        "@timestamp": [START + number * NS for number in range(20)], "run.id": ["r"] * 20, "host.name": ["node"] * 20,
        "message": [f"step {10 * number} loss 0.1" for number in range(20)]}))

    assert look(recent.tables(), "r")["step_time_s"] == pytest.approx(0.1, rel=0.05)
    assert recent.last_lines()[-1] == "step 190 loss 0.1"


def test_files_are_followed(tmp_path: Path) -> None:
    """Each record of a growing file is read once, half a line when its other half is there."""
    line = b'{"kind":"step","@timestamp":1,"run.id":"r","rank":0,"step":%d,"duration_s":0.1}\n'
    file = tmp_path / "rank0.ndjson"
    source, recent = SpoolSource(tmp_path, "r"), Recent()
    counts = []
    for data in (line % 0, line % 1 + (line % 2)[:20], (line % 2)[20:], b"no record\n"):
        with file.open("ab") as out:
            out.write(data)
        source.read(recent)
        counts.append(recent.seen)

    assert counts == [1, 2, 3, 3]


def test_a_watched_run_comes_first(tmp_path: Path) -> None:
    """The run that is watched now is found without its name; without one the newest of the store is."""
    store = open_store(str(tmp_path))
    store.append("step", step_batch(), "a")
    assert open_source(str(tmp_path), None, SYSTEM_CLOCK).run_id == "r"

    spool = Spool.create(spool_parent(str(tmp_path)), "now")
    (spool.folder / WATCH_FILE).write_bytes(b'{"kind":"log","@timestamp":1,"run.id":"now","message":"x"}\n')

    assert open_source(str(tmp_path), None, SYSTEM_CLOCK).run_id == "now"
    with pytest.raises(InputError, match="no run other"):
        open_source(str(tmp_path), "other", SYSTEM_CLOCK)
    spool.close()


def test_top_prints_a_run_of_a_store(tmp_path: Path) -> None:
    """`top --once` of a lake shows steps, and readings of the host that carry no run."""
    store = open_store(str(tmp_path))
    store.append("step", step_batch(), "a")
    store.append("metric", metric_batch(), "b")

    found = CliRunner().invoke(top, ["--store", str(tmp_path), "--once"], env={"COLUMNS": "80"})

    assert found.exit_code == 0, found.output
    for word in ("SLOW  train", "data wait", "held by heat", "CPU 25 %"):
        assert word in found.output


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    """Starts `watch --live -- COMMAND…` at a terminal with some variables set."""
    people: list[Person] = []

    def start(*command: str, **variables: str) -> Person:
        words = ["/usr/bin/env", *(f"{name}={value}" for name, value in {"TERM": "xterm", **variables}.items()), *WATCH, "--live",
                 "--no-verdict", "--store", str(tmp_path / "lake"), "--", *command]
        people.append(Person(words))
        return people[-1]

    yield start
    for person in people:
        person.send_away()


ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
STEPS = "for number in range(100000): print(f'step {number} loss 0.1'); time.sleep(0.05)"
COMMAND = [sys.executable, "-u", "-c", f"import sys, time\nprint('began')\n{STEPS}"]


def test_the_view_comes_and_goes(sit: Callable[..., Person]) -> None:
    """Q closes it, what was printed meanwhile follows, the command goes on and ^C ends it; the terminal is as before."""
    person = sit(*COMMAND)
    person.wait_for(ENTER)
    person.wait_for(b"a step", 60)
    person.type(b"q")
    person.wait_for(LEAVE)
    person.wait_for(b"began\r\n")
    person.wait_for(b"step 1 loss")
    person.type(b"\x03")

    assert person.end() == -signal.SIGINT


def test_the_end_of_the_command_ends_the_view(sit: Callable[..., Person]) -> None:
    """Its exit status and its last words come through."""
    person = sit(sys.executable, "-c", "print('last words'); raise SystemExit(7)")

    person.wait_for(LEAVE)
    person.wait_for(b"last words\r\n")
    assert person.end() == 7


def test_a_view_that_is_killed_does_no_harm(sit: Callable[..., Person]) -> None:
    """The screen is given back and the output comes again."""
    person = sit(*COMMAND)
    person.wait_for(b"q closes")
    [view] = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _is_view_of(entry, person.pid)]
    os.kill(view, signal.SIGKILL)

    person.wait_for(LEAVE)
    person.wait_for(b"began\r\n")
    person.type(b"\x03")
    assert person.end() == -signal.SIGINT


def _is_view_of(process: Path, parent: int) -> bool:
    try:
        words, fields = (process / "cmdline").read_bytes(), (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return b"shippers.live.child" in words and int(fields[1]) == parent


def test_a_new_size_is_drawn(sit: Callable[..., Person]) -> None:
    """A window that becomes narrow is filled anew, no line wider than it."""
    person = sit(*COMMAND)
    person.wait_for(b"a step", 60)
    person.resize(40, 12)
    person.wait_for(b"\xe2\x80\xa6", 20)  # lines are cut, which none was before
    person.type(b"q")
    person.wait_for(LEAVE)


def test_without_colour(sit: Callable[..., Person]) -> None:
    """NO_COLOR leaves no colour in what is drawn."""
    person = sit(*COMMAND, NO_COLOR="1")
    person.wait_for(ENTER)
    drawn = b""
    person.until(lambda: b"a step" in person.seen, 60)
    drawn = person.seen

    assert not any(code in drawn for code in (b"\x1b[31m", b"[38;", b"[32m", b";31m"))


def test_a_terminal_that_only_prints(sit: Callable[..., Person]) -> None:
    """With TERM=dumb the output stays where it is and no screen is taken."""
    person = sit(sys.executable, "-c", "print('all as ever'); raise SystemExit(3)", TERM="dumb")
    person.wait_for(b"all as ever\r\n")

    assert person.end() == 3
    assert ENTER not in person.seen


def test_without_a_terminal_it_runs_all_the_same(tmp_path: Path) -> None:
    """In a pipe `--live` says why there is no view, and the command runs."""
    found = subprocess.run([*WATCH, "--live", "--no-verdict", "--store", str(tmp_path), "--", "echo", "hello"], capture_output=True,
                           text=True, check=False, cwd=ROOT)

    assert (found.returncode, found.stdout) == (0, "hello\n")
    assert "--live needs a terminal" in found.stderr
