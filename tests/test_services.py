"""The servers that tests talk to are real: they answer, refuse, keep and store."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pyarrow.fs as pafs
import pytest
import services_fixtures
from elastic_transport import TlsError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch, UnsupportedProductError
from services import servers
from services_fixtures import VERSIONS

service = pytest.mark.service


@service
@pytest.mark.parametrize("elasticsearch", VERSIONS, indirect=True)
def test_the_plain_server_answers(elasticsearch):
    """It says its version, and stores and finds a document."""
    client = Elasticsearch(elasticsearch.url)
    index = f"test-{uuid.uuid4()}"
    client.index(index=index, document={"word": "pinch"}, refresh=True)

    assert client.info()["version"]["number"] == elasticsearch.version
    assert [hit["_source"] for hit in client.search(index=index)["hits"]["hits"]] == [{"word": "pinch"}]


@service
def test_the_secure_server_knows_its_user(secure_elasticsearch):
    """The right password over TLS is let in, and makes an API key."""
    client = Elasticsearch(secure_elasticsearch.url, ca_certs=str(secure_elasticsearch.ca_file),
                           basic_auth=(secure_elasticsearch.user, secure_elasticsearch.password))
    key = client.security.create_api_key(name="test")["encoded"]
    by_key = Elasticsearch(secure_elasticsearch.url, ca_certs=str(secure_elasticsearch.ca_file), api_key=key)

    assert by_key.security.authenticate()["authentication_type"] == "api_key"


@service
def test_the_secure_server_refuses_a_wrong_password(secure_elasticsearch):
    """Security is really on."""
    client = Elasticsearch(secure_elasticsearch.url, ca_certs=str(secure_elasticsearch.ca_file),
                           basic_auth=(secure_elasticsearch.user, "wrong"))

    with pytest.raises(AuthenticationException):
        client.info()


@service
def test_the_secure_server_is_refused_with_a_wrong_authority(secure_elasticsearch, tmp_path):
    """Its certificate is signed by its own authority alone."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=another", "-keyout", tmp_path / "key",
                    "-out", tmp_path / "ca.crt"], check=True, capture_output=True)
    client = Elasticsearch(secure_elasticsearch.url, ca_certs=str(tmp_path / "ca.crt"), max_retries=0,
                           basic_auth=(secure_elasticsearch.user, secure_elasticsearch.password))

    with pytest.raises(TlsError):
        client.info()


@service
def test_what_was_acknowledged_survives_a_kill(start_elasticsearch):
    """After kill -9 and a start on the same directory every acknowledged document is there, at the same address."""
    server = start_elasticsearch()
    client = Elasticsearch(server.url)
    lines = [line for number in range(500) for line in ({"create": {"_id": str(number)}}, {"number": number})]
    answer = client.bulk(index="kept", operations=lines)
    assert not answer["errors"]
    url = server.url
    server.kill()
    assert not server.answers()
    server.start()

    assert server.url == url
    client.indices.refresh(index="kept")
    assert client.count(index="kept")["count"] == 500


@service
def test_a_server_takes_settings(start_elasticsearch):
    """A body over the size limit set for this server is answered with 413."""
    server = start_elasticsearch(**{"http.max_content_length": "1kb"})

    with pytest.raises(ApiError) as refused:
        Elasticsearch(server.url).index(index="large", document={"text": "x" * 2000})
    assert refused.value.status_code == 413


@service
def test_a_server_that_does_not_start_leaves_nothing_behind(start_elasticsearch, tmp_path):
    """A setting that does not exist is named in the error, and no process stays."""
    with pytest.raises(servers.StartFailed, match=r"no\.such\.setting"):
        start_elasticsearch(**{"no.such.setting": 1})

    assert _processes(str(tmp_path)) == []


def _processes(part):
    """Command lines with this part in them, of all processes."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if part in line]


@service
def test_a_start_that_is_broken_off_leaves_nothing_behind(tmp_path, elasticsearch):
    """Whoever ends the script ends the server that it was starting."""
    script = subprocess.Popen([servers.SCRIPTS / "es-start.sh", "9.2.0", tmp_path / "es", "0"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "es" / "pid").exists():  # the server writes it before it takes requests
        assert time.monotonic() < deadline
        time.sleep(0.02)
    script.terminate()
    script.wait(timeout=30)

    while _processes(str(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@service
def test_object_storage_keeps_an_object(s3_bucket, monkeypatch):
    """A file is written and read with what the environment says, and a wrong secret is refused."""
    storage, bucket = pafs.FileSystem.from_uri(s3_bucket)
    with storage.open_output_stream(f"{bucket}/folder/file") as stream:
        stream.write(b"kept")

    with storage.open_input_stream(f"{bucket}/folder/file") as stream:
        assert stream.read() == b"kept"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        pafs.FileSystem.from_uri(s3_bucket)[0].get_file_info(f"{bucket}/folder/file")


@service
def test_toxiproxy_stands_between(toxiproxy, s3):
    """Requests go through it until it is told to be down."""
    name = str(uuid.uuid4())
    proxy = _post(f"{toxiproxy.url}/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": s3.url.removeprefix("http://")})
    through = servers.S3Server(s3.dir, url=f"http://{proxy['listen']}")
    assert through.answers()
    _post(f"{toxiproxy.url}/proxies/{name}", {"enabled": False})

    assert not through.answers()


def _post(url, content):
    # its API refuses requests that look like a browser's
    request = urllib.request.Request(url, json.dumps(content).encode(), {"User-Agent": "test"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@service
@pytest.mark.parametrize(("elasticsearch", "works"), [("9.2.0", True), ("8.19.5", False)], indirect=["elasticsearch"])
def test_the_second_client_is_of_major_9(elasticsearch, client9_path, works):
    """It talks to servers of its own major, and servers of major 8 refuse it."""
    code = "import elasticsearch, sys; print(elasticsearch.VERSION[0], elasticsearch.Elasticsearch(sys.argv[1]).ping())"
    said = subprocess.run([sys.executable, "-c", code, elasticsearch.url], env={"PYTHONPATH": str(client9_path)}, capture_output=True,
                          text=True, check=True, timeout=60)

    assert said.stdout.split() == ["9", str(works)]


def test_the_stand_in_for_opensearch_is_told_from_elasticsearch(opensearch_like):
    """The client refuses what does not call itself Elasticsearch."""
    with pytest.raises(UnsupportedProductError):
        Elasticsearch(opensearch_like.url).info()
    with urllib.request.urlopen(opensearch_like.url) as answer:
        assert json.load(answer)["version"]["distribution"] == "opensearch"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{opensearch_like.url}/_security/role")


def test_what_a_machine_lacks_is_said(tmp_path, monkeypatch):
    """Without Go and without a program built before, the script names what is missing."""
    monkeypatch.setenv("CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    with pytest.raises(servers.Unavailable, match=r"^Go \(go\) is not on PATH$"):
        servers.S3Server(tmp_path / "s3").start()


@pytest.mark.parametrize(("required", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)])
def test_a_server_that_cannot_be_had_skips_or_fails(monkeypatch, required, outcome):
    """Both say the reason; which of them is for the environment to decide."""
    monkeypatch.setattr(services_fixtures, "REQUIRED", required)

    with pytest.raises(outcome, match="no JDK"):
        services_fixtures.unavailable("Elasticsearch", "no JDK")
