"""`pinchpoint setup elasticsearch` with security: repeatable, honest beforehand, with keys that can do no more than they must."""

import json
import logging
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import StoreRefused
from pinchpoint.store import IncidentFilter
from pinchpoint.store.elastic import ElasticStore
from pinchpoint.store.es import keys, names
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door, ServerError

pytestmark = pytest.mark.service

NOW = "2026-01-01T00:00:00Z"
FOREIGN = "filebeat-test"


@pytest.fixture
def admin(secure_elasticsearch) -> Door:
    """As the user who may do everything."""
    return admin_of(secure_elasticsearch)


@pytest.fixture
def setup(secure_elasticsearch, pinchpoint, tmp_path, monkeypatch):
    """Call the command as that user, under a namespace of this test's own: `setup("--dry-run").stdout`."""
    become(monkeypatch, secure_elasticsearch, tmp_path)

    def call(*args: str, namespace: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return pinchpoint("setup", "elasticsearch", "--store", f"{secure_elasticsearch.url}?namespace={namespace}&index={FOREIGN}-*", *args,
                          **{"timeout": 100, **options})

    return call


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex[:12]


def admin_of(server) -> Door:
    return Door(server.url, Access(basic=(server.user, server.password), ca_file=str(server.ca_file)))


def become(monkeypatch, server, folder: Path) -> None:
    (folder / "password").write_text(server.password + "\n")
    monkeypatch.setenv("PINCHPOINT_ES_USERNAME", server.user)
    monkeypatch.setenv("PINCHPOINT_ES_PASSWORD_FILE", str(folder / "password"))
    monkeypatch.setenv("PINCHPOINT_ES_CA_FILE", str(server.ca_file))


def keys_of(admin: Door, namespace: str) -> set[str]:
    return {name for name in keys.installed(admin) or {} if name.endswith(f"-{namespace}")}


# The command


def test_a_dry_run_sends_nothing_and_prints_what_a_run_sends(setup, admin, namespace):
    """What it prints, sent by hand, is all that the command would have done."""
    requests = json.loads(setup("--dry-run", "--format", "json", namespace=namespace).stdout)

    assert (set(), {}) == (keys_of(admin, namespace), admin.call("GET", f"/*-{namespace}"))
    for request in requests:
        admin.call(request["method"], request["path"], request["body"])
    after = setup(namespace=namespace)
    assert (after.returncode, after.stdout) == (0, "")
    assert after.stderr.endswith("is as it should be.\n")


def test_a_dry_run_prints_requests_as_the_console_takes_them(setup, namespace):
    """Method and path in a line, the body as JSON below."""
    printed = setup("--dry-run", namespace=namespace).stdout
    requests = [part.partition("\n") for part in printed.strip().split("\n\n")]
    by_path = {head: body for head, _, body in requests}

    assert by_path[f"PUT /pinchpoint-incident-{namespace}"] == ""
    shipper = json.loads(printed[printed.index("POST /_security/api_key\n"):].split("\n", 1)[1].split("\n\n")[0])
    assert {"cluster": [], "indices": [{"names": [f"{name}-{namespace}" for name in names.ALL_STREAMS],
                                        "privileges": ["create_doc", "auto_configure"]}]} == shipper["role_descriptors"]["pinchpoint"]


def test_keys_are_shown_once_and_never_made_twice(setup, admin, namespace):
    """A second run shows and makes nothing; its output fits a terminal of 80 columns."""
    first = setup(namespace=namespace)
    second = setup(namespace=namespace)
    shown = {line.split()[0]: line.split()[1] for line in first.stdout.splitlines() if line.startswith("  ")}

    assert list(keys.ROLES) == list(shown)
    assert {keys.name_of(role, namespace) for role in keys.ROLES} == keys_of(admin, namespace)
    assert (second.stdout, second.returncode) == ("", 0)
    assert not [line for line in first.stdout.splitlines() + first.stderr.splitlines() if len(line) > 80]
    assert not any(key in first.stderr for key in shown.values())


def test_rotating_makes_new_keys_and_ends_the_former(setup, admin, namespace, secure_elasticsearch, tmp_path):
    """The new key works, the old one does not; both lie in files that only their owner can read."""
    setup("--keys", "reader", "--key-dir", str(tmp_path / "keys"), namespace=namespace)
    file = tmp_path / "keys" / f"pinchpoint-reader-{namespace}.key"
    old = file.read_text().strip()
    rotated = setup("--keys", "reader", "--rotate", "--expire", "90d", "--key-dir", str(tmp_path / "keys"), namespace=namespace)
    new = file.read_text().strip()

    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file] == list(file.parent.iterdir())
    assert not any(key in rotated.stdout + rotated.stderr for key in (old, new))
    with pytest.raises(StoreRefused, match="does not take the API key"):
        by_key(secure_elasticsearch, old).call("GET", f"/pinchpoint-incident-{namespace}/_search")
    assert by_key(secure_elasticsearch, new).call("GET", f"/pinchpoint-incident-{namespace}/_search")["hits"]["hits"] == []
    [[one]] = keys.installed(admin)[f"pinchpoint-reader-{namespace}"],
    about = admin.call("GET", "/_security/api_key", id=one.id)["api_keys"][0]
    assert about["expiration"] - about["creation"] == 90 * 86_400_000


def test_a_key_that_may_less_than_it_must_is_noticed(setup, namespace, secure_elasticsearch, pinchpoint):
    """A pattern of what others shipped that came later is said, not passed over."""
    plain = f"{secure_elasticsearch.url}?namespace={namespace}"
    pinchpoint("setup", "elasticsearch", "--store", plain, "--keys", "analysis", timeout=100)
    said = setup("--keys", "analysis", namespace=namespace)

    assert said.stdout == ""
    assert said.stderr == (f"Key pinchpoint-analysis-{namespace} may do other things than this version needs: make it anew with "
                           "--keys analysis --rotate\n")


def test_a_folder_that_cannot_be_written_costs_no_key(setup, admin, namespace, tmp_path):
    """The file is opened before the key is made."""
    (tmp_path / "taken").write_text("")
    done = setup("--keys", "reader", "--key-dir", str(tmp_path / "taken" / "below"), namespace=namespace)

    assert done.returncode == 1
    assert "Error: cannot write keys to" in done.stderr
    assert set() == keys_of(admin, namespace)


def test_a_server_without_security_needs_no_keys(elasticsearch, pinchpoint, namespace):
    """It says so, and sets up the rest."""
    store = f"{elasticsearch.url}?namespace={namespace}"
    first = pinchpoint("setup", "elasticsearch", "--store", store, "--format", "json", timeout=100)

    assert json.loads(first.stdout)["keys"] == []
    assert f"pinchpoint-incident-{namespace}" in [row["name"] for row in json.loads(first.stdout)["changes"]]
    assert first.stderr == "This server has no security: anybody who reaches it may do anything, and keys are not needed.\n"


@pytest.mark.parametrize(("args", "says"), [
    (["--store", "./lake"], "'./lake' is no Elasticsearch: name one, such as --store https://es.example:9200"),
    (["--keys", "admin"], "expected some of shipper, analysis, reader with commas between them, or none; got 'admin'"),
    (["--expire", "soon"], "expected a span such as 90s, 5m, 1h or 7d, got 'soon'"),
    (["--store", "https://elastic:secretpassword@es:9200"], "a user or password in the store URL would show in process lists and logs"),
])
def test_wrong_usage_is_said(pinchpoint, args, says):
    """In a sentence, with exit status 2, and without a secret."""
    done = pinchpoint("setup", "elasticsearch", "--store", "https://127.0.0.1:1", *args)

    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "secretpassword" not in done.stderr + done.stdout


def test_who_may_not_set_up_is_told_what_is_lacking(secure_elasticsearch, admin, pinchpoint, monkeypatch, tmp_path, namespace):
    """Before anything is written; so is an API key, which can make no keys."""
    admin.call("PUT", "/_security/role/half", {"cluster": ["manage_index_templates"]})
    admin.call("PUT", f"/_security/user/half-{namespace}", {"password": "half-password", "roles": ["half"]})
    become(monkeypatch, secure_elasticsearch, tmp_path)
    (tmp_path / "password").write_text("half-password")
    monkeypatch.setenv("PINCHPOINT_ES_USERNAME", f"half-{namespace}")
    url = f"{secure_elasticsearch.url}?namespace={namespace}"
    half = pinchpoint("setup", "elasticsearch", "--store", url)
    key = admin.call("POST", "/_security/api_key", {"name": f"test-{namespace}"})["encoded"]
    monkeypatch.setenv("PINCHPOINT_ES_API_KEY", key)
    by = pinchpoint("setup", "elasticsearch", "--store", url)
    without = pinchpoint("setup", "elasticsearch", "--store", url, "--keys", "none", timeout=100)

    assert f"user 'half-{namespace}' lacks privileges for this: manage_api_key, " in half.stderr
    assert "an API key cannot make API keys that may do anything" in by.stderr
    assert (half.returncode, by.returncode, without.returncode) == (1, 1, 0)
    assert set() == keys_of(admin, namespace)
    assert "half-password" not in half.stderr
    assert key not in by.stderr + without.stderr


# What keys can and can not do


def by_key(server, key: str) -> Door:
    return Door(server.url, Access(api_key=key, ca_file=str(server.ca_file)))


@pytest.fixture(scope="module")
def three(secure_elasticsearch, tmp_path_factory):
    """A namespace with a document in every stream and index, and a door for each role."""
    import os
    import sys

    admin, namespace, folder = admin_of(secure_elasticsearch), uuid.uuid4().hex[:12], tmp_path_factory.mktemp("keys")
    (folder / "password").write_text(secure_elasticsearch.password)
    url = f"{secure_elasticsearch.url}?namespace={namespace}&index={FOREIGN}-*"
    subprocess.run([Path(sys.executable).parent / "pinchpoint", "setup", "elasticsearch", "--store", url, "--key-dir", folder], check=True,
                   cwd=folder, env={**os.environ, "PINCHPOINT_ES_USERNAME": secure_elasticsearch.user,
                                    "PINCHPOINT_ES_PASSWORD_FILE": str(folder / "password"),
                                    "PINCHPOINT_ES_CA_FILE": str(secure_elasticsearch.ca_file)}, timeout=100)
    for name in names.ALL_STREAMS:
        bulk(admin, f"{name}-{namespace}", "create", "1")
    for name in (*(f"{name}-{namespace}" for name in names.ALL_INDICES), FOREIGN + "-1", "private-1"):
        admin.call("PUT", f"/{name}/_doc/1", {"@timestamp": NOW}, refresh="true")
    doors = {role: by_key(secure_elasticsearch, (folder / f"pinchpoint-{role}-{namespace}.key").read_text().strip()) for role in keys.ROLES}
    return doors, namespace


def bulk(door: Door, target: str, operation: str, name: str) -> int:
    """The status of the one item of a bulk."""
    lines = [{operation: {"_id": name}}] + ([{"doc": {"run.id": "x"}}] if operation == "update" else
                                            [] if operation == "delete" else [{"@timestamp": NOW}])
    answer = door.call("POST", f"/{target}/_bulk", "".join(json.dumps(line) + "\n" for line in lines).encode())
    return int(answer["items"][0][operation]["status"])


LOG, FINDING, INCIDENT, LABEL = "logs-pinchpoint.log", "pinchpoint-finding", "pinchpoint-incident", "pinchpoint-label"
BULK = ("create", "index", "update", "delete")

#: By role and target, what of a bulk it may do.
MAY_WRITE = {
    ("shipper", LOG): ["create"], ("shipper", FINDING): [], ("shipper", LABEL): [], ("shipper", "pinchpoint-segment"): [],
    ("analysis", LOG): [], ("analysis", FINDING): list(BULK), ("analysis", INCIDENT): list(BULK), ("analysis", LABEL): list(BULK),
    ("analysis", "pinchpoint-watermark"): list(BULK), ("analysis", "pinchpoint-segment"): list(BULK),
    ("reader", LOG): [], ("reader", FINDING): [], ("reader", INCIDENT): [], ("reader", LABEL): ["create", "index", "update"],
}


@pytest.mark.parametrize(("role", "target"), MAY_WRITE)
def test_a_key_writes_what_it_must_and_nothing_else(three, role, target):
    """Operation by operation: the server answers 403 to what is not the key's business, 400 where streams take no such thing."""
    doors, namespace = three
    for name in ("a", "b"):
        if bulk(doors["analysis"], f"{FINDING}-{namespace}", "index", name) >= 300:
            pytest.fail("the analysis cannot write")
    statuses = {operation: bulk(doors[role], f"{target}-{namespace}", operation, "1" if operation in ("update", "delete") else
                                f"{role}-{uuid.uuid4()}") for operation in BULK}

    assert MAY_WRITE[role, target] == [operation for operation, status in statuses.items() if status < 300 or status == 404]
    assert {status for status in statuses.values() if status >= 300} <= {400, 403, 404}


#: By role, what it may read.
MAY_READ = {
    "shipper": [],
    "analysis": [LOG, "metrics-pinchpoint.metric", FINDING, INCIDENT, LABEL, "pinchpoint-segment", FOREIGN],
    "reader": [FINDING, INCIDENT, LABEL],
}


@pytest.mark.parametrize("role", MAY_READ)
def test_a_key_reads_what_it_must_and_nothing_else(three, role):
    """Search, count, get by id and a point in time go together."""
    doors, namespace = three
    everything = [LOG, "metrics-pinchpoint.metric", FINDING, INCIDENT, LABEL, "pinchpoint-segment", FOREIGN, "private"]
    ways = (("POST", "_search", {}), ("GET", "_count", None), ("GET", "_doc/1", None), ("POST", "_pit?keep_alive=1m", None))
    may: dict[str, list[str]] = {way: [] for _, way, _ in ways}
    for name in everything:
        target = f"{name}-{'1' if name in (FOREIGN, 'private') else namespace}"
        for method, way, body in ways:
            if way != "_doc/1" or not name.startswith(("logs", "metrics")):  # streams have no get by id
                may[way] += [name] if allowed(doors[role], method, f"/{target}/{way}", body) else []

    assert {MAY_READ[role] == found for way, found in may.items() if way != "_doc/1"} == {True}
    assert may["_doc/1"] == [name for name in MAY_READ[role] if not name.startswith(("logs", "metrics"))]


#: What nobody but the user who set up may do: method, path, body.
NEVER = [
    ("DELETE", f"/{LOG}-NS", None), ("DELETE", f"/{FINDING}-NS", None), ("POST", f"/{LOG}-NS/_rollover", None),
    ("PUT", f"/{LOG}-NS/_mapping", {"properties": {"x": {"type": "long"}}}),
    ("PUT", f"/{FINDING}-NS/_settings", {"index.number_of_replicas": 0}), ("POST", f"/{FINDING}-NS/_close", None),
    ("PUT", "/pinchpoint-other-NS", None), ("PUT", "/private-1/_doc/2", {"a": 1}), ("GET", "/private-1/_search", None),
    ("PUT", f"/{FOREIGN}-1/_doc/2", {"a": 1}), ("PUT", "/logs-pinchpoint.log-other/_create/1", {"@timestamp": NOW}),
    ("PUT", f"/{LOG}-NS/_doc/1", {"@timestamp": NOW}),
    ("PUT", "/_component_template/pinchpoint@settings", {"template": {}}), ("DELETE", "/_index_template/pinchpoint.log", None),
    ("POST", "/_security/api_key", {"name": "more"}), ("GET", "/_security/api_key?name=pinchpoint-*", None),
    ("PUT", "/_security/user/mine", {"password": "long-enough", "roles": ["superuser"]}), ("GET", "/_security/user", None),
    ("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": None}}), ("PUT", "/_snapshot/mine", {"type": "fs"}),
]


@pytest.mark.parametrize("role", keys.ROLES)
def test_no_key_administers(three, role):
    """Neither indices, templates, keys, users, settings nor snapshots; nor another namespace, nor anybody else's data."""
    doors, namespace = three
    done = [f"{method} {path}" for method, path, body in NEVER if allowed(doors[role], method, path.replace("NS", namespace), body)]

    assert done == []


def allowed(door: Door, method: str, path: str, body: Any) -> bool:
    """Whether the server lets a request in, whatever becomes of it."""
    try:
        door.call(method, path, body)
    except StoreRefused as error:
        assert "may not do this" in str(error)
        return False
    except ServerError as error:
        # a list of keys of one's own needs no privilege: no names, no list of others
        return error.status not in (400, 403, 405)
    return True


def test_a_shipper_makes_the_stream_it_writes_to(three, secure_elasticsearch, setup, admin, namespace, tmp_path):
    """In a namespace that has no stream yet; a document written twice is one."""
    setup("--keys", "shipper", "--key-dir", str(tmp_path / "keys"), namespace=namespace)
    door = by_key(secure_elasticsearch, (tmp_path / "keys" / f"pinchpoint-shipper-{namespace}.key").read_text().strip())
    target = f"{LOG}-{namespace}"

    assert [bulk(door, target, "create", "1"), bulk(door, target, "create", "1")] == [201, 409]
    assert next(iter(admin.call("GET", f"/{target}"))).startswith(".ds-")


def test_the_analysis_reads_failures(three):
    """What a stream could not take is for the analysis and `doctor` to show."""
    doors, namespace = three
    line = json.dumps({"create": {}}) + "\n" + json.dumps({"@timestamp": NOW, "log.offset": "nowhere"}) + "\n"
    doors["shipper"].call("POST", f"/{LOG}-{namespace}/_bulk", line.encode())

    assert allowed(doors["analysis"], "GET", f"/{LOG}-{namespace}::failures/_search", None)
    assert not allowed(doors["reader"], "GET", f"/{LOG}-{namespace}::failures/_search", None)
    assert not allowed(doors["shipper"], "GET", f"/{LOG}-{namespace}::failures/_search", None)


def test_the_keys_are_enough_for_what_they_are_made_for(three, secure_elasticsearch):
    """A shipper ships, the analysis reads that, writes results and replaces them, a reader finds and labels the incident."""
    doors, namespace = three
    ship, analyse, read = (ElasticStore(f"{secure_elasticsearch.url}?namespace={namespace}", door=doors[role]) for role in keys.ROLES)
    incident = {"id": f"i-{namespace}", "start": NOW, "end": NOW, "run": "r", "workload": None, "hosts": ["h"], "causes": [],
                "symptom": {"name": "step_time", "lost_seconds": 1.0}}
    day = {"start": 1_800_000_000 * NS, "end": 1_800_003_600 * NS}
    ship.append("step", records.batch("step", {"@timestamp": [day["start"]], "event.id": ["e"], "run.id": ["r"]}), "s")
    ship.append("step", records.batch("step", {"@timestamp": [day["start"]], "event.id": ["e"], "run.id": ["r"]}), "s")
    seen = [row for split in analyse.splits("step", **day) for batch in analyse.read(split, ["event.id"]) for row in batch.to_pylist()]
    for value in (1.0, 2.0):
        analyse.append("feature", records.batch("feature", {"@timestamp": [day["start"]], "window_s": [value]}), "f")
    analyse.put_incident(incident)
    analyse.set_watermark("test", day["start"])
    read.label(incident["id"], "confirmed", None, 0)
    features = [row for split in analyse.splits("feature", **day) for batch in analyse.read(split, ["window_s"])
                for row in batch.to_pylist()]

    assert (seen, features, analyse.watermark("test")) == ([{"event.id": "e"}], [{"window_s": 2.0}], day["start"])
    assert [label["label"] for one in read.query_incidents(IncidentFilter(run="r")) for label in one["labels"]] == ["confirmed"]
    with pytest.raises(StoreRefused, match="may not"):
        read.put_incident(incident)
    with pytest.raises(StoreRefused, match="may not"):
        read.set_watermark("test", 0)


# Secrets


def test_a_key_appears_nowhere(secure_elasticsearch, pinchpoint, monkeypatch, tmp_path, namespace, setup, admin, caplog):
    """Not in what commands print, in their errors or tracebacks, in logs of any level, in a door's or an access's text."""
    made = json.loads(setup("--format", "json", "--keys", "reader,shipper", namespace=namespace).stdout)["keys"]
    secrets = [key["api_key"] for key in made]
    (tmp_path / "key").write_text(secrets[1])
    monkeypatch.delenv("PINCHPOINT_ES_USERNAME")
    monkeypatch.setenv("PINCHPOINT_DEBUG", "1")
    monkeypatch.setenv("PINCHPOINT_STORE", f"{secure_elasticsearch.url}?namespace={namespace}")
    printed = []
    wrong = secrets[0][:-8] + "AAAAAAA="
    for variable, value in (("API_KEY", secrets[0]), ("API_KEY_FILE", str(tmp_path / "key")), ("API_KEY", wrong)):
        monkeypatch.setenv(f"PINCHPOINT_ES_{variable}", value)
        for command in (["incidents"], ["label", "x", "y"], ["setup", "elasticsearch"]):
            done = pinchpoint(*command)
            printed.append(done.stdout + done.stderr)
        monkeypatch.delenv(f"PINCHPOINT_ES_{variable}")
    assert [text for text in printed if wrong in text] == []
    access = Access(api_key=secrets[0], basic=("u", secrets[1]), ca_file=str(secure_elasticsearch.ca_file))
    with caplog.at_level(logging.DEBUG):
        door = Door(secure_elasticsearch.url, Access(api_key=secrets[0], ca_file=str(secure_elasticsearch.ca_file)))
        door.call("GET", f"/pinchpoint-incident-{namespace}/_search")
        printed += [caplog.text, repr(door), str(access), repr(access)]

    assert "HTTP" in caplog.text or "https://" in caplog.text
    assert [text for text in printed if any(secret in text for secret in secrets)] == []
