"""What only Elasticsearch can do to records: forget ids, give documents of others, refuse documents, expire, go away."""

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from test_store_contract import T0, incident, rows, steps, times

from pinchpoint import fields, records
from pinchpoint.clock import SYSTEM_CLOCK, HeldClock
from pinchpoint.config import Config
from pinchpoint.delivery.counters import Ledger
from pinchpoint.errors import DeliveryRefused, StoreError, UsageError
from pinchpoint.store import IncidentFilter, open_store
from pinchpoint.store.elastic import ElasticStore
from pinchpoint.store.es import export, names
from pinchpoint.store.es.address import Access, Address
from pinchpoint.store.es.columns import decode
from pinchpoint.store.es.deleting import delete, refresh
from pinchpoint.store.es.documents import encode
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.templates import install
from pinchpoint.store.es.writing import delivery_files
from pinchpoint.store.incoming import prepare

service = pytest.mark.service
Make = Callable[..., ElasticStore]


def namespace(store: ElasticStore) -> str:
    return Address.parse(store.url).namespace


def page_of(sources: list[bytes]) -> export.Page:
    """A page as the server sends it."""
    hits = b",".join(b'{"_source":%s,"sort":[%d]}' % (source, place) for place, source in enumerate(sources))
    return export.Page(b'{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[%s]}}' % hits)


def put(store: ElasticStore, kind: str, name: str, document: dict) -> None:
    """What somebody else writes into a stream of ours."""
    store.door.call("PUT", f"/{names.stream(kind, namespace(store))}/_create/{name}", document, refresh="true")


# Documents


@pytest.mark.parametrize("kind", fields.KINDS)
def test_documents_come_back_as_the_records_they_were(kind):
    """Every field of every kind, with values that JSON cannot say, survives the way through JSON and Arrow."""
    odd = {"time": T0 + 7, "text": 'é "\\ \n\t', "integer": 2**62, "number": 0.1 + 0.2,
           "numbers": [("a.b", 1.5), ("n", math.inf), ("z", None)],
           "texts": [("k.l", "2026-01-01T00:00:00Z"), ("null", None)], "document": "{}",
           "slow_steps": [{"step": 1, "duration_s": math.inf, "phase": "gc"}]}
    columns = {name: [odd[fields.FIELDS[name].type], None, None] for name in fields.KINDS[kind]} | {"@timestamp": [T0 + 7, T0 + 8, -5]}
    if "duration_s" in columns:
        columns["duration_s"] = [0.5, -math.inf, None]
    batch = prepare(kind, records.batch(kind, columns))
    table, wrong = decode(kind, batch.schema.names, page_of([item.document for item in encode(kind, batch, "s")]))

    def plain(row):
        return {name: dict(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value
                for name, value in row.items()}

    assert wrong == []
    assert [plain(row) for row in table.to_pylist()] == [plain(row) for row in batch.to_pylist()]


def test_whole_numbers_and_fractions_of_one_reading_are_both_numbers():
    """A reading that is 1 here, 1.5 there and 2 ** 60 elsewhere is one column."""
    sources = [b'{"@timestamp":"2026-01-01T00:00:00Z","metrics":{"x":%s}}' % value for value in (b"1", b"1.5", b"1152921504606846976")]

    assert decode("metric", ["@timestamp", "metrics"], page_of(sources))[0].column("metrics").to_pylist() == [
        [("x", 1.0)], [("x", 1.5)], [("x", 2.0**60)]]


def test_thousands_of_different_keys_are_read_key_by_key():
    """Labels of which each document has its own do not become a column each."""
    sources = [json.dumps({"@timestamp": "2026-01-01T00:00:00Z", "labels": {f"key {number}": "x"}}).encode() for number in range(5000)]
    table, wrong = decode("log", ["@timestamp", "labels"], page_of(sources))

    assert wrong == []
    assert table.column("labels").to_pylist() == [[(f"key {number}", "x")] for number in range(5000)]


@pytest.mark.parametrize("broken", [
    b'{"@timestamp":"yesterday"}', b"{}", b'{"@timestamp":"2026-01-01T00:00:00Z","rank":"three"}',
    b'{"@timestamp":"2026-01-01T00:00:00Z","labels":"none"}', b'{"@timestamp":["2026-01-01T00:00:00Z"]}',
    b'{"@timestamp":"2026-01-01T00:00:00Z","run.id":{"a":1}}', b'{"run.id":[{"x":1,"sort":[1]},{"_source":2}]}',
    b'{"@timestamp":null}', b'{"@timestamp":12}',
    b'{"@timestamp":"2026-01-01T00:00:00Z","rank":1.5}'])
def test_a_document_that_is_no_record_is_passed_over_and_said(broken):
    """Whatever others write into our streams, the other documents of the page are read."""
    good = b'{"@timestamp":"2026-01-01T00:00:00Z","rank":3}'
    table, wrong = decode("step", ["@timestamp", "rank", "run.id", "labels"], page_of([good, broken, good]))

    assert table.column("rank").to_pylist() == [3, 3]
    assert len(wrong) == 1


# Addresses


def test_a_password_in_the_url_is_refused():
    """It would stand in process lists; the message does not repeat it."""
    with pytest.raises(UsageError) as refused:
        Address.parse("https://elastic:hunter2@es:9200")

    assert "hunter2" not in str(refused.value)
    assert "PINCHPOINT_ES_PASSWORD_FILE" in str(refused.value)


@pytest.mark.parametrize(("url", "said"), [
    ("https://", "no server"), ("https://es:99999", "no server"), ("https://es?namspace=a", "expected namespace"),
    ("https://es?namespace=A/b", "lower-case")])
def test_an_address_that_cannot_be_is_refused(url, said):
    """Each with what would do."""
    with pytest.raises(UsageError, match=said):
        Address.parse(url)


# Reading


@service
def test_a_record_written_again_after_a_rollover_is_read_once(elastic_store: Make):
    """The next backing index does not know the ids of the one before: reading drops the repeat."""
    store = elastic_store()
    store.append("step", steps([T0, T0 + 1]), "s1")
    stream = names.stream("step", namespace(store))
    store.door.call("POST", f"/{stream}/_rollover")
    store.append("step", steps([T0, T0 + 1, T0 + 2]), "s2")
    refresh(store.door, stream)

    assert store.door.call("POST", f"/{stream}/_count")["count"] == 5
    assert times(store) == [T0, T0 + 1, T0 + 2]


@service
def test_pages_and_slices_leave_nothing_out(elastic_store: Make, monkeypatch):
    """Many pages in several slices hold what one would."""
    monkeypatch.setattr(export, "PAGE", 97)
    store = elastic_store()
    store.append("step", steps(range(T0, T0 + 1000)), "s1")

    assert times(store) == list(range(T0, T0 + 1000))


@service
def test_a_document_of_somebody_else_in_our_stream_is_passed_over(elastic_store: Make):
    """It is shown among what was set aside, and stays where it is."""
    store = elastic_store()
    store.append("log", records.batch("log", {"@timestamp": [T0], "event.id": ["mine"], "message": ["a"]}), "s1")
    put(store, "log", "other", {"@timestamp": "2026-01-01T00:00:01Z", "message": "b"})
    put(store, "log", "odd", {"@timestamp": "2026-01-01T00:00:02Z", "message": "c", "labels": {"a": {"deep": ["x", "y"]}}})

    assert sorted(row["message"] for row in rows(store, "log", ["message"])) == ["a", "b", "c"]
    assert len(rows(store, "log")) in (2, 3)


@service
def test_a_point_in_time_that_is_gone_is_opened_again(elastic_store: Make, monkeypatch):
    """What was read so far is read again, nothing is doubled."""
    monkeypatch.setattr(export, "PAGE", 100)
    store = elastic_store()
    store.append("step", steps(range(T0, T0 + 1000)), "s1")
    [split] = store.splits("step")
    closed = threading.Event()
    raw = store.door.raw

    def closing(method, path, body=None, **params):
        if path == "/_search" and "search_after" in body and not closed.is_set():
            closed.set()
            raw("DELETE", "/_pit", {"id": body["pit"]["id"]})
        return raw(method, path, body, **params)

    monkeypatch.setattr(store.door, "raw", closing)

    assert sum(batch.num_rows for batch in store.read(split, ["step"])) == 1000
    assert closed.is_set()


@service
def test_a_shard_that_cannot_be_read_is_an_error(elastic_store: Make):
    """An answer is never just shorter: a search that fails on some shards fails."""
    store = elastic_store()
    store.append("step", steps([T0]), "s1")
    index = next(iter(store.door.call("GET", f"/{names.stream('step', namespace(store))}/_settings")))
    store.door.call("POST", f"/{names.stream('step', namespace(store))}/_rollover")
    store.append("step", steps([T0 + 1]), "s2")
    store.door.call("POST", f"/{index}/_close")
    try:
        with pytest.raises(StoreError):
            times(store)
    finally:
        store.door.call("POST", f"/{index}/_open", wait_for_active_shards=1)


# Writing


@service
def test_without_templates_nothing_is_written(elastic_store: Make):
    """A stray index with a guessed mapping would be worse than an error, which says what to do."""
    url = elastic_store().url.partition("?")[0]
    store = open_store(f"{url}?namespace=never_set_up")
    with pytest.raises(StoreError, match="pinchpoint setup elasticsearch"):
        store.append("step", steps([T0]), "s1")
    with pytest.raises(StoreError, match="pinchpoint setup elasticsearch"):
        store.put_incident(incident(1))


@service
def test_an_index_that_is_read_only_says_how_to_open_it(elastic_store: Make):
    """The block that Elasticsearch sets when a disk is full, and that people set by hand."""
    store = elastic_store()
    index = names.stream("finding", namespace(store))
    store.door.call("PUT", f"/{index}/_settings", {"index.blocks.write": True})
    try:
        with pytest.raises(DeliveryRefused, match=r"read-only.*index.blocks.write"):
            store.append("finding", records.batch("finding", {"@timestamp": [T0], "event.id": ["b"]}), "s2")
    finally:
        store.door.call("PUT", f"/{index}/_settings", {"index.blocks.write": None})


@service
def test_what_a_read_only_stream_keeps_aside_is_counted(elastic_store: Make):
    """A server with a failure store answers 201 to what its stream cannot take: it is counted, and can be read there."""
    store = elastic_store()
    stream = names.stream("event", namespace(store))
    store.append("event", records.batch("event", {"@timestamp": [T0], "event.id": ["a"]}), "s1")
    store.door.call("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
    try:
        store.append("event", records.batch("event", {"@timestamp": [T0], "event.id": ["b"]}), "s2")
        counts = Ledger(delivery_files(store.door.server, namespace(store))[0]).read()
        refresh(store.door, f"{stream}::failures")
        failures = store.door.call("POST", f"/{stream}::failures/_search")["hits"]["hits"]

        assert counts["failure_store"].number == 1
        assert [hit["_source"]["error"]["type"] for hit in failures] == ["cluster_block_exception"]
    finally:
        store.door.call("PUT", f"/{stream}/_settings", {"index.blocks.write": None})
        delete(store.door, f"{stream}::failures", {"match_all": {}}, SYSTEM_CLOCK)


@service
def test_two_readings_of_one_millisecond_are_two(start_elasticsearch):
    """In a time-series stream, where the server names documents by their series and millisecond, nothing is taken for the same.

    What it cannot take, too old or of no entity or twice in a millisecond, lies in an ordinary stream beside it; all are read.
    """
    server = start_elasticsearch()
    door = Door(server.url, Access())
    now = SYSTEM_CLOCK.now_ns()
    door.call("PUT", f"/_component_template/{names.template(names.STREAMS['metric'])}@custom", {"template": {"settings": {
        "index.time_series.start_time": "2026-01-02T00:00:00Z", "index.time_series.end_time": "2099-01-01T00:00:00Z"}}})
    install(door, "ts", Config().retention.days)
    store = ElasticStore(f"{server.url}?namespace=ts", door=door)
    batch = records.batch("metric", {
        "@timestamp": [now, now, now, now + 1, now, T0], "event.id": ["a", "b", None, "d", "e", "f"],
        "entity.kind": ["gpu", "gpu", "gpu", "gpu", None, "gpu"], "entity.id": ["0", "1", "0", "0", None, "0"],
        "metrics": [[("x", 1.0)], [("x", 2.0)], [("y", 3.0)], [("x", 4.0)], [("x", 5.0)], [("x", 6.0)]]})
    for segment in ("m1", "m1", "m2"):
        store.append("metric", batch.slice(0, 6), segment)
    mode = door.call("GET", f"/{names.stream('metric', 'ts')}/_settings", filter_path="*.settings.index.mode")

    assert {one["settings"]["index"]["mode"] for one in mode.values()} == {"time_series"}
    assert sorted((row["event.id"] or "", row["metrics"][0][1]) for row in rows(store, "metric")) == [
        ("", 3.0), ("a", 1.0), ("b", 2.0), ("d", 4.0), ("e", 5.0), ("f", 6.0)]
    assert store.set_aside() == []


@service
def test_a_server_that_restarts_in_the_middle_of_a_write_loses_nothing(start_elasticsearch):
    """The write waits for it, and ids keep what was stored before from being stored twice."""
    server = start_elasticsearch()
    door = Door(server.url, Access())
    install(door, "r", Config().retention.days)
    store = ElasticStore(f"{server.url}?namespace=r", door=door)
    store.append("step", steps([T0]), "s0")
    batch = steps(range(T0 + 1, T0 + 60_001))
    writing = threading.Thread(target=lambda: store.append("step", batch, "s1"))
    writing.start()
    while door.call("GET", f"/{names.stream('step', 'r')}/_count", expect=(503,)).get("count", 0) < 2 and writing.is_alive():
        door.call("POST", f"/{names.stream('step', 'r')}/_refresh")
        time.sleep(0.02)
    server.kill()
    server.start()
    writing.join(240)

    assert not writing.is_alive()
    assert times(store) == list(range(T0, T0 + 60_001))


# Incidents


@service
def test_more_incidents_than_a_page(elastic_store: Make, monkeypatch):
    """They come in one order whatever the pages, up to the limit asked for."""
    monkeypatch.setattr("pinchpoint.store.es.kept._PAGE", 7)
    store = elastic_store()
    for number in range(20):
        store.put_incident(incident(number % 5, id=f"id{number:02d}"))
    store.label("id03", "confirmed", None, T0)
    found = store.query_incidents(IncidentFilter())

    assert [one["id"] for one in found] == [f"id{number:02d}" for start in (4, 3, 2, 1, 0) for number in range(start, 20, 5)]
    assert [one["id"] for one in found if one["labels"]] == ["id03"]
    assert len(store.query_incidents(IncidentFilter(limit=9))) == 9


def test_waiting_for_a_server_that_is_down_ends():
    """Reading asks a few times, then says what is wrong; the pauses grow."""
    clock = HeldClock()
    door = Door("http://127.0.0.1:9", Access())
    with pytest.raises(StoreError, match="cannot reach Elasticsearch"):
        export.export(door, "x", {}, pa.table, clock)

    assert len(clock.slept) == 5
    assert sum(clock.slept) < 80


@service
def test_the_client_of_major_9_does_the_same(client9_path):
    """The contract holds with it on a server 9; what it says of a server 8 is tested with the door."""
    asked = "9.2.0 and (appended or derived or incident or slices_keep or not_a_number or retention)"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_store_contract.py", "-k", asked]
    environment = {**os.environ, "PYTHONPATH": str(client9_path)}
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    version = subprocess.run([sys.executable, "-c", "import elasticsearch; print(elasticsearch.__version__[0])"], env=environment,
                             capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-3000:]
    assert version.stdout.strip() == "9"
