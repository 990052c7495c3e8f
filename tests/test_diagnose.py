"""The command `diagnose`: recorded inputs in, a verdict out."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from shippers.diagnose import diagnose


@pytest.fixture
def slow(tmp_path):
    """A run that loads its data in the training process, as NDJSON."""
    path = tmp_path / "run.ndjson"
    rng = np.random.default_rng(1)
    path.write_text("".join(json.dumps({
        "kind": "step", "@timestamp": 1767225600 * 10**9 + int(number * 0.085e9), "run.id": "r", "rank": 0, "step": number,
        "duration_s": 0.085, "phase.data_wait_s": 0.03 + 0.001 * rng.random(), "phase.forward_s": 0.05, "data_wait_cpu_s": 0.029}) + "\n"
        for number in range(400)))
    return path


def run(*arguments, **more):
    return CliRunner().invoke(diagnose, [str(one) for one in arguments], catch_exceptions=False, **more)


def test_a_file_a_folder_and_standard_input_give_the_same_verdict(slow):
    """However the records come."""
    answers = [json.loads(run(slow, "--format", "json").stdout), json.loads(run(slow.parent, "--format", "json").stdout),
               json.loads(run("-", "--format", "json", input=slow.read_text()).stdout)]

    assert answers[0]["incidents"][0]["causes"][0]["cause"] == "single_process_loading"
    assert answers[0]["incidents"] == answers[1]["incidents"] == answers[2]["incidents"]
    assert [one["inputs"][0]["path"] for one in answers] == [str(slow), str(slow), "-"]


def test_a_slow_verdict_can_be_a_gate(slow):
    """Status 3 where asked for, else 0."""
    assert run(slow).exit_code == 0
    assert run(slow, "--fail-on", "slow").exit_code == 3


def test_what_cannot_be_read_is_said_and_the_rest_is_answered(slow):
    """One bad file among many costs nothing but a note."""
    bad = slow.parent / "zz.txt"
    bad.write_text("hello")
    result = run(slow.parent, "--format", "json")
    answer = json.loads(result.stdout)

    assert (result.exit_code, answer["verdict"]) == (0, "slow")
    assert answer["inputs"][1]["reader"] is None
    assert "no known format" in result.stderr


def test_rejected_records_are_kept_where_asked_for(slow):
    """With the reason of each."""
    slow.write_text(slow.read_text() + '{"kind": "step", "@timestamp": "soon"}\n')
    kept = slow.parent.parent / f"{slow.parent.name}-rejected"
    answer = json.loads(run(slow, "--format", "json", "--rejected", kept).stdout)

    assert answer["inputs"][0]["rejected"] == 1
    assert b"soon" in kept.read_bytes()


def test_nothing_to_read_is_no_answer(tmp_path):
    """Status 1 with a valid verdict; a path that does not exist is wrong usage."""
    (tmp_path / "empty").write_text("")
    result = run(tmp_path / "empty", "--format", "json")

    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (1, "not_enough_data")
    with pytest.raises(Exception, match="no such file"):
        run(tmp_path / "missing")
