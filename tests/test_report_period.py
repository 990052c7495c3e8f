"""What slowdowns cost in a stretch of time: sums that add up, the same from every store."""

import json

import pytest
from click.testing import CliRunner
from report_data import put, wide

from models.report.cli import report
from models.report.period import gather
from models.report.period_page import period_page
from pinchpoint.clock import NS, parse_time
from pinchpoint.store.lake import LakeStore
from pinchpoint.store.memory import MemoryStore
from pipelines.analysis import diagnose_run

DAY = 86_400 * NS


def around(incident):
    start = parse_time(incident["start"])
    return start - 2 * DAY, start + DAY


def again(store, incident, number):
    """The same thing some hours later, as another run."""
    store.put_incident(incident | {"id": f"{number:012x}", "run": f"again-{number}", "start": f"2026-01-01T0{number}:00:00Z",
                                   "end": f"2026-01-01T0{number}:10:00Z"})


def test_lost_seconds_count_for_every_rank():
    """Sixteen ranks that wait a second lose sixteen; causes, categories and days add up to the whole."""
    store = MemoryStore()
    incidents = put(store, wide(16))
    found = gather(store, *around(incidents[0]))
    whole = sum(one["symptom"]["lost_seconds"] for one in incidents) * 16 / 3600

    assert found.lost_gpu_hours == pytest.approx(whole, rel=1e-4)
    for rows in (found.causes, found.categories, found.hosts, found.workloads):
        assert sum(row["lost_gpu_hours"] for row in rows) == pytest.approx(whole, rel=0.02)
    assert [row["rank"] for row in found.ranks] == ["rank 3"]
    assert found.runs == {"slow": 1, "healthy": 0, "not_enough_data": 0}


def test_what_comes_back_is_named():
    """The same cause on the same host in a second run is a repeat."""
    store = MemoryStore()
    incident = put(store, wide(4))[0]
    again(store, incident | {"hosts": ["h"]}, 3)
    again(store, incident | {"hosts": ["h"]}, 5)
    found = gather(store, *around(incident))

    assert [(row["where"], row["incidents"]) for row in found.repeated] == [("host h", 3)]


def test_what_lies_outside_does_not_count():
    """Incidents that ended before or began after the time asked for are left out."""
    store = MemoryStore()
    incident = put(store, wide(4))[0]
    start = parse_time(incident["start"])

    assert gather(store, start - 9 * DAY, start - 8 * DAY).incidents == []
    assert gather(store, start + 8 * DAY, start + 9 * DAY).incidents == []


def test_lake_and_memory_say_the_same(tmp_path):
    """The sums do not depend on the store."""
    stores = MemoryStore(), LakeStore(str(tmp_path))
    incidents = [put(store, wide(8))[0] for store in stores]
    incident = incidents[0]
    documents = [gather(store, *around(incident)).document() for store in stores]

    assert documents[0] == documents[1]


def test_healthy_runs_are_counted(tmp_path):
    """A run that was analysed and found healthy, and one of too few steps, are told apart."""
    from test_jobs import put_steps

    store = LakeStore(str(tmp_path))
    put_steps(store, "healthy", wait=0.001)
    put_steps(store, "short", steps=2)
    diagnose_run(str(tmp_path))
    start = parse_time("2026-01-01T00:00:00Z")

    assert gather(store, start - DAY, start + DAY).runs == {"slow": 0, "healthy": 1, "not_enough_data": 1}


def test_the_command_prints_table_json_csv_and_a_page(tmp_path):
    """The same sums in every form."""
    lake = str(tmp_path / "lake")
    put(LakeStore(lake), wide(4))
    given = ["--store", lake, "--since", "2025-12-30T00:00:00Z", "--until", "2026-01-02T00:00:00Z"]

    def said(*more):
        result = CliRunner().invoke(report, [*given, *more], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "slow_gpu" in said()
    assert json.loads(said("--format", "json"))["causes"][0]["cause"] == "slow_gpu"
    assert said("--format", "csv").splitlines()[0] == "cause,category,incidents,runs,lost_gpu_hours,saves_gpu_hours"
    said("--html", str(tmp_path / "page.html"))
    assert "GPU-hours lost in 1 incident" in (tmp_path / "page.html").read_text("utf-8")


def test_a_time_without_incidents_has_a_page():
    """Nothing found is an answer too."""
    assert "no slowdown was found" in period_page(gather(MemoryStore(), 0, DAY), "A day")
