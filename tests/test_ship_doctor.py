"""What the agent's state tells of why nothing arrives."""

import json
import os
from pathlib import Path

import pytest
from bulk_sink import Sink
from test_ship import agent, eventually, lines, needs_sink, program, ship, sink  # noqa: F401 - fixtures

from pinchpoint import config
from pinchpoint.clock import SYSTEM_CLOCK
from shippers.doctor import Check, checks


def found(tmp_path: Path, text: str = "") -> dict[str, Check]:
    path = tmp_path / "pinchpoint.toml"
    path.write_text(text)
    return {one.name: one for one in checks(tmp_path / "state", config.load(path), SYSTEM_CLOCK)}


def status(tmp_path: Path) -> dict[str, object]:
    return json.loads((tmp_path / "state" / "status.json").read_text())


def test_no_agent_is_a_fault(tmp_path):
    """Without a running agent nothing is shipped, and how to start one is said."""
    assert found(tmp_path)["agent"].state == "fault"
    assert "pinchpoint ship" in str(found(tmp_path)["agent"].next_step)


@needs_sink
def test_a_well_agent_is_well(tmp_path, sink: Sink):  # noqa: F811
    """A running agent, its files and its output are told to be well."""
    (tmp_path / "app.log").write_text(lines(0, 10))
    with agent(tmp_path, "--store", sink.url, tmp_path / "app.log") as one:
        assert eventually(lambda: (tmp_path / "state" / "status.json").exists() and sink.stats()["unique"] == 10)
        told = found(tmp_path, f"[[ship.files]]\npaths = ['{tmp_path}/app.log']")

        assert (told["agent"].state, str(one.process.pid) in told["agent"].says) == ("ok", True)
        assert told["ship.files[0]"].state == "ok"
        assert told[f"output {sink.url}"].state == "ok"
        assert told["spool"].state == "ok"


@needs_sink
def test_a_dead_output_is_named_with_what_it_is_behind(tmp_path):
    """The reason of the last failure is there, and how much of which log was not shipped."""
    (tmp_path / "app.log").write_text(lines(0, 1000))
    with agent(tmp_path, "--store", "http://127.0.0.1:9", tmp_path / "app.log") as one:
        assert one.said("Connection refused")
        assert eventually(lambda: (tmp_path / "state" / "status.json").exists() and status(tmp_path)["problems"], 30)
        told = found(tmp_path)

    assert told["output http://127.0.0.1:9"].state == "fault"
    assert "Connection refused" in told["output http://127.0.0.1:9"].says
    assert any("app.log" in line for line in told["output http://127.0.0.1:9: files"].details)


def test_files_that_match_nothing_are_named(tmp_path):
    """A glob that matches no file is the commonest reason of all."""
    told = found(tmp_path, f"[[ship.files]]\npaths = ['{tmp_path}/nothing/*.log']")

    assert told["ship.files[0]"].state == "warning"
    assert "no file matches" in told["ship.files[0]"].says


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_cannot_be_read_are_named(tmp_path):
    """The user of the agent may not read a log."""
    (tmp_path / "app.log").write_text("x")
    (tmp_path / "app.log").chmod(0)
    told = found(tmp_path, f"[[ship.files]]\npaths = ['{tmp_path}/app.log']")

    assert told["ship.files[0]"].state == "fault"
    assert told["ship.files[0]"].details == (f"{tmp_path}/app.log",)


@needs_sink
def test_dead_letters_are_counted(tmp_path, sink: Sink):  # noqa: F811
    """What the server will never take is told, with where it is kept."""
    (tmp_path / "app.log").write_text(lines(0, 10))
    sink.faults(refuse_every=5)
    ship(tmp_path, "--once", "--store", sink.url, tmp_path / "app.log")
    told = found(tmp_path, f"[ship]\noutputs = ['{sink.url}']")

    assert "2 records" in told[f"output {sink.url}: dead letters"].says
    assert told[f"output {sink.url}: rejected"].state == "warning"


def test_damaged_status_is_no_failure(tmp_path):
    """Whatever stands in the state folder, doctor answers."""
    (tmp_path / "state").mkdir()
    for text in ("", "[]", '{"problems": 3, "samples": [1, [2]], "outputs": 7}'):
        (tmp_path / "state" / "status.json").write_text(text)

        assert found(tmp_path)["agent"].state == "fault"


