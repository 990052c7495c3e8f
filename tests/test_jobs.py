"""The Beam job: records in a lake become incidents, the same ones each time."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from runs import START

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.store import IncidentFilter, open_store
from pipelines.analysis import diagnose_run
from pipelines.cli import analyze


def put_steps(store, run="r", *, steps=600, wait=0.03, begin=0, host="h", segment="steps"):
    """Steps of one rank of 80 ms, `wait` of them for data, which the training thread loads itself."""
    number = np.arange(begin, begin + steps)
    store.append("step", records.batch("step", {
        "@timestamp": START + (number * 0.08 * NS).astype(np.int64), "event.id": [f"{run}-0-{one}" for one in number],
        "run.id": [run] * steps, "run.workload": ["w"] * steps, "rank": [0] * steps, "step": number, "host.name": [host] * steps,
        "duration_s": [0.08] * steps, "phase.data_wait_s": np.full(steps, wait), "phase.forward_s": np.full(steps, 0.08 - wait),
        "data_wait_cpu_s": np.full(steps, wait * 0.9)}), f"{segment}-{run}-{begin}")


def incidents(url):
    return open_store(url).query_incidents(IncidentFilter())


def test_the_answer_of_one_run(tmp_path):
    """A run that loads in its own process is told so, and the incident can be asked for later."""
    put_steps(open_store(str(tmp_path)))
    answer = diagnose_run(str(tmp_path), "r")

    assert answer["verdict"] == "slow"
    assert answer["incidents"][0]["causes"][0]["cause"] == "single_process_loading"
    assert [one["id"] for one in incidents(str(tmp_path))] == [answer["incidents"][0]["id"]]


def test_analysing_again_changes_nothing(tmp_path):
    """The same records give the same ids and numbers, and no second incident."""
    url = str(tmp_path)
    put_steps(open_store(url))
    first = diagnose_run(url, "r")
    kept = incidents(url)

    assert diagnose_run(url, "r") == first
    assert incidents(url) == kept


def test_runs_are_explained_apart(tmp_path):
    """A healthy run beside a slow one stays healthy; the slow one speaks for both."""
    url = str(tmp_path)
    put_steps(open_store(url), "slow")
    put_steps(open_store(url), "healthy", wait=0.001)

    assert diagnose_run(url, "healthy")["verdict"] == "healthy"
    assert diagnose_run(url)["verdict"] == "slow"
    assert {one["run"] for one in incidents(url)} == {"slow"}


def test_readings_of_a_host_reach_the_runs_that_had_ranks_there(tmp_path):
    """Metrics without a run are joined by host; those of another host are not."""
    url = str(tmp_path)
    store = open_store(url)
    put_steps(store)
    seconds = np.arange(48)
    for host, busy in (("h", 1.9), ("elsewhere", 0.1)):
        store.append("metric", records.batch("metric", {
            "@timestamp": START + seconds * NS, "event.id": [f"{host}-{one}" for one in seconds],
            "entity.kind": ["host"] * 48, "entity.id": [host] * 48, "host.name": [host] * 48,
            "metrics": [[("system.cpu.count", 2.0), ("system.cpu.busy_s", busy * one)] for one in seconds.tolist()]}), f"m-{host}")
    rejected = {one["cause"]: one["because"] for one in diagnose_run(url, "r")["incidents"][0]["rejected"]}

    assert "host_cpu_taken" not in rejected or "25 %" not in rejected["host_cpu_taken"]
    assert "process" in json.dumps(diagnose_run(url, "r")["incidents"][0]) or rejected


def run_analyze(*arguments):
    result = CliRunner().invoke(analyze, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_analyze_goes_on_at_its_watermark(tmp_path):
    """What came since is added to what was reduced before; the incident stays one."""
    url = str(tmp_path)
    store = open_store(url)
    put_steps(store, steps=6000)
    run_analyze("--store", url)
    first = incidents(url)
    mark = open_store(url).watermark("analyze")
    put_steps(store, begin=6000, steps=30_000)
    said = run_analyze("--store", url)
    second = incidents(url)

    assert [one["id"] for one in first] == [one["id"] for one in second]
    assert second[0]["end"] > first[0]["end"]
    assert second[0]["symptom"]["lost_seconds"] == pytest.approx(36_000 * 0.03, rel=0.01)
    assert open_store(url).watermark("analyze") > mark
    assert "1 incident." in said


def test_analyze_twice_is_idempotent(tmp_path):
    """The second time finds the same incidents and the same features."""
    url = str(tmp_path)
    put_steps(open_store(url), steps=6000)
    run_analyze("--store", url)
    kept = incidents(url)
    run_analyze("--store", url, "--since", "36500d")

    assert incidents(url) == kept


def test_an_empty_store_is_said_to_be_empty(tmp_path):
    """Nothing to analyse is no error."""
    assert "Nothing to analyse" in run_analyze("--store", str(tmp_path))


def test_a_corrupt_segment_is_shown_and_the_rest_analysed(tmp_path):
    """One torn file never stops the job."""
    url = str(tmp_path)
    put_steps(open_store(url))
    put_steps(open_store(url), "other", segment="torn")
    torn = next(path for path in tmp_path.rglob("torn-other-0*") if path.suffix == ".parquet")
    torn.write_bytes(torn.read_bytes()[:200])
    said = run_analyze("--store", url)

    assert "Set aside" in said
    assert {one["run"] for one in incidents(url)} == {"r"}
