"""Every way in which Elasticsearch can not be reached or not be used is one sentence that says what to fix."""

import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from services.servers import ElasticsearchServer

from pinchpoint.delivery import NoAnswer
from pinchpoint.errors import StoreError, StoreRefused, StoreUnreachable, UsageError
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.es.door import Door, ServerError

service = pytest.mark.service
BULK = b'{"create":{}}\n{"@timestamp":"2026-01-01T00:00:00Z"}\n'


def said(kind: type[StoreError], server: str, access: Access, ask: Callable[[Door], Any] = lambda door: door.call("GET", "/")) -> str:
    """What the error of a request says."""
    with pytest.raises(kind) as caught:
        ask(Door(server, access))
    assert type(caught.value) is kind
    return str(caught.value)


def access_to(server: ElasticsearchServer, **change: Any) -> Access:
    return Access(**{"basic": (server.user, server.password), "ca_file": str(server.ca_file), **change})


def fingerprint(certificate: Path | str) -> str:
    """SHA-256 of the first certificate of a file."""
    pem = Path(certificate).read_text().partition(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index(ssl.PEM_HEADER):])).hexdigest()


def certificate(folder: Path, subject: str, *args: str) -> Path:
    """A certificate that signed itself, with its key beside it."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={subject}", "-keyout",
                    folder / "key", "-out", folder / "crt", *args], check=True, capture_output=True)
    return folder / "crt"


# Who we are


@service
def test_a_wrong_password(secure_elasticsearch):
    text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, basic=("elastic", "wrong-password")))

    assert text == (f"{secure_elasticsearch.url} does not know the user 'elastic' or the password is wrong: correct PINCHPOINT_ES_USERNAME "
                    "and PINCHPOINT_ES_PASSWORD_FILE")


@service
@pytest.mark.parametrize("key", ["nonsense", "VFV3WEg2SUJZLU05bk5va0xuTEQ6UXg4NkZDMDdZanVLWDhLcS00SVF6Zw=="])
def test_a_wrong_key(secure_elasticsearch, key):
    text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, basic=None, api_key=key))

    assert text.startswith(f"{secure_elasticsearch.url} does not take the API key that was given: it is wrong, has expired or was ended.")
    assert key not in text


@service
def test_no_password_at_all(secure_elasticsearch):
    text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, basic=None))

    assert text.startswith(f"{secure_elasticsearch.url} wants to know who asks: set PINCHPOINT_ES_API_KEY_FILE")


@service
def test_an_expired_key(secure_elasticsearch):
    """Also in the middle of writing: the sender gets the status and stops."""
    admin = Door(secure_elasticsearch.url, access_to(secure_elasticsearch))
    made = admin.call("POST", "/_security/api_key", {"name": f"test-{uuid.uuid4()}", "expiration": "1ms"})
    door = Door(secure_elasticsearch.url, access_to(secure_elasticsearch, basic=None, api_key=made["encoded"]))

    with pytest.raises(StoreRefused, match="has expired"):
        door.call("GET", "/")
    assert door.post_bulk("logs-x-y", BULK).status == 401


@service
def test_a_missing_privilege(secure_elasticsearch):
    admin = Door(secure_elasticsearch.url, access_to(secure_elasticsearch))
    made = admin.call("POST", "/_security/api_key", {"name": f"test-{uuid.uuid4()}", "role_descriptors": {
        "none": {"cluster": [], "indices": [{"names": ["x"], "privileges": ["read"]}]}}})
    text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, basic=None, api_key=made["encoded"]),
                lambda door: door.call("PUT", "/_component_template/x", {"template": {}}))

    assert text.startswith(f"the user or API key may not do this at {secure_elasticsearch.url}: action [cluster:admin/component_template")
    assert text.endswith("Make a key that may: pinchpoint setup elasticsearch")


# Whom we trust


@service
def test_the_right_authority_by_file_and_by_fingerprint(secure_elasticsearch):
    """By file, by fingerprint of what the server shows, by fingerprint of one in the file, and by that of the server itself."""
    ca = fingerprint(str(secure_elasticsearch.ca_file))
    own = fingerprint(secure_elasticsearch.dir / "conf" / "http.crt")
    for change in ({}, {"ca_file": None, "ca_fingerprint": ca}, {"ca_fingerprint": ca}, {"ca_file": None, "ca_fingerprint": own}):
        assert Door(secure_elasticsearch.url, access_to(secure_elasticsearch, **change)).version == (9, 2, 0)


@service
def test_an_untrusted_certificate(secure_elasticsearch, tmp_path):
    """Without an authority, and with another: also bulks stop at once, since trying again does not help."""
    other = certificate(tmp_path / "other", "another")
    for change in ({"ca_file": None}, {"ca_file": str(other)}):
        for ask in (lambda door: door.call("GET", "/"), lambda door: door.post_bulk("logs-x-y", BULK)):
            text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, **change), ask)

            assert text == (f"the certificate of {secure_elasticsearch.url} is not trusted: self-signed certificate in certificate chain. "
                            "Name the authority that signed it: PINCHPOINT_ES_CA_FILE=ca.crt or PINCHPOINT_ES_CA_FINGERPRINT")


@service
def test_a_wrong_fingerprint(secure_elasticsearch):
    text = said(StoreRefused, secure_elasticsearch.url, access_to(secure_elasticsearch, ca_file=None, ca_fingerprint="00" * 32))

    assert text.startswith(f"no certificate of {secure_elasticsearch.url} has the fingerprint that is to be trusted; their SHA-256 "
                           f"fingerprints are {fingerprint(secure_elasticsearch.dir / 'conf' / 'http.crt')}, ")
    assert "Correct PINCHPOINT_ES_CA_FINGERPRINT" in text


@service
@pytest.mark.parametrize("by", ["file", "fingerprint"])
def test_a_certificate_for_another_name(secure_elasticsearch, by):
    """The name is checked with a fingerprint too. 127.1 is another name of 127.0.0.1 that no certificate has."""
    server = secure_elasticsearch.url.replace("127.0.0.1", "127.1")
    trusted = {} if by == "file" else {"ca_file": None, "ca_fingerprint": fingerprint(str(secure_elasticsearch.ca_file))}
    text = said(StoreRefused, server, access_to(secure_elasticsearch, **trusted))

    assert text == (f"the certificate of {server} is not trusted: Hostname mismatch, certificate is not valid for '127.1'. Use a name in "
                    "the store URL that the certificate is made out for")


def test_a_fingerprint_is_not_satisfied_by_a_certificate_that_only_lies_beside(tmp_path):
    """A server that shows the real authority, but is signed by a forged one of the same name, gets no password."""
    real = certificate(tmp_path / "real", "the authority", "-addext", "keyUsage=critical,keyCertSign")
    forged = certificate(tmp_path / "forged", "the authority", "-addext", "keyUsage=critical,keyCertSign")
    (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=none\n")
    subprocess.run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", tmp_path / "key", "-out",
                    tmp_path / "csr"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", tmp_path / "csr", "-CA", forged, "-CAkey", forged.parent / "key", "-CAcreateserial",
                    "-days", "2", "-extfile", tmp_path / "ext", "-out", tmp_path / "crt"], check=True, capture_output=True)
    (tmp_path / "chain").write_bytes((tmp_path / "crt").read_bytes() + real.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    with listening(_Other, context) as (port, seen):
        text = said(StoreRefused, f"https://127.0.0.1:{port}", Access(basic=("u", "p"), ca_fingerprint=fingerprint(real)))

    assert "is not trusted: certificate signature failure" in text
    assert seen == []


def test_what_is_no_certificate_is_said_before_anything_is_sent(tmp_path):
    (tmp_path / "ca.crt").write_text("-----BEGIN NONSENSE-----")
    text = said(StoreRefused, "https://127.0.0.1:1", Access(ca_file=str(tmp_path / "ca.crt")))

    assert text.startswith(f"{tmp_path / 'ca.crt'} is no file of certificates in PEM")


@pytest.mark.parametrize("given", ["zz" * 32, "00" * 31, "sha256"])
def test_what_is_no_fingerprint(given):
    from pinchpoint.config import Elasticsearch

    with pytest.raises(UsageError, match=f"'{given}' is no SHA-256 fingerprint of a certificate: expected 64 hexadecimal digits"):
        Access.read(Elasticsearch(), {"PINCHPOINT_ES_CA_FINGERPRINT": given})


def test_a_fingerprint_is_taken_as_openssl_prints_it():
    from pinchpoint.config import Elasticsearch

    assert Access.read(Elasticsearch(ca_fingerprint=":".join(["AB"] * 32)), {}).ca_fingerprint == "ab" * 32


@pytest.mark.parametrize("change", [{"ca_file": "ca.crt"}, {"ca_fingerprint": "00" * 32}])
def test_an_authority_for_plain_http(change):
    """Who configured TLS does not want to go without it."""
    text = said(StoreRefused, "http://127.0.0.1:9200", Access(**change))

    assert text.startswith("http://127.0.0.1:9200 is plain HTTP, and an authority for TLS is configured: use https://")


# What answers


@service
def test_http_where_tls_is_spoken(secure_elasticsearch):
    server = secure_elasticsearch.url.replace("https", "http")
    text = said(StoreUnreachable, server, access_to(secure_elasticsearch, ca_file=None))

    assert text == (f"{server} ended the connection without an answer. If it speaks TLS, use {secure_elasticsearch.url}; if this is the "
                    "transport port, use the HTTP port, 9200 by default")


@service
@pytest.mark.parametrize("trusted", [{}, {"ca_fingerprint": "00" * 32}])
def test_https_where_no_tls_is_spoken(elasticsearch, trusted):
    server = elasticsearch.url.replace("http", "https")

    assert said(StoreRefused, server, Access(**trusted)) == f"{server} speaks no TLS: use {elasticsearch.url}"


@service
def test_the_transport_port(elasticsearch):
    """Found in what the server says of itself."""
    nodes = Door(elasticsearch.url, Access()).call("GET", "/_nodes/transport")["nodes"]
    server = "http://" + next(iter(nodes.values()))["transport"]["publish_address"]

    assert "if this is the transport port, use the HTTP port, 9200 by default" in said(StoreUnreachable, server, Access())


def test_a_closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        text = said(StoreUnreachable, server, Access())
        tls = said(StoreUnreachable, server.replace("http", "https"), Access(ca_fingerprint="00" * 32))
        with pytest.raises(NoAnswer) as caught:
            Door(server, Access()).post_bulk("logs-x-y", BULK)

        assert not Door(server, Access()).is_alive()
    assert "Connection refused). Start it, correct the URL, or use a lake on disk: --store ./lake" in text
    assert "Connection refused" in tls
    assert not caught.value.sent


def test_a_name_that_nobody_has():
    text = said(StoreUnreachable, "http://es.invalid:9200", Access())

    assert text.startswith("cannot reach Elasticsearch at http://es.invalid:9200 (")
    assert "Failed to resolve" in text


class _Other(http.server.BaseHTTPRequestHandler):
    """Another HTTP server, which answers everything with a page."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("authorization"))
        body = b"<html>hello</html>"
        self.send_response(502 if "busy" in self.path else 200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[Any]]]:
    """A server on loopback: its port, and the credentials it was given."""

    class Server(http.server.ThreadingHTTPServer):
        seen: ClassVar[list[Any]] = []

        def handle_error(self, *args: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_port, server.seen
    finally:
        server.shutdown()
        server.server_close()


NOT_ELASTICSEARCH = ("is not Elasticsearch 8.19 or later; OpenSearch and other servers that look like it are not supported. "
                     "Correct the URL, or use a lake on disk: --store ./lake")


def test_the_port_of_another_http_server():
    """Also bulks stop; an error page of a proxy is told apart, it may pass."""
    with listening(_Other) as (port, _):
        server = f"http://127.0.0.1:{port}"
        texts = [said(StoreRefused, server, Access()), said(StoreRefused, server, Access(), lambda door: door.post_bulk("logs-x-y", BULK))]
        proxy = said(ServerError, server, Access(), lambda door: door.call("GET", "/busy"))

    assert texts == [f"{server} {NOT_ELASTICSEARCH}"] * 2
    assert proxy == f"{server} answered 502: <html>hello</html>. Is there a proxy in between, or is it another port?"


def test_opensearch(opensearch_like):
    for ask in (lambda door: door.call("GET", "/"), lambda door: door.call("POST", "/x/_search", {}),
                lambda door: door.post_bulk("logs-x-y", BULK)):
        assert said(StoreRefused, opensearch_like.url, Access(), ask) == f"{opensearch_like.url} {NOT_ELASTICSEARCH}"


@service
@pytest.mark.parametrize("elasticsearch", ["8.19.5"], indirect=True)
@pytest.mark.parametrize("ask", ["door.call('GET', '/')", "door.post_bulk('logs-x-y', b'{}')"])
def test_client_9_on_server_8(elasticsearch, client9_path, ask):
    """The client for both is named; nobody can guess it from the server's answer."""
    code = f"""
import sys
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.address import Access
door = Door(sys.argv[1], Access())
try:
    {ask}
except Exception as error:
    print(type(error).__name__, error)
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code, elasticsearch.url], capture_output=True, text=True, timeout=60, cwd=root,
                          env={**os.environ, "PYTHONPATH": str(client9_path)})

    assert done.stdout.startswith(f"StoreRefused {elasticsearch.url} is older than the installed client: elasticsearch 9."), done.stderr
    assert done.stdout.endswith("Install the client that talks to both: pip install 'elasticsearch>=8.19,<9'\n")


@service
@pytest.mark.parametrize(("block", "mend"), [
    ("write", 'Take the block away: PUT <index>/_settings {"index.blocks.write": null, "index.blocks.read_only": null}'),
    ("read_only", 'Take the block away: PUT <index>/_settings {"index.blocks.write": null, "index.blocks.read_only": null}'),
    ("read_only_allow_delete", "The disk of a node is almost full: free space, and the server takes the block away by itself"),
])
def test_an_index_that_takes_nothing(elasticsearch, block, mend):
    """Read-only by somebody's will, or because a disk is full."""
    door, index = Door(elasticsearch.url, Access()), f"blocked-{uuid.uuid4()}"
    door.call("PUT", f"/{index}")
    door.call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": True})
    text = said(StoreRefused, elasticsearch.url, Access(), lambda door: door.call("PUT", f"/{index}/_doc/1", {"a": 1}))
    door.call("PUT", f"/{index}/_settings", {f"index.blocks.{block}": None})

    assert text.startswith(f"{elasticsearch.url} lets nothing be written (index [{index}] blocked by: [")
    assert text.endswith(mend)


def test_a_server_that_says_nothing():
    """Over HTTP and TLS: within the time given, and as something that may pass."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        port = silent.getsockname()[1]
        for server in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"):
            text = said(StoreUnreachable, server, Access(), lambda door: door.call("GET", "/", timeout_s=0.3))

            assert text.startswith(f"Elasticsearch at {server} did not answer in time (")


@service
def test_an_expected_status_is_an_answer(elasticsearch):
    """Another one is an error that keeps its status and its kind, also in another process."""
    import pickle

    door = Door(elasticsearch.url, Access())
    with pytest.raises(ServerError) as caught:
        door.call("GET", f"/{uuid.uuid4()}/_search")
    copy = pickle.loads(pickle.dumps(caught.value))

    assert door.call("GET", f"/{uuid.uuid4()}/_search", expect=(404,))["status"] == 404
    assert (copy.status, copy.kind, str(copy)) == (404, "index_not_found_exception", str(caught.value))


# How it is written down


@pytest.mark.parametrize("url", ["https://es:9200", "http://[::1]:9200?namespace=a", "https://es:443/base?index=x-*,y&mapping=m.toml"])
def test_an_address_is_the_same_after_it_was_written(url):
    assert Address.parse(str(Address.parse(url))) == Address.parse(url)


@pytest.mark.parametrize(("environ", "says"), [
    ({"PINCHPOINT_ES_USERNAME": "me"}, "user 'me' has no password: set PINCHPOINT_ES_PASSWORD_FILE"),
    ({"PINCHPOINT_ES_API_KEY_FILE": "/no/such/file"}, "cannot read the file of the API key /no/such/file: No such file or directory"),
    ({"PINCHPOINT_ES_CA_FILE": "/no/such/file"}, "cannot read the file of the certificate authority /no/such/file"),
])
def test_what_is_missing_to_get_in(environ, says):
    from pinchpoint.config import Elasticsearch

    with pytest.raises(UsageError, match=says):
        Access.read(Elasticsearch(), environ)


def test_secrets_are_read_from_files_and_the_environment_counts_first(tmp_path):
    from pinchpoint.config import Elasticsearch

    (tmp_path / "key").write_text("from-file\n")
    settings = Elasticsearch(api_key_file=tmp_path / "key")

    assert Access.read(settings, {}).api_key == "from-file"
    assert Access.read(settings, {"PINCHPOINT_ES_API_KEY": "from-environment"}).api_key == "from-environment"
    assert json.dumps(str(Access.read(settings, {}))).count("from-file") == 0
