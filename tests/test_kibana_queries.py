"""Every panel of every dashboard, asked of a real server that holds a slow run, tells what was planted."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grafana_queries
import lens_queries
import pytest
from elastic_stores import empty, store_at
from services_fixtures import Pool
from slow_fleet import Slow, provoke
from vega_pages import draw, filled

from kibana.boards import BOARDS, ids
from kibana.build import OBJECTS, ROOT
from pinchpoint.clock import format_time
from pinchpoint.store.es.door import Door

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

OBJECTS_BY_ID = {one["id"]: one for one in map(json.loads, (ROOT / OBJECTS).read_text("utf-8").splitlines())}
DASHBOARDS = [board.id for board in BOARDS]
Rows = list[dict[str, Any]]


class Asked:
    """The dashboards, asked of one server."""

    def __init__(self, slow: Slow, door: Door) -> None:
        self.slow, self.door = slow, door
        start, end = slow.span
        self.span = {"range": {"@timestamp": {"gte": format_time(start), "lte": format_time(end)}}}
        self.titles = {name: self.index(one["attributes"]["title"]) for name, one in OBJECTS_BY_ID.items()
                       if one["type"] == "index-pattern"}

    def index(self, title: str) -> str:
        """An index pattern narrowed to this test's namespace: the server is shared."""
        return ",".join(f"{part.removesuffix('-*')}-{self.slow.namespace}" for part in title.split(","))

    def search(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.door.call("POST", f"/{index}/_search", body, ignore_unavailable="true")

    def panel(self, board: str, key: str) -> list[Rows]:
        """The rows of each layer of a panel."""
        dashboard = OBJECTS_BY_ID[board]
        references = {one["name"]: one["id"] for one in dashboard["references"]}
        panel = next(one for one in panels(board) if one["panelIndex"] == key)
        # a dashboard of one incident is always filtered by it
        span = {"bool": {"filter": [self.span, {"term": {"incident.id": self.slow.incident}}]}} if board == ids.INCIDENT else self.span
        return [lens_queries.shown(panel, lens_queries.rows(request, self.search(request.index, request.body)), request)
                for request in lens_queries.requests(panel, self.titles, references, span)]


@pytest.fixture(scope="module", params=["9.2.0", "8.19.5"])
def asked(service_pool: Pool, request: pytest.FixtureRequest) -> Iterator[Asked]:
    """A server that holds the slow run."""
    store = store_at(service_pool.get(f"elasticsearch-{request.param}"))
    empty(store)
    yield Asked(provoke(store.url), store.door)
    empty(store)


def panels(board: str) -> list[dict[str, Any]]:
    return json.loads(OBJECTS_BY_ID[board]["attributes"]["panelsJSON"])


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(board, one["panelIndex"], id=f"{board.removeprefix('pinchpoint-board-')}-{one['panelIndex']}")
            for board in DASHBOARDS for one in panels(board) if one["type"] == kind]


@pytest.mark.parametrize(("board", "key"), of_kind("lens"))
def test_every_panel_has_an_answer(asked: Asked, board: str, key: str) -> None:
    """Each layer of a panel has rows, and each of its columns a value in one of them."""
    for rows in asked.panel(board, key):
        assert rows
        assert [name for name in rows[0] if all(row[name] is None for row in rows)] == []


@pytest.mark.parametrize("board", DASHBOARDS)
def test_every_control_lists_something(asked: Asked, board: str) -> None:
    """A control has values to choose from."""
    group = json.loads(OBJECTS_BY_ID[board]["attributes"]["controlGroupInput"]["panelsJSON"])
    for control in group.values():
        about = control["explicitInput"]
        answer = asked.search(asked.titles[about["dataViewId"]], {
            "size": 0, "query": asked.span, "aggs": {"values": {"terms": {"field": about["fieldName"], "size": 10}}}})

        assert answer["aggregations"]["values"]["buckets"], about["title"]


@pytest.mark.parametrize("name", [name for name, one in OBJECTS_BY_ID.items() if one["type"] == "search"])
def test_every_saved_search_finds_something(asked: Asked, name: str) -> None:
    """A saved search has hits, and each of its columns is in one of them."""
    one = OBJECTS_BY_ID[name]
    source = json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    answer = asked.search(asked.titles[one["references"][0]["id"]], {
        "size": 100, "query": {"bool": {"filter": [asked.span, lens_queries.query(source["query"]["query"])]}}})
    found = {field for hit in answer["hits"]["hits"] for field in hit["_source"]}

    assert [column for column in one["attributes"]["columns"] if column not in found] == []


def test_incidents_are_marked_in_charts(asked: Asked) -> None:
    """The layer of annotations finds the incident, with what its mark says."""
    marked = {"bool": {"filter": [asked.span, lens_queries.query("incident.id: *")]}}
    answer = asked.search(asked.titles["pinchpoint-incidents"], {"query": marked})

    assert asked.slow.incident in [hit["_source"]["incident.id"] for hit in answer["hits"]["hits"]]
    assert {"cause.name", "incident.summary"} <= set(answer["hits"]["hits"][0]["_source"])


def test_most_time_is_lost_to_the_planted_category(asked: Asked) -> None:
    """A GPU that gets hot is infrastructure."""
    [rows] = asked.panel(ids.INCIDENTS, "by-category")

    assert rows[0]["Category"] == "infrastructure"


def test_the_planted_cause_leads_the_causes(asked: Asked) -> None:
    """The table of causes begins with the one that was planted, and says what it costs."""
    [rows] = asked.panel(ids.INCIDENTS, "causes")

    assert rows[0]["Cause"] == "gpu_thermal_throttle"
    assert rows[0]["Lost GPU-hours"] == pytest.approx(rows[0]["Lost time"] * 4 / 3600)


def test_the_incident_can_be_opened_from_the_list(asked: Asked) -> None:
    """Its row carries the id that the drilldown hands on, and a link to its log lines."""
    [rows] = asked.panel(ids.INCIDENTS, "table")
    row = next(row for row in rows if row["Incident"] == asked.slow.incident)

    assert row["Category"] == "infrastructure"
    assert row["Raw logs"].startswith("discover#/?_g=(time:(from:'2025-12-31T23:")
    assert "index:'pinchpoint-logs'" in row["Raw logs"]


def test_the_planted_straggler_tops_the_stragglers(asked: Asked) -> None:
    """The rank on the hot GPU is the last to arrive."""
    [rows] = asked.panel(ids.PIPELINE, "stragglers")

    assert rows[0]["Rank"] == asked.slow.rank


def test_the_hot_gpu_tops_the_gpus(asked: Asked) -> None:
    """The table of GPUs begins with the one that the hardware slowed down, and that GPU has a run on it."""
    [gpus] = asked.panel(ids.GPU, "gpus-table")
    [runs] = asked.panel(ids.GPU, "runs")

    assert gpus[0]["GPU"] == asked.slow.gpu
    assert gpus[0]["Slowed by hardware"] > 0
    assert next(row for row in runs if row["GPU"] == asked.slow.gpu)["Rank"] == asked.slow.rank


def test_throttled_gpus_are_counted(asked: Asked) -> None:
    """Only the planted GPU was slowed by heat."""
    assert asked.panel(ids.GPU, "throttled") == [[{"Throttled": 1}]]


def test_the_slow_rank_is_seen_in_its_own_time(asked: Asked) -> None:
    """The heat map shows the planted rank above the others."""
    [rows] = asked.panel(ids.PIPELINE, "rank-time")
    most = {rank: max(row["Own time"] or 0 for row in rows if row["Rank"] == rank) for rank in {row["Rank"] for row in rows}}

    assert max(most, key=lambda rank: most[rank]) == asked.slow.rank


def test_one_incident_says_what_to_do(asked: Asked) -> None:
    """The verdict has the sentence, the fix and the links; the label that a person gave is shown."""
    [[verdict]] = asked.panel(ids.INCIDENT, "verdict")
    [[label]] = asked.panel(ids.INCIDENT, "labels")

    assert verdict["Incident"] == asked.slow.incident
    assert verdict["What to do"]
    assert (label["Label"], label["Note"]) == ("confirmed", "the fan was blocked")


def test_agents_that_reject_are_seen(asked: Asked) -> None:
    """Numbers of the collector board are those that the agent counted."""
    assert asked.panel(ids.COLLECTOR, "rejected") == [[{"Rejected": 1}]]
    assert asked.panel(ids.COLLECTOR, "down") == [[{"Outputs down": 1}]]


def vega_requests(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for data in spec["data"]:
        if isinstance(data.get("url"), dict):
            yield data["name"], data


@pytest.mark.parametrize(("board", "key"), of_kind("visualization"))
def test_every_drawing_has_data(asked: Asked, board: str, key: str, tmp_path: Path) -> None:
    """Each request of a Vega specification has an answer where the specification looks for it, and Chromium draws it without a word."""
    panel = next(one for one in panels(board) if one["panelIndex"] == key)
    spec = json.loads(panel["embeddableConfig"]["savedVis"]["params"]["spec"])
    answers = {}
    for name, data in vega_requests(spec):
        filters = [asked.span, *([{"term": {"incident.id": asked.slow.incident}}] if board == ids.INCIDENT else [])]
        answer = asked.search(asked.index(data["url"]["index"]), {**data["url"]["body"], "query": {"bool": {"filter": filters}}})
        found: Any = answer
        for part in data["format"]["property"].split("."):
            found = found[part]

        assert found, name
        answers[name] = answer
    if shutil.which("chromium") and shutil.which("npm"):
        drawn = draw(filled(spec, answers), "5", tmp_path)

        assert drawn.said == ""
        assert drawn.texts


GRAFANA = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "kibana" / "grafana").glob("*.json"))}
_MS = 1_000_000


def grafana_values(asked: Asked, board: str, panel: dict[str, Any], chosen: dict[str, str]) -> list[list[Any]]:
    """What each query of a panel of Grafana gives; variables that are not chosen are All."""
    variables = {one["name"]: chosen.get(one["name"]) or one.get("allValue") or "nothing"
                 for one in GRAFANA[board]["templating"]["list"] if one["type"] == "query"}
    found = []
    for target in panel["targets"]:
        query = grafana_queries.interpolated(target["query"], variables)
        start, end = asked.slow.span
        body = grafana_queries.body(target, query, start // _MS, end // _MS)
        # the data source is set up for all of pinchpoint's indices
        answer = asked.search(f"*-pinchpoint.*-{asked.slow.namespace},pinchpoint-*-{asked.slow.namespace}", body)
        found.append(grafana_queries.values(answer, target))
    return found


@pytest.mark.parametrize(("board", "panel"), [
    pytest.param(board, panel, id=f"{board}-{panel['id']}") for board, about in GRAFANA.items() for panel in about["panels"]])
def test_every_panel_of_grafana_has_an_answer(asked: Asked, board: str, panel: dict[str, Any]) -> None:
    """Each query gives numbers or documents, with All chosen, and on the board of one incident that one."""
    chosen = {"incident": f'"{asked.slow.incident}"'} if board == "incident" else {}

    assert all(grafana_values(asked, board, panel, chosen)), panel["title"]


def test_a_choice_in_grafana_narrows(asked: Asked) -> None:
    """With one run chosen the other is gone, and with a run that is not there everything is."""
    panel = next(one for one in GRAFANA["incidents"]["panels"] if one["title"] == "Runs affected")

    assert grafana_values(asked, "incidents", panel, {}) == [[2]]
    assert grafana_values(asked, "incidents", panel, {"run": f'("{asked.slow.run}")'}) == [[1]]
    assert grafana_values(asked, "incidents", panel, {"run": '("nobody")'}) == [[]]
