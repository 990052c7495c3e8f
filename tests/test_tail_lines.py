"""Lines of every format become documents that are valid JSON, with each key once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tailing import Agent, messages

from pinchpoint.delivery.documents import cut, encode
from shippers.items import LogItems
from shippers.redact import Redactor, redact
from shippers.tail.enrichment import Enrichment
from shippers.tail.framing import Framed, text_of
from shippers.tail.lines import LineParser
from shippers.tail.registry import Log
from shippers.tail.settings import FileSet

T = "2026-01-01T00:00:00Z"


def strict(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a key given twice: {names}"
    return dict(pairs)


def parse(*lines, path="/var/log/app.log", final=True, constants=None, **options):
    """The documents of some lines, checked to be strict JSON, without what every document has."""
    files = FileSet((path,), **options)
    parser = LineParser(Enrichment(Log("f" * 8, path, (1, 2)), files, constants or {}), files, redact)
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    (offsets, body), waiting = parser.parse(Framed(text_of(lines), [len(line) + 1 for line in lines], starts, 0), T, final=final)
    found = []
    for offset, (_, id_, document) in zip(offsets, LogItems(body, len(offsets)), strict=True):
        assert id_ == f"ffffffff-{offset:012x}"
        assert b"\n" not in document
        record = json.loads(document.decode("utf-8"), object_pairs_hook=strict, parse_constant=pytest.fail)
        assert record.pop("event.id") == f"ffffffff-{offset:012x}"
        assert (record.pop("log.offset"), record.pop("log.file.path")) == (offset, path)
        found.append(record)
    parse.waiting, parse.parser = waiting, parser
    return found


def one(*lines, **options):
    (record,) = parse(*lines, **options)
    return record


ECS = '{"@timestamp":"2026-01-01T10:00:00.123Z","log":{"level":"INFO","logger":"train"},"message":"step 3","process":{"pid":7},"seq":12}'


def test_ecs():
    """Keys of the schema become fields, nested ones by their dotted name; all others become labels, as text."""
    expected = {"@timestamp": "2026-01-01T10:00:00.123Z", "log.level": "info", "message": "step 3", "process.pid": 7,
                "labels": {"log.logger": "train", "seq": "12"}}

    assert expected == one(ECS)


@pytest.mark.parametrize("line", [
    ECS, ECS.replace('":', '": ').replace(",", ", "), '{"message":"a \\"quoted\\" text\\n","rank":3,"x":1.5,"labels":{"a":"b"}}',
    '{"message":"ü €","host.name":"n1","ok":true,"no":false}', '{"message":"\\u00e9","n":null,"list":[1,{"a":2}]}',
    '{"time":"2026-01-01T10:00:00Z","msg":"aliases","levelname":"WARN","extra":{"deep":{"er":1}}}',
    '{"@timestamp":"2026-01-01T10:00:00+02:00","message":"zone"}', '{"message":"no time","rank":"3"}',
    '{"message":"two names","msg":"for one","level":"info","log.level":"error"}', '{"a.b":1,"a":{"b":2}}', "{}",
    '{"message":{"not":"text"}}',
    '{"rank":1.5,"process.pid":-1,"run.id":5}', '{"labels":"no object","message":"x"}',
    '{"event.id":"theirs","log.offset":9,"kind":"metric"}', '{"x%sy%d%%":"100%","message":"50% done"}',
    '{"message":""}', '{"":"empty","message":"x"}', '{"labels":{"a":1},"a":2,"message":"x"}'])
@pytest.mark.parametrize("repeats", [2, 12])
def test_shapes_give_what_the_parser_gives(line, repeats):
    """A line that goes through a shape comes out as from the parser, whatever it holds."""
    alone = FileSet(("/a",))
    log = LineParser(Enrichment(Log("f" * 8, "/var/log/app.log", (1, 2)), alone, {"host.name": "h"}), alone, redact)
    slow = json.loads(log._clean_one(0, line.encode()))
    for name in ("event.id", "log.offset", "log.file.path"):
        del slow[name]
    if "@timestamp" not in json.loads(line) and "time" not in json.loads(line):
        slow["@timestamp"] = T

    assert [slow] * repeats == parse(*[line] * repeats, constants={"host.name": "h"})


@pytest.mark.parametrize("odd", [
    *(ECS.replace("step 3", text) for text in ("tab\there", "a\nb", "\\ud800", "\\x")),
    *(ECS.replace('"seq":12', f'"seq":{number}') for number in ("01", "1e", "-1", "[1]")),
    ECS.replace("10:00", "25:00"), ECS + "}", "x" + ECS])
def test_odd_lines_among_many_of_a_shape(odd):
    """A line that is nearly of the shape of its neighbours is seen, wherever it stands, and spoils none of them."""
    lines = [ECS.replace("step 3", f"step {number}") for number in range(400)]
    lines[200:200] = odd.split("\n")
    alone = [record for line in odd.split("\n") for record in parse(line)]
    found = parse(*lines)

    assert [f"step {number}" for number in range(400)] == messages(found[:200] + found[200 + len(alone):])
    assert alone == found[200:200 + len(alone)]


def test_values_that_hardly_change():
    """Values that are the same in many lines, and levels as programs spell them, arrive with the line that they belong to."""
    lines = [json.dumps({"level": "WARN" if number == 300 else "Info", "message": "m", "ok": number != 301,
                         "x": "b" if number == 302 else "a", "n": number // 200}) for number in range(600)]
    found = parse(*lines)

    assert [number for number, record in enumerate(found) if record["log.level"] == "warning"] == [300]
    assert {"info", "warning"} == {record["log.level"] for record in found}
    assert [number for number, record in enumerate(found) if record["labels"]["ok"] == "false"] == [301]
    assert [number for number, record in enumerate(found) if record["labels"]["x"] == "b"] == [302]
    assert [number // 200 for number in range(600)] == [int(record["labels"]["n"]) for record in found]


@pytest.mark.parametrize("secret", ["password=hunter2", "token: hunter2", "Bearer hunter2hunter2", "https://me:hunter2@host/"])
@pytest.mark.parametrize("place", [0, 150, 299])
def test_a_secret_among_many_lines(secret, place):
    """One secret among lines without any is found, in a message and in a value that was short and plain before."""
    for name in ("message", "user"):
        records = [{"message": f"step {number}", "user": "bob"} for number in range(300)]
        records[place][name] = secret
        lines = map(json.dumps, records)

        assert "hunter2" not in json.dumps(parse(*lines))


def test_own_patterns_see_every_value():
    """A pattern of the user is looked for in values that are plain numbers too."""
    files = FileSet(("/a",))
    parser = LineParser(Enrichment(Log("f" * 8, "/a", (1, 2)), files, {}), files, Redactor([r"4111\d{12}"]))
    lines = [b'{"message":"paid","card":"%d"}' % (4111_000011112222 if number == 150 else number) for number in range(300)]
    (_, body), _ = parser.parse(Framed(text_of(lines), [len(line) + 1 for line in lines], list(range(300)), 0), T, final=True)

    assert b"4111" not in body


def test_items_are_those_of_the_body():
    """Records that are looked at one by one are those that a bulk holds as a whole."""
    files = FileSet(("/a",))
    parser = LineParser(Enrichment(Log("f" * 8, "/a", (1, 2)), files, {}), files, redact)
    lines = [ECS.encode(), b"text", ECS.encode()]
    (starts, body), _ = parser.parse(Framed(text_of(lines), [len(line) + 1 for line in lines], [0, 200, 300], 0), T, final=True)
    items = LogItems(body, len(starts))

    assert body == encode(items) == encode(list(items))
    assert [items] == list(cut(items, len(body)))
    assert [[items[0]], [items[1]], [items[2]]] == list(cut(items, 1))


def test_mixed_lines_keep_their_order():
    """Shapes, other JSON and text may alternate."""
    lines = [f'{{"level":"{"info" if number % 3 else "WARNING"}","message":"{number}","rank":{number}}}' if number % 5 else f"text {number}"
             for number in range(100)]
    found = parse(*lines)

    assert [str(number) if number % 5 else f"text {number}" for number in range(100)] == messages(found)
    assert {"info", "warning"} == {record["log.level"] for record in found if "log.level" in record}


@pytest.mark.parametrize("line", [
    '{"message":"x","a":NaN}', '{"message":"x"', '{"message":"x"}}', '{"message":"tab\there"}', '{"a":Infinity}', "[1,2]", '"text"', "7",
    "{" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, '{"message":"x\x00y"}', '{"a":1e}', "{'a':1}"])
def test_no_json(line):
    """What is no JSON object becomes the message, valid and unchanged."""
    assert line == one(line)["message"]
    assert line == parse(*[line] * 20)[-1]["message"]
    assert line == parse(ECS, line, ECS)[1]["message"]


def test_doubled_key():
    """Of a key that a line gives twice one stays."""
    record = one('{"message":"a","message":"b","x":1,"x":2}')

    assert (record["message"], record["labels"]) == ("b", {"x": "2"})
    assert parse('{"message":"a","x":1}', '{"message":"a","message":"b"}')[1]["message"] == "b"


def test_keys_that_the_agent_sets_too():
    """A line that brings host.name keeps its own, and the key comes once."""
    assert one('{"host":{"name":"theirs"},"message":"x"}', constants={"host.name": "ours"})["host.name"] == "theirs"
    found = parse(*['{"host.name":"theirs","message":"x"}'] * 3, constants={"host.name": "ours"})
    assert [record["host.name"] for record in found] == ["theirs"] * 3


@pytest.mark.parametrize("line", [b"caf\xe9", b'{"message":"caf\xe9"}', b"\xed\xa0\x80", b"\xff\xfe"])
def test_invalid_utf8(line):
    """Bytes that are no UTF-8 are replaced and counted."""
    assert "\ufffd" in one(line)["message"]
    assert parse.parser.invalid_utf8 == 1
    assert "\ufffd" in parse(ECS, ECS, line)[2]["message"]


def test_zero_bytes():
    """Zeros inside a line stay, escaped."""
    assert one(b"a\0b")["message"] == "a\0b"


@pytest.mark.parametrize(("text", "time", "level"), [
    ("2026-01-01T10:00:00.5Z INFO start", "2026-01-01T10:00:00.5Z", "info"),
    ("[2026-01-01 10:00:00,123+01:00] [WARNING] slow", "2026-01-01T09:00:00.123Z", "warning"),
    ("ERROR: no INFORMATION", T, "error"), ("INFORMATION only", T, None), ("2026-99-01T10:00:00Z x", T, None), ("step 3", T, None)])
def test_text(text, time, level):
    """A text line gives its time and level itself, or it has the time at which it was read, and no level."""
    record = one(text)

    assert (text, time, level) == (record["message"], record["@timestamp"], record.get("log.level"))


@pytest.mark.parametrize("value", ["2026-13-01T00:00:00Z", "yesterday", "", "2026-01-01T00:61:00Z", "2026-01-01T24:61:61Z", 5, True])
def test_times_that_are_none(value):
    """A time that is none is kept as a label, and the line has the time at which it was read."""
    for count in (1, 3):
        record = parse(*[json.dumps({"@timestamp": value, "message": "x"})] * count)[-1]

        assert record["@timestamp"] == T
        assert json.dumps(value).strip('"') == record["labels"]["@timestamp"]


@given(st.lists(st.sampled_from(["2026-01-01 10:00:00Z INFO ready", "[2026-01-01T10:00:00,5+01:00] step", "WARN slow", "[error] \t lost",
                                 'say "a","b"', "back\\", "\\", '"', "ü €", "\x7f\x1b[0m", "plain", "99 nothing",
                                 "x" * 130 + " ERROR late"]), min_size=1, max_size=40))
def test_lines_together_give_what_each_gives_alone(lines):
    """A block of text becomes the documents that its lines become one by one."""
    assert [one(line, format="text") for line in lines] == parse(*lines, format="text")


def test_a_private_key_across_reads():
    """The rest of a private key is hidden though its beginning came in an earlier read."""
    files = FileSet(("/var/log/app.log",))
    parser = LineParser(Enrichment(Log("f" * 8, "/var/log/app.log", (1, 2)), files, {}), files, redact)
    found = []
    for line in (b"-----BEGIN PRIVATE KEY-----\n", b"MIIEabcd\n", b"-----END PRIVATE KEY-----\n", b"after\n"):
        (offsets, body), _ = parser.parse(Framed(line, [len(line)], [0], 0), T, final=True)
        found += [json.loads(document)["message"] for _, _, document in LogItems(body, len(offsets))]

    assert found == ["-----BEGIN PRIVATE KEY-----[redacted]", "[redacted]", "[redacted]", "after"]


def test_logfmt():
    """Pairs become fields and labels."""
    expected = {"@timestamp": "2026-01-01T10:00:00Z", "log.level": "info", "message": 'a "b"', "labels": {"took": "3ms"}}

    assert expected == one('ts=2026-01-01T10:00:00Z level=INFO msg="a \\"b\\"" took=3ms')
    assert one("x=1", format="logfmt")["message"] == "x=1"


def test_secrets():
    """Secrets are gone from every path a line can take."""
    for lines in (["password=hunter2"], [ECS, ECS.replace("step 3", "token: hunter2 x")],
                  [ECS.replace('"seq":12', '"password":"hunter2"')] * 5, ["{broken token=hunter2"], ["level=info msg=x password=hunter2"]):
        assert "hunter2" not in json.dumps(parse(*lines))


TRACEBACK = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "    f()", "ValueError: no"]


def test_tracebacks():
    """A traceback is one record, with those it is chained to; what follows is another."""
    chained = [*TRACEBACK, "", "During handling of the above exception, another exception occurred:", "", *TRACEBACK]

    assert ["before", "\n".join(TRACEBACK), "after"] == messages(parse("before", *TRACEBACK, "after"))
    assert ["\n".join(chained), "after"] == messages(parse(*chained, "after"))
    assert ["\n".join(TRACEBACK)] * 2 == messages(parse(*TRACEBACK, *TRACEBACK))


def test_tracebacks_of_ranks():
    """The prefix that torchrun puts before each line does not split a traceback."""
    lines = [f"[rank3]: {line}" for line in TRACEBACK]

    assert ["\n".join(lines), "[rank1]: x"] == messages(parse(*lines, "[rank1]: x"))


@pytest.mark.parametrize("count", range(1, 5))
def test_unfinished_traceback_waits(count):
    """What may go on is not taken before it is complete, unless nothing more will come."""
    assert messages(parse("before", *TRACEBACK[:count], final=False)) == ["before"]
    assert count == parse.waiting
    assert len(parse("before", *TRACEBACK[:count], final=True)) == 2


def test_traceback_across_reads(tmp_path):
    """A traceback that is written slowly arrives as one record."""
    log = tmp_path / "app.log"
    agent = Agent(tmp_path / "state", log)
    for line in ("before", *TRACEBACK, "after"):
        with log.open("a") as file:
            file.write(line + "\n")
        agent.run(1)

    assert ["before", "\n".join(TRACEBACK), "after"] == messages(agent.documents[0])


def test_pattern_begins_records():
    """With a pattern every line that does not match belongs to the record before."""
    lines = ["[1] a", "b", "c", "[2] d"]

    assert messages(parse(*lines, multiline=r"^\[\d+\]")) == ["[1] a\nb\nc", "[2] d"]
    assert messages(parse(*lines, multiline=r"^\[\d+\]", final=False)) == ["[1] a\nb\nc"]


POD = "/var/log/pods/ml_train-0_8a1f/trainer/0.log"


def test_cri():
    """Lines of a pod carry its names; lines that the runtime cut are joined, streams apart."""
    found = parse("2026-01-01T10:00:00.5Z stdout P one ", "2026-01-01T10:00:01Z stderr F other", "2026-01-01T10:00:02Z stdout F two",
                  '2026-01-01T10:00:03Z stdout F {"message":"json","rank":3}', path=POD)

    assert messages(found) == ["one two", "other", "json"]
    assert (found[0]["@timestamp"], found[2]["rank"]) == ("2026-01-01T10:00:00.5Z", 3)
    assert found[0]["labels"] == {
        "orchestrator.namespace": "ml", "orchestrator.resource.type": "pod", "orchestrator.resource.name": "train-0",
        "orchestrator.resource.id": "8a1f", "container.name": "trainer", "stream": "stdout"}


def test_unfinished_container_line_waits():
    """A line of which the runtime has written only the beginning waits, and what came after it with it."""
    lines = ["2026-01-01T10:00:00Z stdout F one", "2026-01-01T10:00:01Z stdout P two", "2026-01-01T10:00:02Z stderr F three"]

    assert messages(parse(*lines, path=POD, final=False)) == ["one"]
    assert parse.waiting == 2
    assert messages(parse(*lines, path=POD)) == ["one", "two", "three"]


def test_docker():
    """Docker's JSON is unwrapped, lines it cut at 16 KiB are joined, and the path names the container."""
    path = f"/var/lib/docker/containers/{'ab' * 32}/{'ab' * 32}-json.log"
    found = parse('{"log":"one ","stream":"stdout","time":"2026-01-01T10:00:00Z"}',
                  '{"log":"two\\n","stream":"stdout","time":"2026-01-01T10:00:01Z"}', path=path)

    assert messages(found) == ["one two"]
    assert found[0]["labels"] == {"container.id": "ab" * 32, "stream": "stdout"}


def test_container_tracebacks():
    """A traceback in a container is one record too."""
    lines = [f"2026-01-01T10:00:00Z stderr F {line}" for line in (*TRACEBACK, "after")]

    assert ["\n".join(TRACEBACK), "after"] == messages(parse(*lines, path=POD))
    assert parse(*lines[:3], path=POD, final=False) == []
    assert parse.waiting == 3
