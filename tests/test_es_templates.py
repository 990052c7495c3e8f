"""Templates and code say the same, and real servers take every field of every kind as the templates say."""

import http.server
import json
import threading
import uuid
from typing import Any

import pytest
from services_fixtures import VERSIONS

from pinchpoint import fields
from pinchpoint.config import Config
from pinchpoint.metrics import METRICS
from pinchpoint.store.es import existing, mappings, names, templates
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door

DAYS = Config().retention.days
ABLE = templates.Abilities(time_series=True, failure_store=True)
NOW = "2026-01-01T00:00:00.123456789Z"

#: What fits a type of `fields.Type`; written down a second time on purpose.
FITTING = {"time": {"date_nanos"}, "text": {"keyword", "match_only_text"}, "integer": {"long"}, "number": {"double"},
           "numbers": {"object"}, "texts": {"flattened"}, "slow_steps": {"object"}, "document": {"keyword"}}
VALUES: dict[str, Any] = {"time": NOW, "text": "some text", "integer": 9_007_199_254_740_993, "number": 0.1,
                          "numbers": {"system.cpu.count": 4, "a.name.nobody.knows": 2.5, "a.name": 1},
                          "texts": {"a": "x", "a.b": "y", "": "z"},
                          "slow_steps": [{"step": 1, "duration_s": 0.5, "phase": None}, {"step": 2}], "document": "x" * 100_000}

server = pytest.mark.service
both = pytest.mark.parametrize("elasticsearch", VERSIONS, indirect=True)


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
def door(elasticsearch) -> Door:
    """To a server without security."""
    return Door(elasticsearch.url, Access())


@pytest.fixture
def installed(elasticsearch, door) -> str:
    """A namespace that is installed and shared by tests: making its indices takes seconds on a busy machine."""
    namespace = _INSTALLED.setdefault(elasticsearch.url, uuid.uuid4().hex[:12])
    templates.install(door, namespace, DAYS)
    return namespace


_INSTALLED: dict[str, str] = {}


def document(kind: str) -> dict[str, Any]:
    """A document with every field of a kind and every word of our bookkeeping."""
    made = {name: VALUES[fields.FIELDS[name].type] for name in fields.KINDS[kind]}
    for name, mapping in mappings.of_kind(kind)["properties"].items():
        if name not in made:
            made[name] = {"keyword": ["a", "b"], "long": -1, "date_nanos": NOW}[mapping["type"]]
    if kind == "metric":
        made["pinchpoint.metric_names"] = "hash"  # a dimension has one value
    return made


def write(door: Door, target: str, *documents: dict[str, Any], ids: bool = True) -> list[dict[str, Any]]:
    """Write documents by one bulk; returns the items of its answer."""
    lines = []
    for one in documents:
        lines += [json.dumps({"create": {"_id": uuid.uuid4().hex} if ids else {}}), json.dumps(one)]
    stream = {} if target.startswith("pinchpoint-") else {"require_data_stream": "true"}
    answer = door.call("POST", f"/{target}/_bulk", ("\n".join(lines) + "\n").encode(), refresh="true", **stream)
    return [item["create"] for item in answer["items"]]


def hits(door: Door, target: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    return door.call("POST", f"/{target}/_search", {"query": query, "size": 100})["hits"]["hits"]


# Mapping and code


@pytest.mark.parametrize("kind", fields.KINDS)
def test_every_field_of_a_kind_has_a_mapping_of_the_fitting_type(kind):
    """A field that is added to the table of fields is indexed as what it is."""
    properties = mappings.of_kind(kind)["properties"]
    unfit = {name: properties.get(name) for name in fields.KINDS[kind]
             if name not in properties or properties[name]["type"] not in FITTING[fields.FIELDS[name].type]}

    assert unfit == {}


def test_every_known_metric_is_mapped_with_its_unit_and_kind():
    """Charts know that a counter is one."""
    found = mappings.of_kind("metric")["properties"]["metrics"]["properties"]

    assert found == {name: {"type": "double", "time_series_metric": metric.kind, "meta": {"unit": metric.unit}}
                     for name, metric in METRICS.items()}


def test_every_stream_and_index_has_a_template_of_its_own():
    """No two match one name, and none is forgotten."""
    patterns = {pattern: name for name, body in templates.index_templates().items() for pattern in body["index_patterns"]}

    assert set(patterns) == {f"{name}-*" for name in (*names.ALL_STREAMS, *names.ALL_INDICES)}
    assert set(templates.component_templates(DAYS, ABLE)) == {"pinchpoint@settings", *(f"{name}@mappings" for name in patterns.values())}


def test_a_stream_keeps_what_it_holds_for_as_long_as_the_settings_say():
    """Each kind has its own days."""
    components = templates.component_templates({**DAYS, "log": 7.0, "metric": 0.5}, ABLE)
    kept = {name: body["template"]["lifecycle"]["data_retention"] for name, body in components.items() if "lifecycle" in body["template"]}

    assert kept == {"pinchpoint.step@mappings": "30d", "pinchpoint.metric@mappings": "12h", "pinchpoint.log@mappings": "7d",
                    "pinchpoint.span@mappings": "30d", "pinchpoint.event@mappings": "30d", "pinchpoint.metric_late@mappings": "12h"}


def test_a_server_without_failure_stores_is_not_asked_for_one():
    """Older servers refuse templates that name what they do not know."""
    components = templates.component_templates(DAYS, templates.Abilities(time_series=False, failure_store=False))

    assert not [name for name, body in components.items() if "data_stream_options" in body["template"]]
    assert {"standard"} == {body["template"]["settings"]["index.mode"] for body in components.values() if "lifecycle" in body["template"]}


# On servers


@server
@both
@pytest.mark.parametrize("kind", fields.KINDS)
def test_the_server_takes_every_field_as_the_template_says(door, namespace, kind):
    """In an index that refuses what its mapping does not know, a document with every field is stored; nothing of it is ignored."""
    mapping = mappings.of_kind(kind)
    index = f"pinchpoint_strict-{namespace}-{kind}"
    door.call("PUT", f"/{index}", {"mappings": {**mapping, "dynamic": "strict"}})
    answer = door.call("PUT", f"/{index}/_doc/1", document(kind), refresh="true")
    whole = [{"exists": {"field": name}} for name, of in mapping["properties"].items()
             if of.get("enabled", True) and of.get("index", True) and of["type"] != "object"]
    whole += [{"exists": {"field": f"{name}.{key}"}} for name, of in mapping["properties"].items() if "subobjects" in of
              for key in VALUES["numbers"]]

    assert answer["result"] == "created"
    assert [document(kind)] == [hit["_source"] for hit in hits(door, index, {"bool": {"filter": whole}})]
    assert hits(door, index, {"exists": {"field": "_ignored"}}) == []
    door.call("DELETE", f"/{index}")


@server
@both
def test_streams_and_indices_take_whole_documents_and_give_them_back_as_they_were(door, installed):
    """Through the templates, with nothing in a failure store: names, order of keys, numbers and nanoseconds are those written."""
    for kind in fields.KINDS:
        target = names.stream(kind, installed)
        [item] = write(door, target, document(kind))

        assert (item["status"], item.get("failure_store") == "used") == (201, False), kind
        [hit] = hits(door, target, {"term": {"_id": item["_id"]}})
        assert list(document(kind).items()) == list(hit["_source"].items())
        assert "_ignored" not in hit


@server
@both
def test_what_is_installed_needs_nothing_more(door, installed):
    """Installing twice changes nothing, also when streams have been written to."""
    for kind in fields.SHIPPED:
        write(door, names.stream(kind, installed), document(kind))

    assert templates.drift(door, installed, DAYS) == []
    assert templates.install(door, installed, DAYS) == []


@server
@both
def test_planning_writes_nothing(door, namespace):
    """A dry run leaves a namespace without indices."""
    planned = templates.plan(door, namespace, DAYS)

    assert {f"{name}-{namespace}" for name in names.ALL_INDICES} <= {step.name for step in planned}
    assert door.call("GET", f"/*-{namespace}") == {}


@server
@both
@pytest.mark.parametrize(("path", "tamper"), [
    ("_component_template/pinchpoint.step@mappings", lambda body: body["template"]["mappings"]["properties"].pop("rank")),
    ("_component_template/pinchpoint.step@mappings", lambda body: body["template"]["mappings"]["properties"].update(x={"type": "long"})),
    ("_component_template/pinchpoint.log@mappings", lambda body: body["template"]["lifecycle"].update(data_retention="1d")),
    ("_component_template/pinchpoint@settings", lambda body: body["template"]["settings"].update({"index.number_of_replicas": "3"})),
    ("_index_template/pinchpoint.log", lambda body: body.update(priority=201)),
    ("_index_template/pinchpoint.incident", lambda body: body["composed_of"].reverse()),
], ids=["field gone", "field added", "retention", "setting", "priority", "order"])
def test_a_template_of_another_content_is_noticed_and_put_right(door, installed, path, tamper):
    """Whatever was changed, `drift` names the template, and installing brings it back."""
    wanted = {**templates.component_templates(DAYS, templates.abilities(door)), **templates.index_templates()}
    body = json.loads(json.dumps(wanted[path.partition("/")[2]]))
    tamper(body)
    door.call("PUT", f"/{path}", body)

    assert [f"{path.partition('/')[0][1:].replace('_', ' ')} {path.partition('/')[2]}: update"] == templates.drift(door, installed, DAYS)
    templates.install(door, installed, DAYS)
    assert templates.drift(door, installed, DAYS) == []


@server
@both
def test_other_retention_is_a_difference(door, installed):
    """Days that are changed in the settings reach the server with the next setup."""
    assert templates.drift(door, installed, {**DAYS, "log": 3.0}) == ["component template pinchpoint.log@mappings: update"]


@server
@both
def test_streams_and_indices_of_an_earlier_version_get_new_fields(door, namespace):
    """A field that the mapping lacks is added; the next document is found by it."""
    older(door, "step", lambda properties: properties.pop("rank"))
    older(door, "metric", lambda properties: properties["metrics"]["properties"].pop("system.cpu.count"))
    older(door, "finding", lambda properties: properties.pop("score"))
    door.call("PUT", f"/pinchpoint-finding-{namespace}")
    write(door, f"traces-pinchpoint.step-{namespace}", {"@timestamp": NOW})
    write(door, f"metrics-pinchpoint.metric-{namespace}", {"@timestamp": NOW, "run.id": "r"})
    said = [str(step) for step in templates.install(door, namespace, DAYS)]
    write(door, f"traces-pinchpoint.step-{namespace}", {"@timestamp": NOW, "rank": 7})
    write(door, f"metrics-pinchpoint.metric-{namespace}", {"@timestamp": NOW, "metrics": {"system.cpu.count": 4}})

    assert {f"stream traces-pinchpoint.step-{namespace}: add rank", f"stream metrics-pinchpoint.metric-{namespace}: add "
            "metrics.system.cpu.count", f"index pinchpoint-finding-{namespace}: add score"} <= set(said)
    assert len(hits(door, f"traces-pinchpoint.step-{namespace}", {"term": {"rank": 7}})) == 1
    assert len(hits(door, f"metrics-pinchpoint.metric-{namespace}", {"term": {"metrics.system.cpu.count": 4}})) == 1
    assert templates.drift(door, namespace, DAYS) == []


@server
@both
def test_a_changed_type_needs_a_rollover_and_is_well_after_it(door, namespace):
    """What cannot be changed in place is said with the request that changes it."""
    older(door, "step", lambda properties: properties.update(rank={"type": "keyword"}))
    older(door, "finding", lambda properties: properties.update(score={"type": "keyword"}))
    door.call("PUT", f"/pinchpoint-finding-{namespace}")
    write(door, f"traces-pinchpoint.step-{namespace}", {"@timestamp": NOW, "rank": 7})
    templates.install(door, namespace, DAYS)
    said = templates.drift(door, namespace, DAYS)
    door.call("POST", f"/traces-pinchpoint.step-{namespace}/_rollover")

    assert said == [f"stream traces-pinchpoint.step-{namespace}: needs a rollover, rank changed its type: "
                    f"POST /traces-pinchpoint.step-{namespace}/_rollover",
                    f"index pinchpoint-finding-{namespace}: needs a reindex, score changed its type"]
    assert said[1:] == templates.drift(door, namespace, DAYS)


@server
@both
def test_a_plain_index_in_the_place_of_a_stream_is_noticed(door, namespace):
    """Who wrote before there were templates made an index, silently."""
    other = {"index_patterns": [f"logs-pinchpoint.event-{namespace}"], "priority": 300}
    door.call("PUT", f"/_index_template/{namespace}", other)
    door.call("PUT", f"/logs-pinchpoint.event-{namespace}/_doc/1", {"@timestamp": NOW})
    door.call("DELETE", f"/_index_template/{namespace}")
    said = templates.drift(door, namespace, DAYS)

    assert [line for line in said if line.startswith("stream")] == [
        f"stream logs-pinchpoint.event-{namespace}: is a plain index, written before there was a template: "
        "reindex what you need of it, then delete it"]


@server
@both
def test_documents_that_do_not_fit_are_kept_in_the_failure_store(door, installed):
    """They are not lost, and the answer says where they went."""
    stream = f"traces-pinchpoint.step-{installed}"
    [item] = write(door, stream, {"@timestamp": NOW, "rank": "no number"})
    door.call("POST", f"/{stream}::failures/_refresh")

    assert (item["status"], item["failure_store"]) == (201, "used")
    assert [hit["_source"]["document"]["source"]["rank"] for hit in hits(door, f"{stream}::failures", {"match_all": {}})] == ["no number"]


@server
@both
def test_what_the_users_own_templates_map_is_left_alone(door, installed, namespace):
    """`pinchpoint.<kind>@custom` comes last and is no drift."""
    custom = {"template": {"settings": {"index.number_of_shards": 2}, "mappings": {"properties": {"status": {"type": "text"}}}}}
    door.call("PUT", "/_component_template/pinchpoint.span@custom", custom)
    try:
        write(door, f"traces-pinchpoint.span-{namespace}", {"@timestamp": NOW, "status": "ok"})

        assert [line for line in templates.drift(door, namespace, DAYS) if not line.startswith("index ")] == []
        [index] = door.call("GET", f"/traces-pinchpoint.span-{namespace}", flat_settings="true").values()
        assert (index["settings"]["index.number_of_shards"], index["mappings"]["properties"]["status"]["type"]) == ("2", "text")
    finally:
        # a template in use cannot be deleted: empty is as good
        door.call("PUT", "/_component_template/pinchpoint.span@custom", {"template": {}})


@server
@pytest.mark.parametrize("version", VERSIONS)
def test_readings_are_kept_apart_in_time_series_mode(start_elasticsearch, namespace, version):
    """Two that differ in a dimension or in a nanosecond are two, the same twice is one, and they come back as they were written."""
    door = Door(start_elasticsearch(version=version).url, Access())
    assert templates.abilities(door) == templates.Abilities(time_series=False, failure_store=True)
    templates.install(door, "before", DAYS)
    write(door, "metrics-pinchpoint.metric-before", {"@timestamp": NOW, "run.id": "r"})
    # a full server fills in the times of each index by itself
    routing = templates.component_templates(DAYS, ABLE)["pinchpoint.metric@mappings"]["template"]["settings"]["index.routing_path"]
    door.call("PUT", "/_component_template/pinchpoint.metric@custom", {"template": {"settings": {
        "index.mode": "time_series", "index.routing_path": routing,
        "index.time_series.start_time": "2020-01-01T00:00:00Z", "index.time_series.end_time": "2100-01-01T00:00:00Z"}}})
    assert templates.abilities(door) == templates.Abilities(time_series=True, failure_store=True)
    said = [str(step) for step in templates.install(door, "before", DAYS)]
    assert [line for line in said if line.startswith("stream")] == [
        "stream metrics-pinchpoint.metric-before: needs a rollover into time-series mode: POST /metrics-pinchpoint.metric-before/_rollover"]
    door.call("POST", "/metrics-pinchpoint.metric-before/_rollover")
    assert templates.drift(door, "before", DAYS) == []

    stream = f"metrics-pinchpoint.metric-{namespace}"
    whole = document("metric")
    others = [{**whole, name: 3 if isinstance(whole[name], int) else "another"} for name in mappings.DIMENSIONS]
    absent = [{name: value for name, value in whole.items() if name != left_out} for left_out in mappings.DIMENSIONS]
    alone = [{"@timestamp": NOW, name: "x", "metrics": {"a": 1}} for name in mappings.DIMENSIONS if name not in ("rank", "process.pid")]
    later = {**whole, "@timestamp": NOW.replace("789Z", "790Z")}
    statuses = [item["status"] for item in write(door, stream, whole, *others, *absent, *alone, later, whole, ids=False)]

    assert [*[201] * (2 + len(others) + len(absent) + len(alone)), 409] == statuses
    same = [{"term": {name: whole[name]}} for name in mappings.DIMENSIONS]
    [hit] = hits(door, stream, {"bool": {"filter": [*same, {"term": {"@timestamp": NOW}}]}})
    assert list(whole.items()) == list(hit["_source"].items())
    assert write(door, stream, whole)[0]["status"] == 400  # ids are the server's there


# The endpoints that the servers of the tests lack


class _DataStreams(http.server.BaseHTTPRequestHandler):
    """One stream as the reference of Elasticsearch shows the answer of `GET _data_stream`."""

    def do_GET(self) -> None:
        about: Any = {".ds-logs-pinchpoint.log-n-2026.01.01-000001": {
            "mappings": mappings.of_kind("log"), "settings": {"index.mode": "standard"}, "data_stream": "logs-pinchpoint.log-n"}}
        if self.path.startswith("/_data_stream"):
            about = {"data_streams": [{"name": "logs-pinchpoint.log-n", "lifecycle": {"enabled": True, "data_retention": "7d"},
                                       "failure_store": {"enabled": False, "indices": []}}]}
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_streams_that_exist_get_another_retention_and_a_failure_store():
    """Templates give them to new streams only; the requests are those of the reference."""
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _DataStreams)
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    components = templates.component_templates(DAYS, ABLE)
    wanted = {name: components[templates.mappings_of(name)]["template"] for name in (*names.ALL_STREAMS, *names.ALL_INDICES)}
    try:
        steps = existing.steps_of(Door(f"http://127.0.0.1:{listener.server_port}", Access()), "n", wanted, {})
        sent = [(step.method, step.path, step.body) for step in steps if step.what == "stream"]
    finally:
        listener.shutdown()
        listener.server_close()

    assert sent == [("PUT", "/_data_stream/logs-pinchpoint.log-n/_lifecycle", {"data_retention": "30d"}),
                    ("PUT", "/_data_stream/logs-pinchpoint.log-n/_options", {"failure_store": {"enabled": True}})]


def older(door: Door, kind: str, change: Any) -> None:
    """Install the templates as another version had them."""
    able = templates.abilities(door)
    components = {**templates.component_templates(DAYS, able)}
    body = json.loads(json.dumps(components[f"pinchpoint.{kind}@mappings"]))
    change(body["template"]["mappings"]["properties"])
    for name, component in {**components, f"pinchpoint.{kind}@mappings": body}.items():
        if name in ("pinchpoint@settings", f"pinchpoint.{kind}@mappings"):
            door.call("PUT", f"/_component_template/{name}", component)
    door.call("PUT", f"/_index_template/pinchpoint.{kind}", templates.index_templates()[f"pinchpoint.{kind}"])
