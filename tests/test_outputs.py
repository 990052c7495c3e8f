"""The connection to Elasticsearch: TLS, keys, packed bodies, and metrics in time-series streams."""

import gzip
import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import tls

from pinchpoint.clock import HeldClock
from pinchpoint.config import Elasticsearch
from pinchpoint.delivery import NoAnswer
from pinchpoint.errors import StoreRefused, UsageError
from pinchpoint.records import batch
from pinchpoint.store.es import documents
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.incoming import prepare
from shippers.items import Item
from shippers.outputs.door import HttpDoor
from shippers.outputs.elastic import ElasticOutput
from shippers.outputs.packing import pack

Respond = Callable[[str, list[dict[str, Any]]], list[dict[str, object]]]
STORED = {"status": 201}
NO_ID = {"status": 400, "error": {"type": "illegal_argument_exception", "reason": "_id must be unset or set to [abc] but was [m-1]"}}
LATE = {"status": 400, "error": {"type": "timestamp_error", "reason": "the document timestamp [2020-01-01T00:00:00.000Z] is outside of "
                                                                      "ranges of currently writable indices [[2026]]"}}


class Server:
    """Answers each bulk as a function of its target and actions says, and remembers what came."""

    def __init__(self, respond: Respond, context: ssl.SSLContext | None = None) -> None:
        self.bodies: list[tuple[str, list[dict[str, Any]], dict[str, str]]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                rows = [json.loads(line) for line in body.splitlines()]
                target = self.path.split("/")[-2]
                server.bodies.append((target, rows, dict(self.headers)))
                items = respond(target, rows[::2])
                self._send(json.dumps({"errors": any("error" in one for one in items), "items": [{"create": one} for one in items]},
                                      separators=(",", ":")).encode())

            def do_GET(self) -> None:
                self._send(b"{}")

            def _send(self, data: bytes) -> None:
                self.send_response(200)
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    data = gzip.compress(data)
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(*arguments: Any) -> Server:
        servers.append(Server(*arguments))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def fingerprint(path: Path) -> str:
    text = subprocess.run(["openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", path], check=True, capture_output=True, text=True)
    return text.stdout.strip().rpartition("=")[2].replace(":", "").lower()


def stored(target: str, actions: list[dict[str, Any]]) -> list[dict[str, object]]:
    return [dict(STORED) for _ in actions]


def output(port: int, tmp_path: Path, **options: Any) -> ElasticOutput:
    clock = HeldClock()
    return ElasticOutput("es", Address.parse(options.pop("url", f"http://127.0.0.1:{port}")), tmp_path, clock=clock, sleep=clock.sleep,
                         read_access=options.pop("read_access", lambda: Access()), **options)


def items(kind: str, number: int) -> list[Item]:
    return [Item(kind, f"{kind[0]}-{place}", b'{"@timestamp":"2026-01-01T00:00:00Z","n":%d}' % place) for place in range(number)]


def test_each_kind_has_its_stream(serve, tmp_path):
    """Items go to the data stream of their kind and namespace, with their ids."""
    server = serve(stored)
    one = output(0, tmp_path, url=f"http://127.0.0.1:{server.port}?namespace=team")
    one.deliver([*items("log", 2), *items("span", 1), *items("event", 1), *items("step", 1), *items("metric", 1)])

    assert {target: [row["create"]["_id"] for row in rows[::2]] for target, rows, _ in server.bodies} == {
        "logs-pinchpoint.log-team": ["l-0", "l-1"], "traces-pinchpoint.span-team": ["s-0"], "logs-pinchpoint.event-team": ["e-0"],
        "traces-pinchpoint.step-team": ["s-0"], "metrics-pinchpoint.metric-team": ["m-0"]}
    assert one.counters()["stored"] == 6


def test_time_series_streams_make_their_own_ids(serve, tmp_path):
    """The first refusal teaches that metrics go without an id; nothing is set aside."""
    server = serve(lambda target, actions: [dict(NO_ID if "_id" in action["create"] else STORED) for action in actions])
    one = output(server.port, tmp_path)
    one.deliver(items("metric", 3))
    one.deliver(items("metric", 2))
    one.close()

    assert [len(rows) // 2 for _, rows, _ in server.bodies] == [3, 3, 2]
    assert not any("_id" in row["create"] for _, rows, _ in server.bodies[1:] for row in rows[::2])
    assert (one.counters()["stored"], one.counters()["rejected"]) == (5, 0)
    assert not (tmp_path / "dead-letter.ndjson").exists()


def test_metrics_carry_the_hash_of_their_names(serve, tmp_path):
    """Two readings of one entity in one millisecond stay two: a dimension tells them apart, the same one that a store would write."""
    server = serve(stored)
    told = {"@timestamp": "2026-01-01T00:00:00Z", "entity.kind": "gpu", "entity.id": "0", "metrics": {"b": 1.0, "a": 2.0},
            "labels": {"link": "3"}}
    one = output(server.port, tmp_path)
    readings = [told, {**told, "labels": {"link": "4"}}, {**told, "metrics": {"a": 1}}]
    one.deliver([Item("metric", "m", json.dumps(reading).encode()) for reading in readings])
    table = prepare("metric", batch("metric", {**{name: [value] for name, value in told.items()}, "@timestamp": [1_767_225_600 * 10**9]}))
    (expected,) = documents.encode("metric", table, "segment")

    found = [row["pinchpoint.metric_names"] for row in server.bodies[0][1][1::2]]
    assert found[0] == json.loads(expected.document)["pinchpoint.metric_names"]
    assert len(set(found)) == 3


def test_metrics_that_are_too_old_go_to_an_ordinary_stream(serve, tmp_path):
    """What a time-series stream does not take any more is kept under its id elsewhere."""
    def respond(target: str, actions: list[dict[str, Any]]) -> list[dict[str, object]]:
        if "late" in target:
            return stored(target, actions)
        return [dict(NO_ID if "_id" in action["create"] else LATE if place else STORED) for place, action in enumerate(actions)]

    server = serve(respond)
    one = output(server.port, tmp_path)
    one.deliver(items("metric", 3))

    target, rows, _ = server.bodies[-1]
    assert target == "metrics-pinchpoint.metric_late-default"
    assert [row["create"]["_id"] for row in rows[::2]] == ["m-1", "m-2"]
    assert one.counters()["rejected"] == 0


def test_a_rejected_document_is_kept_before_its_batch_is_settled(serve, tmp_path):
    """`deliver` returns only when the dead letter is on the disk; a full disk is waited for."""
    server = serve(lambda target, actions: [{"status": 400, "error": {"type": "x", "reason": "y"}} for _ in actions])
    folder = tmp_path / "state"
    folder.mkdir()
    blocker = folder / "dead-letter.ndjson"
    blocker.mkdir()
    clock = HeldClock()
    troubles = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        troubles.append(one.trouble())
        blocker.rmdir()

    address = Address.parse(f"http://127.0.0.1:{server.port}")
    one = ElasticOutput("es", address, folder, clock=clock, sleep=sleep, read_access=lambda: Access())
    one.deliver(items("log", 1))

    assert json.loads((folder / "dead-letter.ndjson").read_text())["id"] == "l-0"
    assert len(server.bodies) == 1
    assert "cannot write the dead-letter file" in str(troubles[0])
    assert one.trouble() is None


def test_https_with_a_file_of_the_authority(serve, certificates):
    """A certificate of the named authority is trusted, without it the connection is refused with the way out."""
    server = serve(stored, tls(certificates))
    good = HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access(ca_file=str(certificates / "ca.crt")))
    assert good.post_bulk("t", b'{"create":{}}\n{}\n').status == 200
    with pytest.raises(StoreRefused, match="PINCHPOINT_ES_CA_FILE"):
        HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access()).post_bulk("t", b"")


@pytest.mark.parametrize("name", ["ca.crt", "server.crt"])
def test_https_with_a_fingerprint(serve, certificates, name):
    """The fingerprint of the authority, or of the server's own certificate, is enough."""
    server = serve(stored, tls(certificates))
    door = HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access(ca_fingerprint=fingerprint(certificates / name)))

    assert door.post_bulk("t", b'{"create":{}}\n{}\n').status == 200


def test_a_chain_that_only_shows_the_right_certificate_is_not_trusted(serve, certificates, tmp_path):
    """Anybody can show the authority's certificate; what it did not sign is refused."""
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-days", "2", "-subj", "/CN=x",
            "-addext", "subjectAltName=IP:127.0.0.1")
    (tmp_path / "chain").write_text((tmp_path / "c").read_text() + (certificates / "ca.crt").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "k")
    server = serve(stored, context)
    door = HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access(ca_fingerprint=fingerprint(certificates / "ca.crt")))

    with pytest.raises(StoreRefused):
        door.post_bulk("t", b"")


def test_a_wrong_fingerprint_is_refused(serve, certificates):
    """Another fingerprint is no certificate of the chain; half a one is refused when the settings are read."""
    server = serve(stored, tls(certificates))
    with pytest.raises(StoreRefused, match="fingerprint"):
        HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access(ca_fingerprint="ab" * 32)).post_bulk("t", b"")
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        Access.read(Elasticsearch(ca_fingerprint="ab"), {})


def test_plain_http_where_tls_is_expected_is_said(serve):
    """Https to a port that speaks http names the other scheme."""
    server = serve(stored)
    with pytest.raises(StoreRefused, match="http://127"):
        HttpDoor(f"https://127.0.0.1:{server.port}", lambda: Access()).post_bulk("t", b"")


def test_bodies_are_packed_beyond_loopback(serve):
    """On loopback packing would only cost; elsewhere bodies and answers are packed."""
    server = serve(stored)
    body = b'{"create":{}}\n{"x":"%b"}\n' % (b"y" * 5000)
    near = HttpDoor(f"http://127.0.0.1:{server.port}", lambda: Access())
    far = HttpDoor(f"http://127.0.0.1:{server.port}", lambda: Access())
    far._packs = True
    far.enter_again()

    assert near.post_bulk("t", body) == far.post_bulk("t", body)
    assert [headers.get("Content-Encoding") for _, _, headers in server.bodies] == [None, "gzip"]
    assert far.bytes_sent < 500 < near.bytes_sent


def test_packing_is_gzip():
    """Whichever library packs, any server can unpack it."""
    data = b"some text " * 1000

    assert gzip.decompress(pack(data)) == data


def test_keys_are_sent_and_read_anew(serve):
    """The key goes in the header; `enter_again` finds a new one."""
    server = serve(stored)
    keys = ["first"]
    door = HttpDoor(f"http://127.0.0.1:{server.port}", lambda: Access(api_key=keys[0]))
    door.post_bulk("t", b'{"create":{}}\n{}\n')
    keys[0] = "second"
    door.enter_again()
    door.post_bulk("t", b'{"create":{}}\n{}\n')

    assert [headers["Authorization"] for _, _, headers in server.bodies] == ["ApiKey first", "ApiKey second"]


def test_a_connection_that_was_closed_meanwhile_is_made_anew(serve):
    """A server that ends an idle connection costs no failed request."""
    server = serve(stored)
    door = HttpDoor(f"http://127.0.0.1:{server.port}", lambda: Access())
    door.post_bulk("t", b'{"create":{}}\n{}\n')
    door.abort()

    assert door.post_bulk("t", b'{"create":{}}\n{}\n').status == 200


def test_a_server_that_is_not_there_was_sent_nothing():
    """Refused connections say nothing of the documents."""
    door = HttpDoor("http://127.0.0.1:9", lambda: Access())
    with pytest.raises(NoAnswer) as gone:
        door.post_bulk("t", b"")

    assert not gone.value.sent
    assert not door.is_alive()


def test_a_host_that_only_ships_loads_nothing_heavy():
    """The agent never imports pyarrow, pandas, Beam, scikit-learn or the Elasticsearch client."""
    code = ("import sys, shippers.cli, shippers.agent, shippers.once, shippers.outputs.elastic, shippers.outputs.lake, shippers.doctor\n"
            "import shippers.sources.host, shippers.sources.scrape, shippers.sources.otlp\n"
            "heavy = {'pyarrow', 'pandas', 'numpy', 'apache_beam', 'sklearn', 'elasticsearch', 'elastic_transport', 'rich'}\n"
            "print(sorted(heavy & set(sys.modules)))")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
