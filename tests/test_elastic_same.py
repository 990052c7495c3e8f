"""Identical records give identical answers, whatever store they are in."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from runs import START
from services_fixtures import VERSIONS
from test_jobs import put_steps

from models.cli import explain, incidents, label
from pinchpoint import fields, records
from pinchpoint.clock import NS
from pinchpoint.store import IncidentFilter, Store, open_store
from pipelines.cli import analyze

pytestmark = pytest.mark.service


def fill(store: Store) -> None:
    """Two slow runs and a healthy one, with readings of hosts and an event."""
    put_steps(store, "slow", steps=3000, host="h1")
    put_steps(store, "healthy", steps=3000, wait=0.001, host="h2")
    put_steps(store, "later", steps=3000, wait=0.02, host="h2", begin=500)
    for host, busy in (("h1", 1.9), ("h2", 0.4)):
        store.append("metric", records.batch("metric", {
            "@timestamp": [START + second * NS for second in range(240)], "event.id": [f"{host}-{second}" for second in range(240)],
            "entity.kind": ["host"] * 240, "entity.id": [host] * 240, "host.name": [host] * 240,
            "metrics": [[("system.cpu.count", 2.0), ("system.cpu.busy_s", busy * second), ("system.load.1m", 1.5)]
                        for second in range(240)]}), f"m-{host}")
    store.append("event", records.batch("event", {
        "@timestamp": [START + 5 * NS], "event.id": ["d"], "event.action": ["deploy"], "labels": [[("version", "1.4")]]}), "e")


def run(command, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def answers(url: str) -> dict[str, str]:
    """What a person is told, as text, by the question."""
    found = json.loads(run(incidents, "--store", url, "--format", "json"))
    questions = [(), ("--category", "data"), ("--category", "process"), ("--cause", "D04"), ("--host", "h1"), ("--host", "h2"),
                 ("--run", "later"), ("--since", "2026-01-01T00:02:00Z"), ("--until", "2026-01-01T00:00:30Z"), ("--limit", "1")]
    said = {" ".join(question): run(incidents, "--store", url, "--format", "json", *question) for question in questions}
    said |= {f"as {form}": run(incidents, "--store", url, "--format", form) for form in ("table", "csv")}
    said |= {f"explain {one['id']}": run(explain, "--store", url, one["id"]) for one in found}
    return said


@pytest.mark.parametrize("version", VERSIONS)
def test_elasticsearch_answers_as_the_lake_does(tmp_path: Path, elastic_store, version: str):
    """The same ids, order and numbers, byte for byte, in every list, filter and explanation; labels too."""
    urls = [str(tmp_path / "lake"), elastic_store(version).url]
    for url in urls:
        fill(open_store(url))
        run(analyze, "--store", url)
    lake, elastic = (answers(url) for url in urls)

    assert len(json.loads(lake[""])) >= 2
    assert elastic == lake
    one = json.loads(lake[""])[0]["id"]
    for url in urls:
        run(label, "--store", url, one[:6], "confirmed", "--note", "the loader runs in the training process")
    kept = [open_store(url).query_incidents(IncidentFilter()) for url in urls]
    for found in kept:
        for incident in found:
            for text in incident["labels"]:
                text.pop("at")  # when each was given
    assert kept[0] == kept[1]
    assert [incident["id"] for incident in kept[1] if incident["labels"]] == [one]


def test_analysing_again_changes_nothing(elastic_store):
    """The second time finds the same incidents, features and causes, and moves nothing."""
    store = elastic_store()
    fill(store)
    run(analyze, "--store", store.url)

    def everything() -> dict[str, list[dict[str, object]]]:
        return {kind: sorted((row for split in store.splits(kind) for batch in store.read(split) for row in batch.to_pylist()), key=str)
                for kind in fields.DERIVED} | {"incidents": store.query_incidents(IncidentFilter())}

    before = everything()
    run(analyze, "--store", store.url, "--since", "36500d")

    assert before["feature"]
    assert before["cause"]
    assert everything() == before
