"""`pinchpoint setup kibana` brings the objects into a space, says what became of each, and each refusal in one sentence."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kibana_like import KibanaLike

from pinchpoint.errors import UsageError
from pinchpoint.kibana.importing import Place, saved_objects

OBJECTS = len(saved_objects().splitlines())


@pytest.fixture
def serve() -> Iterator[Any]:
    """Start servers, and end them with the test."""
    servers: list[KibanaLike] = []

    def start(**options: Any) -> KibanaLike:
        servers.append(KibanaLike(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def changes(done) -> dict[str, int]:
    """How often each change was reported."""
    found: dict[str, int] = {}
    for row in json.loads(done.stdout):
        found[row["change"]] = found.get(row["change"], 0) + 1
    return found


def test_everything_is_created_then_updated(pinchpoint, serve):
    """The first call creates all objects, the second replaces them, and nothing is there twice."""
    server = serve()
    first = pinchpoint("setup", "kibana", "--url", server.url, "--format", "json")
    second = pinchpoint("setup", "kibana", "--url", server.url, "--format", "json")

    assert (first.returncode, changes(first)) == (0, {"created": OBJECTS})
    assert (second.returncode, changes(second)) == (0, {"updated": OBJECTS})
    assert len(server.kept) == OBJECTS
    assert "[pinchpoint] Incidents" in first.stderr


def test_objects_arrive_as_they_were_built(pinchpoint, serve):
    """What the server reads of the form is what was committed."""
    server = serve()
    pinchpoint("setup", "kibana", "--url", server.url)

    assert [json.loads(line) for line in saved_objects().splitlines()] == list(server.kept.values())


def test_a_space_below_a_base_path(pinchpoint, serve):
    """Base path and space stand in each path, in this order."""
    server = serve(base="/kibana", spaces=("default", "ml"))
    done = pinchpoint("setup", "kibana", "--url", f"{server.url}/", "--space", "ml")

    assert done.returncode == 0
    assert {space for space, _, _ in server.kept} == {"ml"}
    assert all(path.startswith("/kibana/s/ml/api/") for _, path in server.asked)


def test_a_dry_run_sends_nothing_that_writes(pinchpoint, serve):
    """It lists the objects, says what is there, and imports none."""
    server = serve()
    done = pinchpoint("setup", "kibana", "--url", server.url, "--dry-run", "--format", "json")

    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == OBJECTS
    assert "is Kibana 9.2.0 and has 0 of them" in done.stderr
    assert server.kept == {}


def test_the_address_may_stand_in_the_environment(pinchpoint, serve, monkeypatch):
    """Without --url the variable counts."""
    monkeypatch.setenv("PINCHPOINT_KIBANA_URL", serve().url)

    assert pinchpoint("setup", "kibana", "--dry-run").returncode == 0


@pytest.mark.parametrize("how", ["key", "password", "elasticsearch"])
def test_secrets_come_from_files_and_show_nowhere(pinchpoint, serve, monkeypatch, tmp_path, how):
    """A key or a password is read from a file, else what is set for Elasticsearch counts."""
    (tmp_path / "secret").write_text("tops3cret\n")
    server = serve(user=("ann", "tops3cret"), key="tops3cret")
    if how == "key":
        monkeypatch.setenv("PINCHPOINT_KIBANA_API_KEY_FILE", str(tmp_path / "secret"))
    else:
        prefix = "PINCHPOINT_KIBANA_" if how == "password" else "PINCHPOINT_ES_"
        monkeypatch.setenv(f"{prefix}USERNAME", "ann")
        monkeypatch.setenv(f"{prefix}PASSWORD_FILE", str(tmp_path / "secret"))
    done = pinchpoint("setup", "kibana", "--url", server.url)

    assert done.returncode == 0, done.stderr
    assert "tops3cret" not in done.stdout + done.stderr


def test_wrong_password(pinchpoint, serve):
    """401 is a sentence with the next step."""
    done = pinchpoint("setup", "kibana", "--url", serve(key="k").url)

    assert done.returncode == 1
    assert "Kibana does not know who asks (401). Set PINCHPOINT_KIBANA_API_KEY_FILE" in done.stderr


def test_a_missing_privilege(pinchpoint, serve):
    """403 names the privileges that are needed."""
    server = serve()
    server.forbidden = True
    done = pinchpoint("setup", "kibana", "--url", server.url)

    assert done.returncode == 1
    assert "may not do this in space default (403: Unable to bulk_create" in done.stderr
    assert "Saved Objects Management" in done.stderr


@pytest.mark.parametrize("version", ["8.16.4", "7.17.0", "8.9.0"])
def test_an_older_kibana(pinchpoint, serve, version):
    """It is told before anything is sent."""
    server = serve(version=version)
    done = pinchpoint("setup", "kibana", "--url", server.url)

    assert done.returncode == 1
    assert f"is Kibana {version}: the dashboards need 8.17 or later" in done.stderr
    assert server.kept == {}


@pytest.mark.parametrize("version", ["8.17.0", "9.5.0-SNAPSHOT", "10.0.0"])
def test_kibanas_that_are_new_enough(pinchpoint, serve, version):
    """Versions are compared as numbers."""
    assert pinchpoint("setup", "kibana", "--url", serve(version=version).url).returncode == 0


def test_a_space_that_is_not_there(pinchpoint, serve):
    """404 asks for base path and space."""
    done = pinchpoint("setup", "kibana", "--url", serve().url, "--space", "nowhere")

    assert done.returncode == 1
    assert "is there a space nowhere?" in done.stderr


@pytest.mark.parametrize(("error", "said"), [
    ({"type": "conflict"}, "tag pinchpoint-tag: another object has its id in another space"),
    ({"type": "ambiguous_conflict", "destinations": []}, "tag pinchpoint-tag: there are several copies of it"),
    ({"type": "missing_references", "references": [{"type": "index-pattern", "id": "x"}]}, "it needs index-pattern x"),
    ({"type": "unsupported_type"}, "does not know its kind"),
    ({"type": "unknown", "message": "too large", "statusCode": 400}, "tag pinchpoint-tag: too large"),
])
def test_an_object_that_is_refused(pinchpoint, serve, error, said):
    """The others are imported, the reason is told, and the exit status is 1."""
    server = serve()
    server.errors["pinchpoint-tag"] = error
    done = pinchpoint("setup", "kibana", "--url", server.url, "--format", "json")

    assert done.returncode == 1
    assert changes(done) == {"created": OBJECTS - 1, "failed": 1}
    assert said in done.stderr


def test_a_server_that_is_something_else(pinchpoint, opensearch_like):
    """Elasticsearch's address in the place of Kibana's is told apart."""
    done = pinchpoint("setup", "kibana", "--url", opensearch_like.url)

    assert done.returncode == 1
    assert "Kibana" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_listens(pinchpoint):
    """A refused connection is a sentence."""
    done = pinchpoint("setup", "kibana", "--url", "http://127.0.0.1:9")

    assert done.returncode == 1
    assert "cannot reach Kibana at http://127.0.0.1:9 (Connection refused)" in done.stderr


@pytest.mark.parametrize("url", ["kibana:5601", "http://", "http://ann:pw@kibana:5601", "http://kibana:5601/?x=1", "http://kibana:nine"])
def test_addresses_that_are_none(pinchpoint, url):
    """Wrong usage exits with 2, and a password in an address is refused without being shown."""
    done = pinchpoint("setup", "kibana", "--url", url)

    assert done.returncode == 2
    assert "ann:pw" not in done.stderr


def test_no_address(pinchpoint):
    """Without any address the next step is told."""
    done = pinchpoint("setup", "kibana")

    assert done.returncode == 2
    assert "--url https://kibana.example:5601" in done.stderr


def test_a_space_cannot_lead_elsewhere():
    """The name of a space is no path."""
    with pytest.raises(UsageError, match="lower-case letters"):
        Place.parse("http://kibana", "../api")


def test_an_authority_that_is_named_is_trusted(pinchpoint, serve, certificates, monkeypatch):
    """Over TLS the certificate is checked against the file."""
    server = serve(certificate=(certificates / "chain.crt", certificates / "server.key"))
    monkeypatch.setenv("PINCHPOINT_KIBANA_CA_FILE", str(certificates / "ca.crt"))

    assert pinchpoint("setup", "kibana", "--url", server.url).returncode == 0


def test_an_authority_that_nobody_named_is_refused(pinchpoint, serve, certificates):
    """The next step is to name it; nothing is sent before."""
    server = serve(certificate=(certificates / "chain.crt", certificates / "server.key"))
    done = pinchpoint("setup", "kibana", "--url", server.url)

    assert done.returncode == 1
    assert "is not trusted" in done.stderr
    assert "PINCHPOINT_KIBANA_CA_FILE=ca.crt" in done.stderr
    assert server.asked == []


def test_tls_where_there_is_none(pinchpoint, serve):
    """https:// for a server of plain HTTP is told apart."""
    done = pinchpoint("setup", "kibana", "--url", serve().url.replace("http://", "https://"))

    assert done.returncode == 1
    assert "does not speak TLS" in done.stderr
