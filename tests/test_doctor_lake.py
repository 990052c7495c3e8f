"""`pinchpoint doctor` on lakes, on settings, and as a command."""

import json
import os
import threading
from pathlib import Path

import pytest
from asking_doctor import ask
from small_disks import make_read_only

from pinchpoint import cli, fields, records
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.doctor.check import Check
from pinchpoint.doctor.examine import examine, worst_first
from pinchpoint.store import open_store


def healthy(url: str, ahead_s: float = -5.0) -> str:
    """A store into which everything was shipped a moment ago, and analysed."""
    now = SYSTEM_CLOCK.now_ns()
    store = open_store(url)
    for kind in fields.SHIPPED:
        store.append(kind, records.batch(kind, {"@timestamp": [now + round(ahead_s * NS)], "event.id": [f"e-{now}"], "host.name": ["h1"]}),
                     f"{kind}-{now}")
    store.set_watermark("analyze", now - 10 * NS)
    return url


def test_a_healthy_lake_is_told_in_a_few_lines(tmp_path, capsys):
    """Nothing to do: exit status 0, every line within 80 columns."""
    status = cli.run(cli.root, ["doctor", "--store", healthy(str(tmp_path / "lake"))])
    said = capsys.readouterr()

    assert (status, said.err) == (0, "Everything is as it should be.\n")
    assert len(said.out.splitlines()) < 12
    assert [line for line in said.out.splitlines() if len(line) > 80] == []


def test_the_worst_comes_first():
    """Faults, warnings, what could not be seen, what is well."""
    checks = [Check(state, state, "…") for state in ("ok", "unknown", "fault", "warning")]

    assert [check.state for check in worst_first(checks)] == ["fault", "warning", "unknown", "ok"]


def test_a_check_that_hangs_or_dies_leaves_the_others_alone():
    """Each has its deadline, and its failure is its own."""
    forever = threading.Event()

    def hang():
        forever.wait()
        return []

    def die():
        raise ZeroDivisionError("division by zero")

    found = examine({"hang": hang, "die": die, "well": lambda: [Check("well", "ok", "fine.")]}, deadline_s=0.2)
    forever.set()

    assert [(one.name, one.state, one.says) for one in found] == [
        ("hang", "unknown", "no answer within 0.2 s."), ("die", "unknown", "the check failed: ZeroDivisionError: division by zero."),
        ("well", "ok", "fine.")]


def test_nothing_was_ever_shipped(tmp_path, capsys):
    """The commonest reason why nothing arrives."""
    answer = ask(capsys, "--store", str(tmp_path / "lake"))

    assert (answer.status, answer.bad()) == (1, {"arrival": "fault"})
    assert answer.of("arrival")["says"] == "no record was ever shipped here."


def test_a_clock_that_is_ahead(tmp_path, capsys):
    """Records of the future are a fault of a clock."""
    answer = ask(capsys, "--store", healthy(str(tmp_path), ahead_s=10_000))

    assert (answer.status, set(answer.bad())) == (1, {"clock"})
    assert "3 h ahead" in answer.checks[0]["says"]


def test_nothing_new_for_hours(tmp_path, capsys):
    """A shipper that stopped is a warning, and so is an analysis that never ran."""
    answer = ask(capsys, "--store", healthy(str(tmp_path), ahead_s=-5 * 3600))
    (tmp_path / "_watermarks" / "analyze.json").unlink()
    unanalysed = ask(capsys, "--store", str(tmp_path))

    assert (answer.status, answer.bad()) == (0, {"arrival": "warning"})
    assert answer.of("arrival")["says"].startswith("nothing newer than 5 h ago")
    assert unanalysed.of("analysis")["says"] == "records were shipped and never analysed."


def test_an_analysis_that_fell_behind(tmp_path, capsys):
    """How far is said."""
    store = open_store(healthy(str(tmp_path)))
    store.set_watermark("analyze", SYSTEM_CLOCK.now_ns() - 3 * 3600 * NS)
    answer = ask(capsys, "--store", str(tmp_path))

    assert answer.bad() == {"analysis": "warning"}
    assert answer.of("analysis")["says"] == "it came to 3 h ago and is 3 h behind the newest record."


def test_what_was_set_aside_is_listed(tmp_path, capsys):
    """Each file with its reason."""
    url = healthy(str(tmp_path))
    hour = tmp_path / "feature" / "2026-01-01T00"
    hour.mkdir(parents=True)
    (hour / "x.parquet").write_bytes(b"nonsense")
    open_store(url).splits("feature")
    answer = ask(capsys, "--store", url)

    assert answer.bad() == {"set aside": "warning"}
    assert "no end of a Parquet file" in answer.of("set aside")["details"][0]


def test_it_never_writes(tmp_path, capsys):
    """Not even what is damaged is moved."""
    url = healthy(str(tmp_path))
    [segment] = (tmp_path / "step").glob("*/*.parquet")
    segment.write_bytes(segment.read_bytes()[:-9])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    answer = ask(capsys, "--store", url)

    assert answer.of("segments")["state"] == "warning"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_files_that_wait_are_counted(tmp_path, capsys):
    """What light writers left is shown with its size."""
    url = healthy(str(tmp_path))
    folder = tmp_path / "_landing" / "host"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.ndjson.gz").write_bytes(b"x" * 100)

    assert "3 files of light writers (300 B)" in ask(capsys, "--store", url).of("landing")["says"]


def test_a_lake_on_a_full_disk(small_disk, capsys):
    """A disk with hardly any room is a fault."""
    answer = ask(capsys, "--store", healthy(str(small_disk("1m"))))

    assert (answer.status, answer.bad()) == (1, {"lake": "fault"})
    assert "is full" in answer.of("lake")["says"]


def test_a_lake_that_may_not_be_written(small_disk, capsys):
    """Read-only is said as what it is."""
    folder = small_disk("200m")
    url = healthy(str(folder))
    make_read_only(folder)
    answer = ask(capsys, "--store", url)

    assert (answer.status, answer.bad()) == (1, {"lake": "fault"})
    assert "may not be written to" in answer.of("lake")["says"]


def test_a_lake_that_is_a_file(tmp_path, capsys):
    """What cannot be a lake is one fault, not a row of them."""
    (tmp_path / "file").write_text("x")
    answer = ask(capsys, "--store", str(tmp_path / "file"))

    assert (answer.status, answer.bad()) == (1, {"lake": "fault"})


def test_settings_that_cannot_be_read(tmp_path, capsys):
    """The settings are the first suspect; a store that is named is looked at all the same."""
    (tmp_path / "pinchpoint.toml").write_text('stoer = "x"\n')
    blind = ask(capsys, "--config", str(tmp_path / "pinchpoint.toml"))
    answer = ask(capsys, "--config", str(tmp_path / "pinchpoint.toml"), "--store", healthy(str(tmp_path / "lake")))

    assert (blind.status, blind.bad()) == (1, {"settings": "fault", "store": "unknown"})
    assert "did you mean store?" in blind.of("settings")["says"]
    assert (answer.status, answer.bad()) == (1, {"settings": "fault"})


def test_settings_that_name_what_is_not_there(tmp_path, capsys):
    """A file of causes that is gone is told before the analysis meets it."""
    (tmp_path / "pinchpoint.toml").write_text('[causes]\npaths = ["mine.toml"]\n')
    answer = ask(capsys, "--config", str(tmp_path / "pinchpoint.toml"), "--store", healthy(str(tmp_path / "lake")))

    assert answer.status == 1
    assert "mine.toml, which does not exist" in answer.checks[0]["says"]


@pytest.mark.service
def test_a_lake_in_object_storage(s3_bucket, capsys):
    """The same checks, but for the disk."""
    answer = ask(capsys, "--store", healthy(f"{s3_bucket}/lake"))

    assert (answer.status, answer.bad()) == (0, {})


def test_other_packages_bring_checks(tmp_path, pinchpoint):
    """An installed package adds its own by an entry point; one that cannot be loaded is said."""
    (tmp_path / "lib" / "other-1.dist-info").mkdir(parents=True)
    (tmp_path / "lib" / "other-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (tmp_path / "lib" / "other-1.dist-info" / "entry_points.txt").write_text(
        "[pinchpoint.doctor]\nother = other_checks:look\nlost = no_such_module_at_all:look\n")
    (tmp_path / "lib" / "other_checks.py").write_text(
        "from pinchpoint.doctor import Check\ndef look(subject):\n    yield Check('other', 'fault', f'it looked at {subject.store}.')\n")
    done = pinchpoint("doctor", "--store", healthy(str(tmp_path / "lake")), "--format", "json",
                      env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")})
    found = {check["name"]: check for check in json.loads(done.stdout)}

    assert done.returncode == 1
    assert found["other"]["says"] == f"it looked at {tmp_path / 'lake'}."
    assert found["lost"]["state"] == "unknown"


def test_a_store_in_memory_is_refused(capsys):
    """There is nothing to look at."""
    assert cli.run(cli.root, ["doctor", "--store", "memory:"]) == 2
    assert "ends with each command" in capsys.readouterr().err


def test_the_terminal_is_not_the_records(tmp_path, capsys):
    """What a path or a record holds never acts upon the terminal."""
    folder = Path(tmp_path / "la\x1b[31mke")
    cli.run(cli.root, ["doctor", "--store", str(folder)])

    assert "\x1b[31mke" not in capsys.readouterr().out
