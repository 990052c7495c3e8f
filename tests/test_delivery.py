"""The rules under which documents are sent: nothing is lost, nothing comes twice, what a server never takes is kept aside."""

import contextlib
import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import bulk_sink
import pytest
from bulk_sink import Sink
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint.clock import SYSTEM_CLOCK, HeldClock
from pinchpoint.delivery import Answer, NoAnswer, Outgoing, Sender
from pinchpoint.delivery.counters import MEANINGS, Counters, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.delivery.documents import MOST_BYTES, Rejected, cut, encode
from pinchpoint.errors import DeadLetterError, DeliveryRefused, DeliveryTimeout
from pinchpoint.store.es.address import Access
from shippers.outputs.door import HttpDoor

STORED = {"status": 201}
BUSY = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}


def documents(number: int) -> list[Outgoing]:
    return [Outgoing(f"id-{place}", b'{"n":%d}' % place) for place in range(number)]


def ids_of(body: bytes) -> list[str | None]:
    return [json.loads(line)["create"].get("_id") for line in body.splitlines()[::2]]


def answer(*items: dict[str, object]) -> Answer:
    errors = any("error" in item for item in items)
    return Answer(200, json.dumps({"errors": errors, "items": [{"create": item} for item in items]}, separators=(",", ":")).encode())


class Script:
    """A door that answers as a function of the ids says, and remembers what was asked."""

    def __init__(self, respond: Callable[[list[str | None]], Answer], *, alive: bool = True) -> None:
        self.respond, self.alive = respond, alive
        self.asked: list[list[str | None]] = []

    def post_bulk(self, target: str, body: bytes) -> Answer:
        ids = ids_of(body)
        self.asked.append(ids)
        return self.respond(ids)

    def is_alive(self) -> bool:
        return self.alive


class Run:
    """A sender with a held clock in which every wait is as long as it may be."""

    def __init__(self, door: Script, **options) -> None:
        self.clock = HeldClock()
        self.counters = Counters(self.clock)
        self.sender = Sender(door, self.counters, self.clock, jitter=lambda: 1.0, **options)

    def counted(self) -> dict[str, int]:
        return {name: count.number for name, count in self.counters.counts.items()}


def no_answer(ids: list[str | None]) -> Answer:
    raise NoAnswer("connection reset", sent=True)


def in_turn(*responses: Callable[[list[str | None]], Answer]) -> Callable[[list[str | None]], Answer]:
    left = list(responses)
    return lambda ids: (left.pop(0) if len(left) > 1 else left[0])(ids)


def all_stored(ids: list[str | None]) -> Answer:
    return answer(*[STORED] * len(ids))


def test_all_stored_is_one_bulk():
    """Documents that fit into a bulk go at once, in their order."""
    door = Script(all_stored)
    run = Run(door)
    settled = run.sender.send("t", documents(3))

    assert (settled.stored, settled.rejected) == (3, [])
    assert door.asked == [["id-0", "id-1", "id-2"]]
    assert run.counted() == {"bulks": 1, "stored": 3}


def test_nothing_to_send_asks_nothing():
    """An empty list is settled without a request."""
    door = Script(all_stored)

    assert Run(door).sender.send("t", []).stored == 0
    assert door.asked == []


def test_conflicts_were_stored_before():
    """409 on create is success, and counted as a repeat."""
    run = Run(Script(lambda ids: answer(STORED, {"status": 409, "error": {"type": "version_conflict_engine_exception"}})))
    settled = run.sender.send("t", documents(2))

    assert (settled.stored, settled.repeated, settled.rejected) == (1, 1, [])
    assert run.counted()["repeated"] == 1


def test_busy_items_go_again_alone_and_at_once_while_most_are_taken():
    """A few 429s cost no wait and re-send nothing that was stored."""
    door = Script(in_turn(lambda ids: answer(*[BUSY if place == 3 else STORED for place in range(len(ids))]), all_stored))
    run = Run(door)
    settled = run.sender.send("t", documents(10))

    assert settled.stored == 10
    assert door.asked[1:] == [["id-3"]]
    assert run.clock.slept == []


def test_busy_items_are_given_back_to_who_takes_them():
    """The few of a bulk that the server was too busy for are not sent again by the sender; more than half are waited for all the same."""
    few = Script(lambda ids: answer(*[BUSY if one == "id-0" else STORED for one in ids]))
    settled = Run(few).sender.send("t", documents(5), may_leave=True)
    many = Script(in_turn(lambda ids: answer(*[BUSY] * len(ids)), all_stored))
    waited = Run(many).sender.send("t", documents(5), may_leave=True)

    assert ([one.id for one in settled.left], settled.stored, len(few.asked)) == (["id-0"], 4, 1)
    assert (waited.left, waited.stored, len(many.asked)) == ([], 5, 2)


def test_a_few_items_that_stay_busy_are_waited_for_in_the_end():
    """A document that is refused again and again does not make the sender spin."""
    door = Script(lambda ids: answer(*[STORED if each != "id-0" or len(door.asked) > 7 else BUSY for each in ids]))
    run = Run(door)
    run.sender.send("t", documents(10))

    assert 1 <= len(run.clock.slept) <= 3


def test_mostly_busy_is_waited_for_with_doubling_jittered_limits():
    """The wait is drawn below a limit that doubles up to 30 s, and starts anew after progress."""
    busy = lambda ids: answer(*[BUSY] * len(ids))  # noqa: E731
    run = Run(Script(in_turn(*[busy] * 12, all_stored)))
    run.sender.send("t", documents(2))

    assert run.clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30])


def test_a_busy_server_is_not_asked_before_it_wants():
    """Retry-After of a whole 429 is kept, up to 30 s."""
    run = Run(Script(in_turn(lambda ids: Answer(429, b"", 7.0), lambda ids: Answer(429, b"", 9999.0), all_stored)))
    settled = run.sender.send("t", documents(2))

    assert settled.stored == 2
    assert run.clock.slept == [7.0, 30.0]
    assert run.counted()["busy"] == 2


def test_unavailable_servers_are_asked_again():
    """5xx of the whole request, and of items, is tried until it works."""
    half = answer(STORED, {"status": 503, "error": {"type": "x"}})
    run = Run(Script(in_turn(lambda ids: Answer(503, b"no"), lambda ids: half, all_stored)))
    settled = run.sender.send("t", documents(2))

    assert settled.stored == 2
    assert (run.counted()["unavailable"], run.counted()["failed_items"]) == (1, 1)


def test_a_document_the_server_never_takes_is_rejected_with_its_reason():
    """Other 4xx are final; the others of the bulk are stored."""
    refused = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no date"}}
    run = Run(Script(lambda ids: answer(STORED, refused, STORED)))
    settled = run.sender.send("t", documents(3))

    assert settled.stored == 2
    assert settled.rejected == [Rejected(documents(3)[1], 400, "document_parsing_exception", "no date")]
    assert run.counters.counts["rejected"].detail == "400 document_parsing_exception no date"


def test_a_rejected_document_may_be_wanted_elsewhere():
    """What the caller has another place for is given back, and is no fault."""
    refused = {"status": 400, "error": {"type": "timestamp_error", "reason": "too old"}}
    run = Run(Script(lambda ids: answer(STORED, refused)))
    settled = run.sender.send("t", documents(2), elsewhere=lambda rejected: "too old" in rejected.reason)

    assert [one.item.id for one in settled.elsewhere] == ["id-1"]
    assert "rejected" not in run.counted()


def test_too_large_bodies_are_halved_until_they_fit():
    """413 splits in order; a document that alone is too large is rejected."""
    door = Script(lambda ids: all_stored(ids) if len(ids) <= 2 and "id-5" not in ids else Answer(413, b""))
    run = Run(door)
    settled = run.sender.send("t", documents(8))

    assert settled.stored == 7
    assert [(one.item.id, one.status, one.type) for one in settled.rejected] == [("id-5", 413, "too_large")]
    assert [ids[0] for ids in door.asked if len(ids) <= 2 and "id-5" not in ids] == ["id-0", "id-2", "id-4", "id-6"]


def test_a_body_that_cannot_be_read_is_halved_to_the_document_that_spoils_it():
    """400 of the whole request names no document: halving finds it."""
    run = Run(Script(lambda ids: Answer(400, b'{"error":{"type":"x","reason":"y"}}') if "id-3" in ids else all_stored(ids)))
    settled = run.sender.send("t", documents(8))

    assert settled.stored == 7
    assert [(one.item.id, one.reason) for one in settled.rejected] == [("id-3", "y")]


def test_the_document_that_is_never_answered_is_found():
    """A server that hangs on one document of a bulk, and lives, loses that document alone: after three tries the bulk is halved."""
    door = Script(lambda ids: no_answer(ids) if "id-6" in ids else all_stored(ids))
    run = Run(door)
    settled = run.sender.send("t", documents(8))

    assert settled.stored == 7
    assert [(one.item.id, one.type) for one in settled.rejected] == [("id-6", "never_answered")]
    assert door.asked[:3] == [[f"id-{place}" for place in range(8)]] * 3


def test_a_server_that_is_down_never_makes_a_dead_letter():
    """Without an answer to anything, the same documents are sent again for as long as it takes."""
    door = Script(in_turn(*[no_answer] * 200, all_stored), alive=False)
    run = Run(door)
    settled = run.sender.send("t", documents(4))

    assert (settled.stored, settled.rejected) == (4, [])
    assert run.counted()["unanswered"] == 200
    assert {len(ids) for ids in door.asked} == {4}


def test_requests_that_did_not_go_out_say_nothing_of_the_documents():
    """A connection that breaks while sending is no sign of a poisoned document."""
    def cut_off(ids: list[str | None]) -> Answer:
        raise NoAnswer("broken pipe", sent=False)

    run = Run(Script(in_turn(*[cut_off] * 20, all_stored)))

    assert run.sender.send("t", documents(4)).rejected == []


@pytest.mark.parametrize("body", [
    b'{"errors":false,"items":[{"create":{"status":201}}]}',
    b'{"errors":true,"items":[{"create":{"status":201}}]}',
    b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"sta',
    b'{"errors":true,"items":[{"create":{"status":201}},{"create":{"sta',
    b'{"errors":false',
])
def test_short_and_torn_answers_are_no_answers(body):
    """An answer that speaks of fewer documents than were sent counts as none: everything is sent again."""
    door = Script(in_turn(lambda ids: Answer(200, body), lambda ids: answer({"status": 409, "error": {}}, STORED)))
    settled = Run(door).sender.send("t", documents(2))

    assert (settled.stored, settled.repeated) == (1, 1)
    assert len(door.asked) == 2


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"", b"[]", b'{"ok":true}',
                                  b'{"errors":true,"items":[{"create":{"result":"created"}}]}'])
def test_what_is_not_elasticsearch_is_said_so(body):
    """A proxy that answers 200 with something else makes no dead letters: a person has to look."""
    with pytest.raises(DeliveryRefused, match=r"Elasticsearch\?|not Elasticsearch"):
        Run(Script(lambda ids: Answer(200, body))).sender.send("t", documents(1))


@pytest.mark.parametrize(("given", "says"), [
    (Answer(401, b'{"error":{"type":"security_exception","reason":"unable to authenticate"}}'), "does not know the key"),
    (Answer(403, b'{"error":{"type":"security_exception","reason":"unauthorized"}}'), "may not write to t"),
    (Answer(404, b'{"error":{"type":"index_not_found_exception","reason":"no such index"}}'), "has no t"),
    (Answer(302, b""), "Is there a proxy in between"),
    (answer({"status": 401, "error": {"type": "security_exception", "reason": "x"}}), "does not know the key"),
    (answer({"status": 403, "error": {"type": "cluster_block_exception", "reason": "read-only"}}), "read-only"),
    (answer({"status": 404, "error": {"type": "index_not_found_exception", "reason": "no such index"}}), "has no t"),
])
def test_what_concerns_every_document_stops_the_sending(given, says):
    """Key, privilege, template and blocks are for a person to mend; nothing is rejected meanwhile."""
    run = Run(Script(lambda ids: given))
    with pytest.raises(DeliveryRefused, match=says):
        run.sender.send("t", documents(1))

    assert run.counted()["refused"] == 1


def test_the_failure_store_is_counted():
    """A document that went to the failure store is stored, and counted apart."""
    kept = {"status": 201, "failure_store": "used"}
    run = Run(Script(lambda ids: Answer(200, answer(STORED, kept).body)))

    assert run.sender.send("t", documents(2)).stored == 2
    assert (run.counted()["stored"], run.counted()["failure_store"]) == (2, 1)


def test_a_patience_ends():
    """With a patience the sender gives up after that long without progress, and loses nothing."""
    run = Run(Script(no_answer, alive=False), patience_s=60.0)
    with pytest.raises(DeliveryTimeout, match="Nothing is lost"):
        run.sender.send("t", documents(1))

    assert 60 <= sum(run.clock.slept) < 120


def test_a_deletion_of_nothing_is_done():
    """404 without an error answers a deletion of what is not there."""
    class Deleting(Script):
        def post_bulk(self, target: str, body: bytes) -> Answer:
            assert body == b'{"delete":{"_id":"id-0"}}\n'
            return Answer(200, b'{"errors":false,"items":[{"delete":{"status":404}}]}')

    assert Run(Deleting(all_stored)).sender.send("t", [Outgoing("id-0", b"")], "delete").stored == 1


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.binary(max_size=20).map(lambda data: b'"%b"' % data.hex().encode())),
                max_size=30),
       st.sampled_from(["create", "index", "delete"]))
def test_bodies_say_what_was_meant(items, operation):
    """Whatever is in an id, the action lines are JSON with just that id, and each document stands behind its own."""
    with contextlib.suppress(UnicodeEncodeError):
        body = encode([Outgoing(*item) for item in items], operation)
        rows = body.split(b"\n")
        assert rows.pop() == b""
        found = []
        while rows:
            about = json.loads(rows.pop(0))
            found.append((about[operation].get("_id"), b"" if operation == "delete" else rows.pop(0)))
        assert found == [(name, b"" if operation == "delete" else document) for name, document in items]


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(64, 1000))
def test_cutting_keeps_order_and_bounds(sizes, most_bytes):
    """Every document is in one bulk, in order; a bulk of several stays below the limit."""
    items = [Outgoing(str(place), b"x" * size) for place, size in enumerate(sizes)]
    parts = list(cut(items, most_bytes))

    assert [item for part in parts for item in part] == items
    assert all(len(part) == 1 or sum(len(item.document) + 64 for item in part) <= most_bytes for part in parts)
    assert all(parts)


def test_a_large_send_is_cut_into_bulks():
    """No body is much larger than it should be."""
    door = Script(all_stored)
    Run(door).sender.send("t", [Outgoing(str(place), b'{"x":"%b"}' % (b"y" * 100_000)) for place in range(100)])

    assert len(door.asked) == -(-100 * 100_072 // MOST_BYTES)


def test_dead_letters_keep_document_reason_and_place(tmp_path):
    """Each rejected document stands in the file with what was said of it, as JSON where it is JSON."""
    letters = DeadLetters(tmp_path / "dead.ndjson", HeldClock())
    letters.keep("t", [Rejected(Outgoing("a", b'{"x":1}'), 400, "k", "r"),
                       Rejected(Outgoing(None, b'{"x":NaN}\xff'), 0, "never_answered", "")])

    one, two = letters.read()
    assert one == {"@timestamp": "2026-01-01T00:00:00Z", "target": "t", "id": "a", "status": 400, "error.type": "k", "error.reason": "r",
                   "document": {"x": 1}}
    assert two["document"] == '{"x":NaN}\\xff'
    assert letters.count() == 2


@contextlib.contextmanager
def disk_of(most_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_leaves_the_dead_letters_as_they_were(tmp_path):
    """Nothing half-written stays, and the caller is told that the documents are not settled."""
    letters = DeadLetters(tmp_path / "dead.ndjson", HeldClock())
    letters.keep("t", [Rejected(Outgoing("a", b"{}"), 400, "k", "r")])
    before = letters.path.read_bytes()
    with disk_of(len(before) + 50), pytest.raises(DeadLetterError, match="Make room"):
        letters.keep("t", [Rejected(Outgoing("b", b'{"x":"%b"}' % (b"y" * 1000)), 400, "k", "r")])

    assert letters.path.read_bytes() == before


def test_counts_add_up_in_the_file(tmp_path):
    """Several processes add to one file; damaged files begin anew."""
    counters = Counters(HeldClock())
    ledger = Ledger(tmp_path / "counts.json")
    counters.add("stored", 2)
    counters.add("rejected", detail="why\nnot")
    ledger.add(counters.take())
    counters.add("stored", 3)
    ledger.add(counters.take())

    assert (ledger.read()["stored"].number, ledger.read()["rejected"].detail) == (5, "why not")
    assert counters.counts == {}
    ledger.path.write_text("{")
    assert ledger.read() == {}


def test_unknown_counts_are_refused():
    """A count without a meaning could never be explained."""
    with pytest.raises(KeyError):
        Counters(HeldClock()).add("novel")
    assert all(meaning for meaning, _ in MEANINGS.values())


needs_sink = pytest.mark.skipif(bulk_sink.missing() is not None, reason=str(bulk_sink.missing()))


@pytest.fixture(scope="module")
def sink(tmp_path_factory) -> Iterator[Sink]:
    with bulk_sink.running(bulk_sink.build(tmp_path_factory.mktemp("sink"))) as one:
        yield one


def send(sink: Sink, number: int, *, times: int = 1) -> tuple[list[Rejected], dict[str, int]]:
    """Send numbered documents over a real connection."""
    sink.reset()
    door = HttpDoor(sink.url, lambda: Access())
    counters = Counters(SYSTEM_CLOCK)
    sender = Sender(door, counters, SYSTEM_CLOCK)
    items = [Outgoing(f"id-{place:06d}", b'{"@timestamp":"2026-01-01T00:00:00Z","rank":%d,"m":"%b"}' % (place, b"x" * 200))
             for place in range(number)]
    rejected = []
    for _ in range(times):
        for begin in range(0, number, 2000):
            rejected += sender.send("logs-x-default", items[begin:begin + 2000]).rejected
    door.close()
    return rejected, {name: count.number for name, count in counters.counts.items()}


@needs_sink
def test_a_real_server_without_faults(sink):
    """Everything is stored once; a second time everything is a repeat."""
    _, counted = send(sink, 5000, times=2)

    found = sink.stats()
    assert (found["unique"], found["duplicates"]) == (5000, 0)
    assert (counted["stored"], counted["repeated"]) == (5000, 5000)


@needs_sink
@pytest.mark.parametrize("faults", [
    {"reject_items": 0.1}, {"unavailable_every": 3}, {"busy_every": 3}, {"drop_every": 3}, {"max_body": 100_000},
    {"reject_items": 0.1, "refuse_every": 1000, "unavailable_every": 10, "drop_every": 13}], ids=lambda faults: " ".join(faults))
def test_a_real_server_with_faults(sink, faults):
    """Under each fault, and under all of them, nothing is lost and nothing doubled."""
    quiet = dict.fromkeys(("reject_items", "refuse_every", "unavailable_every", "busy_every", "drop_every"), 0) | {"max_body": 100 << 20}
    sink.faults(**(quiet | faults))
    try:
        rejected, _ = send(sink, 10_000)
        found = sink.stats()
    finally:
        sink.faults(**quiet)

    refused = 10 if "refuse_every" in faults else 0
    assert (found["unique"], found["duplicates"], len(rejected)) == (10_000 - refused, 0, refused)


def test_the_sender_takes_whatever_has_id_and_document(tmp_path: Path):
    """Items of the agent are sent as they are."""
    from shippers.items import Item

    door = Script(all_stored)

    assert Run(door).sender.send("t", [Item("log", "a", b"{}")]).stored == 1
    assert door.asked == [["a"]]
