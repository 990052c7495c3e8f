"""Logs of MLPerf training: initialisation and evaluation as the events say."""

import json

import pytest

from pinchpoint.config import Config
from pinchpoint.store import open_store
from pipelines.analysis import diagnose_run
from shippers.formats import open_input
from shippers.formats.mllog import parse_line


def event(second, key):
    return ":::MLLOG " + json.dumps({"namespace": "", "time_ms": 1_622_739_301_000 + 1000 * second, "event_type": "POINT_IN_TIME",
                                     "key": key, "value": None, "metadata": {"file": "x.py", "lineno": 1}})


def log(path, events, other=("+ echo hello",)):
    path.write_text("\n".join([*other, *(event(second, key) for second, key in events)]) + "\n")
    return path


EVENTS = [(0, "init_start"), (18, "init_stop"), (20, "run_start"), (50, "eval_start"), (50, "eval_start"), (60, "eval_stop"),
          (61, "eval_stop"), (110, "eval_start"), (118, "eval_stop"), (120, "run_stop")]


def test_shares_of_initialisation_and_evaluation(tmp_path):
    """Initialisation lasts until the run starts; evaluations that ranks log twice count once; neither is an incident."""
    store = open_store(str(tmp_path / "lake"))
    for number, (kind, batch) in enumerate(open_input(log(tmp_path / "a.txt", EVENTS))):
        store.append(kind, batch, str(number))

    answer = diagnose_run(str(tmp_path / "lake"), None, Config())

    assert (answer["verdict"], answer["incidents"]) == ("healthy", [])
    assert answer["observed"]["wall_s"] == 120
    assert answer["shares"]["init"] == pytest.approx(20 / 120, abs=1e-4)
    assert answer["shares"]["evaluation"] == pytest.approx(18 / 120, abs=1e-4)


def test_damaged_events_are_set_aside(tmp_path):
    """An event that cannot be read is counted; the others stand."""
    path = log(tmp_path / "a.txt", EVENTS, other=(':::MLLOG {"time_ms": "no", "key": "run_start"}', ":::MLLOG {"))
    reading = open_input(path)

    assert sum(batch.num_rows for kind, batch in reading if kind == "step") == 1
    assert reading.rejected == 2


def test_without_a_timed_run_there_is_a_note(tmp_path):
    """A run that never started has no length."""
    reading = open_input(log(tmp_path / "a.txt", EVENTS[:2]))

    assert list(reading) == []
    assert "run_start" in reading.notes[0]


def test_a_line_without_an_event_is_none():
    """Text around events is no event."""
    assert parse_line(b"STARTING TIMING RUN AT 2021-06-03") is None
