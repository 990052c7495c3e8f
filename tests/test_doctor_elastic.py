"""`pinchpoint doctor` on real Elasticsearch servers, each fault provoked."""

import json
import socket
import ssl
import urllib.request
import uuid
from base64 import b64encode
from pathlib import Path

import pytest
from asking_doctor import ask
from services_fixtures import VERSIONS
from small_disks import make_read_only
from test_doctor_lake import healthy

from pinchpoint import cli
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.delivery import Outgoing, Sender
from pinchpoint.delivery.counters import Count, Counters, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.store import open_store
from pinchpoint.store.es import keys, templates
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.writing import delivery_files

pytestmark = pytest.mark.service


def namespace_of(store):
    return store.url.partition("namespace=")[2]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_healthy_server_is_told_in_a_few_lines(elastic_store, version, capsys):
    """Nothing to do: exit status 0, every line within 80 columns."""
    store = elastic_store(version)
    status = cli.run(cli.root, ["doctor", "--store", healthy(store.url)])
    said = capsys.readouterr()

    assert (status, said.err) == (0, "Everything is as it should be.\n")
    assert len(said.out.splitlines()) < 25
    assert [line for line in said.out.splitlines() if len(line) > 80] == []
    assert "time-series mode: off" in said.out
    assert f"Elasticsearch {version}" in said.out


#: Request that breaks something, what doctor says of it: check, state, words.
BROKEN = {
    "read-only index": (("PUT", "/pinchpoint-incident-{ns}/_settings", {"index.blocks.write": True}),
                        ("blocks", "fault", "pinchpoint-incident-{ns}: index.blocks.write")),
    "flood stage": (("PUT", "/pinchpoint-cause-{ns}/_settings", {"index.blocks.read_only_allow_delete": True}),
                    ("blocks", "fault", "the disk of a node was too full")),
    "read-only stream": (("PUT", "/traces-pinchpoint.step-{ns}/_settings", {"index.blocks.write": True}),
                         ("blocks", "fault", "traces-pinchpoint.step-{ns}: index.blocks.write")),
    "missing template": (("DELETE", "/_index_template/pinchpoint.watermark", None),
                         ("templates", "fault", "1 of pinchpoint's templates are missing")),
    "missing index": (("DELETE", "/pinchpoint-evidence-{ns}", None),
                      ("indices", "fault", "the analysis cannot write")),
    "older templates": (("PUT", "/_component_template/pinchpoint@settings",
                         {"template": {"settings": {}}, "_meta": {"pinchpoint": {"version": "0.0.0"}}}),
                        ("templates", "warning", "installed by pinchpoint 0.0.0")),
    "newer templates": (("PUT", "/_component_template/pinchpoint@settings",
                         {"template": {"settings": {}}, "_meta": {"pinchpoint": {"version": "99.0"}}}),
                        ("templates", "warning", "install pinchpoint 99.0 here too")),
    "template of another mapping": (("PUT", "/_component_template/pinchpoint.label@mappings",
                                     {"template": {"mappings": {"properties": {"label": {"type": "long"}}}}}),
                                    ("templates", "warning", "pinchpoint.label@mappings")),
    "index of another mapping": (("DELETE-AND-PUT", "/pinchpoint-label-{ns}", {"mappings": {"properties": {"label": {"type": "long"}}}}),
                                 ("streams and indices", "warning", "needs a reindex")),
    "disks filling": (("PUT", "/_cluster/settings", {"persistent": {
        "cluster.routing.allocation.disk.threshold_enabled": True, "cluster.routing.allocation.disk.watermark.low": "999tb",
        "cluster.routing.allocation.disk.watermark.high": "999tb", "cluster.routing.allocation.disk.watermark.flood_stage": "1b"}}),
        ("disks", "warning", "above the high watermark")),
}
_UNBLOCK = {f"index.blocks.{name}": None for name in ("write", "read_only_allow_delete")}


@pytest.fixture
def broken(elastic_store, request):
    """A healthy store in which one thing is broken; mended afterwards."""
    store = elastic_store()
    healthy(store.url)
    namespace = namespace_of(store)
    method, path, body = BROKEN[request.param][0]
    if method == "DELETE-AND-PUT":
        store.door.call("DELETE", path.format(ns=namespace))
        # a template that matches would bring its mapping
        store.door.call("DELETE", "/_index_template/pinchpoint.label")
        method = "PUT"
    store.door.call(method, path.format(ns=namespace), body)
    if "index of" in request.param:
        store.door.call("PUT", "/_index_template/pinchpoint.label", templates.index_templates()["pinchpoint.label"])
    yield store, request.param
    if "cluster" in path:
        store.door.call(method, path, {"persistent": dict.fromkeys(body["persistent"])})
    if "another mapping" in request.param:
        store.door.call("DELETE", f"/pinchpoint-label-{namespace}")
    store.door.call("PUT", f"/traces-pinchpoint.step-{namespace},pinchpoint-*-{namespace}/_settings", _UNBLOCK)
    templates.install(store.door, namespace, Config().retention.days)


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_what_is_wrong_with_the_server(broken, capsys):
    """Each is found, alone, with its words; the exit status is that of its state."""
    store, what = broken
    name, state, words = BROKEN[what][1]
    answer = ask(capsys, "--store", store.url)
    check = answer.of(name)

    assert words.format(ns=namespace_of(store)) in " ".join([check["says"], *check["details"], check["next_step"]])
    assert (check["state"], answer.status) == (state, int(state == "fault"))
    assert set(answer.bad()) <= {name, "templates"}


def test_what_went_into_the_failure_store(elasticsearch, capsys):
    """Counted by stream, the newest with their errors."""
    namespace, door = f"test_{uuid.uuid4().hex[:12]}", Door(elasticsearch.url, Access())
    templates.install(door, namespace, Config().retention.days)
    target = f"logs-pinchpoint.log-{namespace}"
    documents = b"".join(b'{"create":{}}\n{"@timestamp":"2026-01-01T00:00:00Z","rank":"number %d"}\n' % number for number in range(5))
    door.call("POST", f"/{target}/_bulk", documents)
    answer = ask(capsys, "--store", f"{elasticsearch.url}?namespace={namespace}")
    check = answer.of("failure store")

    assert (answer.status, check["state"]) == (1, "fault")
    assert f"5 documents sent to {target} do not fit its mapping" in check["says"]
    assert len(check["details"]) == 3
    assert "failed to parse field [rank] of type [long]" in check["details"][0]


def reject(store, number):
    """Have the server refuse documents for good, as a writer of this host meets it."""
    counts, dead = delivery_files(store.door.server, namespace_of(store))
    counters, target = Counters(SYSTEM_CLOCK), f"pinchpoint-watermark-{namespace_of(store)}"
    items = [Outgoing(str(one), b'{"@timestamp":"no time"}') for one in range(number)]
    rejected = Sender(store.door, counters, SYSTEM_CLOCK).send(target, items, "index").rejected
    DeadLetters(dead, SYSTEM_CLOCK).keep(target, rejected)
    Ledger(counts).add(counters.take())
    return counts, dead


def test_what_was_rejected_lies_in_the_dead_letter_file(elastic_store, capsys):
    """Counted and grouped by reason, with the path; handled and old it is no fault any more."""
    store = elastic_store()
    healthy(store.url)
    counts, dead = reject(store, 3)
    answer = ask(capsys, "--store", store.url)
    dead.unlink()
    ledger = json.loads(counts.read_text())
    ledger["rejected"]["last"] = "2026-01-01T00:00:00Z"
    counts.write_text(json.dumps(ledger))
    handled = ask(capsys, "--store", store.url)

    assert (answer.status, answer.bad()) == (1, {"dead letters": "fault", "deliveries: rejected": "fault"})
    assert answer.of("dead letters")["says"] == f"3 documents that the server will never take are kept in {dead}."
    assert answer.of("dead letters")["details"][0].startswith("3 × document_parsing_exception: ")
    assert answer.of("deliveries: rejected")["says"].startswith("3 documents the server will never take")
    assert (handled.status, handled.bad()) == (0, {"deliveries: rejected": "warning"})


def test_what_was_sent_again_is_a_warning(elastic_store, capsys):
    """A busy server lost nothing; every count of its own comes with its remedy and how it looked last."""
    store = elastic_store()
    healthy(store.url)
    counters = Counters(SYSTEM_CLOCK)
    counters.add("busy", 7, detail="es_rejected_execution_exception")
    Ledger(delivery_files(store.door.server, namespace_of(store))[0]).add(counters.take())
    answer = ask(capsys, "--store", store.url)
    check = answer.of("deliveries: busy")

    assert (answer.status, answer.bad()) == (0, {"deliveries: busy": "warning"})
    assert check["says"].startswith("7 bulk requests answered 429, sent again, the last ")
    assert (check["details"], check["next_step"]) == (["last: es_rejected_execution_exception"],
                                                      "the cluster takes less than is sent: add nodes or ship less")


def test_counts_that_cannot_be_read(elastic_store, capsys):
    """A damaged ledger is said, and is not taken for none."""
    store = elastic_store()
    healthy(store.url)
    counts, _ = delivery_files(store.door.server, namespace_of(store))
    counts.write_text("{")

    assert ask(capsys, "--store", store.url).bad() == {"deliveries": "warning"}


@pytest.mark.parametrize("prepare", [lambda disk: None, make_read_only], ids=["full", "read-only"])
def test_no_room_for_dead_letters(elastic_store, small_disk, monkeypatch, capsys, prepare):
    """Delivery would stop with the first rejected document."""
    store = elastic_store()
    healthy(store.url)
    disk = small_disk("1m")
    prepare(disk)
    monkeypatch.setenv("XDG_STATE_HOME", str(disk))
    answer = ask(capsys, "--store", store.url)

    assert (answer.status, answer.bad()) == (1, {"dead letters: disk": "fault"})


def test_a_clock_that_is_ahead(elastic_store, capsys):
    """The host is named."""
    store = elastic_store()
    answer = ask(capsys, "--store", healthy(store.url, ahead_s=10_000))

    assert (answer.status, set(answer.bad())) == (1, {"clock"})
    assert "3 h ahead of here: the clock of h1 is fast" in answer.checks[0]["says"]


def test_nothing_arrives_any_more(elastic_store, capsys):
    """Since when is said, and how far behind the analysis is."""
    store = elastic_store()
    healthy(store.url, ahead_s=-3 * 3600)
    open_store(store.url).set_watermark("analyze", SYSTEM_CLOCK.now_ns() - 7 * 3600 * NS)
    answer = ask(capsys, "--store", store.url)

    assert (answer.status, answer.bad()) == (0, {"arrival": "warning", "analysis": "warning"})
    assert answer.of("analysis")["says"] == "it came to 7 h ago and is 4 h behind the newest record."


def test_a_server_that_is_down(capsys):
    """One fault, and what this host knows by itself."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        Ledger(delivery_files(url, "default")[0]).add({"unanswered": Count(4, "2026-01-01T00:00:00Z")})
        answer = ask(capsys, "--store", url)

    assert (answer.status, answer.bad()) == (1, {"server": "fault"})
    assert "refused" in answer.of("server")["says"]
    assert answer.of("deliveries: unanswered")["says"].startswith("4 bulk requests without an answer")


def test_a_server_that_accepts_and_never_answers(capsys):
    """Half dead is told within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = SYSTEM_CLOCK.monotonic_s()
        answer = ask(capsys, "--store", f"http://127.0.0.1:{silent.getsockname()[1]}")

    assert (answer.status, answer.bad()) == (1, {"server": "fault"})
    assert "did not answer in time" in answer.of("server")["says"]
    assert SYSTEM_CLOCK.monotonic_s() - before < 30


@pytest.mark.parametrize(("url", "words"), [("https://user:secret@es", "would show in process lists"),
                                            ("http://es?nmespace=x", "'nmespace'")])
def test_a_url_that_cannot_be_meant(url, words, capsys):
    """A fault of the URL, never with the password."""
    answer = ask(capsys, "--store", url)

    assert answer.status == 1
    assert words in json.dumps(answer.checks)
    assert "secret" not in json.dumps(answer.checks)


def request(server, method, path, body=None):
    """A request as the user who may do everything."""
    context = ssl.create_default_context(cafile=server.ca_file)
    login = b64encode(f"{server.user}:{server.password}".encode()).decode()
    asked = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode() if body else None, method=method,
                                   headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"})
    with urllib.request.urlopen(asked, context=context, timeout=60) as answer:
        return json.load(answer)


@pytest.fixture
def secure(secure_elasticsearch, monkeypatch):
    """A namespace on the server with users; gives a function that makes us a key that may do something."""
    monkeypatch.setenv("PINCHPOINT_ES_CA_FILE", str(secure_elasticsearch.ca_file))
    namespace = f"test_{uuid.uuid4().hex[:12]}"

    def become(may):
        key = request(secure_elasticsearch, "POST", "/_security/api_key", {"name": "test-key", "role_descriptors": {"r": may(namespace)}})
        monkeypatch.setenv("PINCHPOINT_ES_API_KEY", key["encoded"])
        return f"{secure_elasticsearch.url}?namespace={namespace}"

    return become


@pytest.mark.parametrize("role", keys.ROLES)
def test_the_key_of_each_role_is_enough_for_it(secure, capsys, role):
    """What a key may do is named, and what it lacks for the rest; what it may not see is unknown, and no fault of its privileges."""
    answer = ask(capsys, "--store", secure(lambda namespace: keys.descriptor(role, namespace)))
    check = answer.of("privileges")

    assert check["state"] == "ok"
    assert check["says"].startswith("API key test-key may ")
    assert keys.ROLES[role] in check["says"]
    assert any(line.startswith("to ") and " it lacks " in line for line in check["details"])
    assert answer.of("server")["state"] == "ok"
    if role == "shipper":
        assert answer.status == 0
        assert set(answer.bad().values()) == {"unknown"}


def test_a_key_that_is_good_for_nothing(secure, capsys):
    """What is lacking is named for each use."""
    answer = ask(capsys, "--store", secure(lambda namespace: {
        "cluster": [], "indices": [{"names": [f"logs-*-{namespace}"], "privileges": ["read"]}]}))
    check = answer.of("privileges")

    assert (answer.status, check["state"]) == (1, "fault")
    assert [line.partition(" it lacks")[0] for line in check["details"]] == [f"to {use}" for use in keys.ROLES.values()]
    assert any("create_doc on logs-pinchpoint.event-" in line for line in check["details"])


def test_a_key_that_nobody_knows(secure_elasticsearch, monkeypatch, capsys, tmp_path):
    """A wrong key is the one fault, and does not show."""
    monkeypatch.setenv("PINCHPOINT_ES_CA_FILE", str(secure_elasticsearch.ca_file))
    (tmp_path / "key").write_text(b64encode(b"abcdefgh:ijklmnopqrst").decode())
    monkeypatch.setenv("PINCHPOINT_ES_API_KEY_FILE", str(tmp_path / "key"))
    answer = ask(capsys, "--store", secure_elasticsearch.url)

    assert (answer.status, answer.bad()) == (1, {"server": "fault"})
    assert "does not take the API key that was given" in answer.of("server")["says"]
    assert Path(tmp_path / "key").read_text() not in json.dumps(answer.checks)


def test_a_certificate_that_nobody_vouches_for(secure_elasticsearch, capsys):
    """The authority is what is missing."""
    answer = ask(capsys, "--store", secure_elasticsearch.url)

    assert (answer.status, answer.bad()) == (1, {"server": "fault"})
    assert "PINCHPOINT_ES_CA_FILE" in answer.of("server")["next_step"]
