"""Backups of Elasticsearch as snapshots: made, put back whole, refused when damaged."""

import json
import shutil
import threading
import uuid
from pathlib import Path

import pytest
from provoked import BEGIN, analyse, everything, provoke
from services_fixtures import VERSIONS
from test_backup_lake import run
from test_doctor_elastic import request

from pinchpoint import records
from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.store import open_store
from pinchpoint.store.es import names, templates
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]


def installed(server):
    """A new namespace, a way to its server, and the folder in which that may keep a repository."""
    namespace, door = f"test_{uuid.uuid4().hex[:12]}", Door(server.url, Access())
    templates.install(door, namespace, Config().retention.days)
    return f"{server.url}?namespace={namespace}", namespace, door, server.dir / "snap" / namespace


@pytest.fixture
def analysed(elasticsearch):
    """A namespace with what an analysis found."""
    url, *rest = installed(elasticsearch)
    return provoke(url), *rest


@pytest.fixture
def filled(elasticsearch):
    """A namespace with a few results."""
    url, *rest = installed(elasticsearch)
    fill(url)
    return url, *rest


def fill(url):
    """Write an incident, a label, features and a watermark."""
    store = open_store(url)
    store.put_incident({"id": "i1", "start": "2026-01-01T00:00:00Z", "end": None, "run": "r", "causes": [], "hosts": ["h"]})
    store.label("i1", "confirmed", None, BEGIN)
    store.append("feature", records.batch("feature", {"@timestamp": [BEGIN, BEGIN + 1], "event.id": ["a", "b"],
                                                      "window_s": [1.0, 2.0]}), "s")
    store.set_watermark("analyze", BEGIN)


def destroy(door, namespace):
    """Delete all results of a namespace, and a template."""
    for name in names.ALL_INDICES:
        door.call("DELETE", f"/{name}-{namespace}", expect=(404,))


@pytest.mark.parametrize("elasticsearch", VERSIONS, indirect=True)
def test_the_restore_drill(analysed, capsys):
    """What was answered before the indices were deleted is answered after, byte for byte; analysing again changes nothing."""
    url, namespace, door, folder = analysed
    before = everything(url)
    made = run(capsys, "backup", "--store", url, "--to", folder)
    destroy(door, namespace)
    dry = run(capsys, "restore", "--store", url, "--from", folder, "--dry-run")
    untouched = door.call("GET", f"/pinchpoint-*-{namespace}")
    restored = run(capsys, "restore", "--store", url, "--from", folder)
    after = everything(url)
    analyse(url)

    assert [made[0], dry[0], restored[0]] == [0, 0, 0], [made[2], dry[2], restored[2]]
    assert made[1][0]["state"] == "SUCCESS"
    assert untouched == {}
    assert {row["what"] for row in restored[1]} == {f"{name}-{namespace}" for name in names.ALL_INDICES}
    assert sum(row["documents"] for row in restored[1]) == made[1][0]["documents"] > 5
    assert '"confirmed"' in before
    assert after == before
    assert everything(url) == before
    assert templates.drift(door, namespace, Config().retention.days) == []


def test_a_fresh_server_gets_templates_and_results(filled, start_elasticsearch, capsys, tmp_path, monkeypatch):
    """With the repository alone everything is back, also what the user added to the templates, and the settings."""
    url, namespace, door, folder = filled
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pinchpoint.toml").write_text("[analysis]\nmin_slowdown = 1.5\n")
    door.call("PUT", "/_component_template/pinchpoint.label@custom", {"template": {"settings": {"index.number_of_shards": 1}}})
    before = everything(url)
    run(capsys, "backup", "--store", url, "--to", folder)
    door.call("PUT", "/_component_template/pinchpoint.label@custom", {"template": {}})
    (tmp_path / "pinchpoint.toml").unlink()
    fresh = start_elasticsearch()
    copied = fresh.dir / "snap" / "copied"
    shutil.copytree(folder, copied)
    other, url = Door(fresh.url, Access()), f"{fresh.url}?namespace={namespace}"
    status, _, said = run(capsys, "restore", "--store", url, "--from", copied)

    assert status == 0, said
    assert everything(url).replace(fresh.url, "") == before
    assert "Settings: written to" in said
    installed = other.call("GET", "/_component_template/pinchpoint.label@custom")["component_templates"][0]
    assert installed["component_template"]["template"]["settings"]["index"]["number_of_shards"] == "1"
    assert [line for line in templates.drift(other, namespace, Config().retention.days) if not line.startswith("index ")] == []


def test_other_results_are_given_up_only_when_asked(filled, capsys):
    """Indices that hold documents are not written over."""
    url, _, _, folder = filled
    before = everything(url)
    run(capsys, "backup", "--store", url, "--to", folder)
    [incident] = json.loads(before)["incidents"]
    open_store(url).label(incident["id"], "later", None, SYSTEM_CLOCK.now_ns())
    refused = run(capsys, "restore", "--store", url, "--from", folder)
    kept = everything(url)
    replaced = run(capsys, "restore", "--store", url, "--from", folder, "--replace")

    assert refused[0] == 1
    assert "or give them up: --replace" in refused[2]
    assert '"later"' in kept
    assert (replaced[0], everything(url)) == (0, before), replaced[2]


def test_listing_and_keeping(filled, capsys):
    """The oldest go; an index of its own that a backup needs is gone too."""
    url, namespace, door, folder = filled
    name = [run(capsys, "backup", "--store", url, "--to", folder)[1][0]["name"] for _ in range(2)]
    _, rows, said = run(capsys, "backup", "--store", url, "--to", folder, "--keep", "2")
    listed = run(capsys, "backup", "--store", url, "--to", folder, "--list")[1]
    repository = next(one for one in door.call("GET", "/_snapshot") if door.call("GET", f"/_snapshot/{one}")[one]["settings"].get(
        "location") == str(folder))
    by_name = run(capsys, "backup", "--store", url, "--repository", repository, "--list")[1]

    assert f"Deleted 1 older: {name[0]}." in said
    assert [row["name"] for row in listed] == [name[1], rows[0]["name"]]
    assert by_name == listed
    assert "status" in door.call("GET", f"/pinchpoint-backup-{namespace}", expect=(404,))


def damage(folder, index, how):
    """Do something to all the files of an index in a repository."""
    newest = max(folder.glob("index-*"), key=lambda path: int(path.name.partition("-")[2]))
    found = json.loads(newest.read_bytes())["indices"][index]["id"]
    for path in folder.glob(f"indices/{found}/*/__*"):
        how(path)


def flip(path):
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", [flip, Path.unlink], ids=["a flipped byte", "a missing file"])
def test_a_damaged_snapshot_is_said(filled, capsys, how):
    """A restore of which a part cannot be read fails in a sentence; an earlier one can be taken then."""
    url, namespace, _, folder = filled
    before = everything(url)
    good = run(capsys, "backup", "--store", url, "--to", folder)[1][0]["name"]
    open_store(url).label("i1", "later", None, BEGIN)
    run(capsys, "backup", "--store", url, "--to", folder)
    shutil.copytree(folder, folder.parent / f"{namespace}-whole")
    damage(folder, f"pinchpoint-feature-{namespace}", how)
    status, _, said = run(capsys, "restore", "--store", url, "--from", folder, "--replace")
    earlier = run(capsys, "restore", "--store", url, "--from", folder.parent / f"{namespace}-whole", "--replace", "--backup", good)

    assert status == 1
    assert "cannot read all of snapshot" in said
    assert (earlier[0], everything(url)) == (0, before), earlier[2]


def test_nothing_is_given_up_for_a_snapshot_that_cannot_be_read(filled, capsys):
    """What says what belongs to the backup is read first."""
    url, namespace, _, folder = filled
    run(capsys, "backup", "--store", url, "--to", folder)
    open_store(url).label("i1", "later", None, BEGIN)
    before = everything(url)
    damage(folder, f"pinchpoint-backup-{namespace}", flip)
    status, _, said = run(capsys, "restore", "--store", url, "--from", folder, "--replace")

    assert status == 1
    assert "cannot read all of snapshot" in said
    assert everything(url) == before


def test_a_backup_while_results_are_written(filled, capsys):
    """Indices that never rest are said, and restored without a promise of their number."""
    url, namespace, door, folder = filled
    done = threading.Event()
    store = open_store(url)
    [incident] = json.loads(everything(url))["incidents"]

    def write():
        number = 0
        while not done.is_set():
            number += 1
            store.label(incident["id"], f"label {number}", None, SYSTEM_CLOCK.now_ns())

    writer = threading.Thread(target=write)
    writer.start()
    made = run(capsys, "backup", "--store", url, "--to", folder)
    done.set()
    writer.join()
    destroy(door, namespace)
    restored = run(capsys, "restore", "--store", url, "--from", folder)

    assert (made[0], restored[0]) == (0, 0), [made[2], restored[2]]
    assert made[1][0]["state"] == f"SUCCESS, pinchpoint-label-{namespace} written to meanwhile"
    assert len(json.loads(everything(url))["incidents"][0]["labels"]) >= 2


def test_a_backup_of_a_server_that_is_killed(start_elasticsearch, capsys):
    """Kill -9 in mid-backup leaves no backup that restore would take; the next one is whole."""
    server = start_elasticsearch()
    door = Door(server.url, Access())
    templates.install(door, "ns", Config().retention.days)
    url = f"{server.url}?namespace=ns"
    fill(url)
    before = everything(url)
    folder = server.dir / "snap" / "backups"
    kill = threading.Timer(0.4, server.kill)
    kill.start()
    killed = run(capsys, "backup", "--store", url, "--to", folder)
    kill.join()
    server.start()
    listed = run(capsys, "backup", "--store", url, "--to", folder, "--list")
    made = run(capsys, "backup", "--store", url, "--to", folder)
    destroy(Door(server.url, Access()), "ns")
    restored = run(capsys, "restore", "--store", url, "--from", folder)

    assert killed[0] == 1 or [row["state"] for row in listed[1]] == ["SUCCESS"]
    assert "Traceback" not in killed[2]
    assert (made[0], restored[0]) == (0, 0), [made[2], restored[2]]
    assert everything(url) == before


def test_a_folder_that_the_server_may_not_use(filled, capsys, tmp_path):
    """What path.repo must say is said."""
    status, _, said = run(capsys, "backup", "--store", filled[0], "--to", tmp_path)

    assert status == 1
    assert "path.repo in elasticsearch.yml" in said


def test_records_and_unknown_repositories_are_refused(filled, capsys):
    """What is not done here is said with what to do instead."""
    url, _, _, folder = filled
    shipped = run(capsys, "backup", "--store", url, "--to", folder, "--with-records")
    unknown = run(capsys, "backup", "--store", url, "--repository", "no-such")
    empty = run(capsys, "restore", "--store", url, "--from", folder)

    assert (shipped[0], unknown[0], empty[0]) == (2, 1, 1)
    assert "leave out --with-records" in shipped[2]
    assert "has no snapshot repository 'no-such'" in unknown[2]
    assert "holds no finished backup" in empty[2]


def test_a_key_that_may_not(secure_elasticsearch, monkeypatch, capsys):
    """The privileges that are lacking are named."""
    monkeypatch.setenv("PINCHPOINT_ES_CA_FILE", str(secure_elasticsearch.ca_file))
    namespace = f"test_{uuid.uuid4().hex[:12]}"
    request(secure_elasticsearch, "PUT", f"/pinchpoint-label-{namespace}")
    folder = secure_elasticsearch.dir / "snap" / namespace
    request(secure_elasticsearch, "PUT", f"/_snapshot/{namespace}", {"type": "fs", "settings": {"location": str(folder)}})
    key = request(secure_elasticsearch, "POST", "/_security/api_key", {"name": "k", "role_descriptors": {"r": {
        "cluster": ["monitor"], "indices": [{"names": [f"pinchpoint-*-{namespace}"], "privileges": ["read", "view_index_metadata"]}]}}})
    monkeypatch.setenv("PINCHPOINT_ES_API_KEY", key["encoded"])
    url = f"{secure_elasticsearch.url}?namespace={namespace}"
    registered = run(capsys, "backup", "--store", url, "--repository", namespace)
    new = run(capsys, "backup", "--store", url, "--to", folder)
    restored = run(capsys, "restore", "--store", url, "--repository", namespace)

    assert [one[0] for one in (registered, new, restored)] == [1, 1, 1]
    for _, _, said in (registered, new, restored):
        assert "create_snapshot" in said
        assert key["encoded"] not in said
