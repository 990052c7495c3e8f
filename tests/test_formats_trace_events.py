"""Events of a trace come out whole wherever its text is cut, and bad ones never cost the good ones around them."""

import gzip
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.errors import InputError
from shippers.formats import open_input
from shippers.formats.base import Reading
from shippers.formats.trace_about import About
from shippers.formats.trace_events import Event, _Parser, read_events

NASTY = st.text(st.sampled_from('},{[]": \\x\n'), max_size=12)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
KEY = st.text(max_size=5) | NASTY
ANYTHING = st.recursive(SCALAR, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEY, below, max_size=4), max_leaves=12)
EVENT = st.fixed_dictionaries(
    {"ph": st.just("X"), "name": NASTY, "cat": st.just("kernel"), "ts": st.integers(0, 1000), "dur": st.integers(0, 9)},
    optional={"args": st.dictionaries(NASTY, ANYTHING, max_size=3)})


def kernel(name, start=0.0, **more):
    return {"ph": "X", "name": name, "cat": "kernel", "ts": start, "dur": 1.0, **more}


def read(path, data):
    path.write_bytes(data)
    about = About()
    reading = Reading(path, "torch_profiler", lambda *_: iter(()))
    return [event for events in read_events(path, reading, about, Event) for event in events], reading, about


def reading_of_nothing(tmp_path_factory):
    return Reading(tmp_path_factory.getbasetemp() / "none", "torch_profiler", lambda *_: iter(()))


@given(st.lists(EVENT, min_size=1, max_size=6), st.data(), st.sampled_from([",", ", ", " ,\n "]))
@settings(max_examples=200, deadline=None)
def test_events_are_the_same_wherever_the_text_is_cut(tmp_path_factory, items, data, comma):
    """Boundaries inside strings, nested lists and arguments are no boundaries between events."""
    text = comma.join(json.dumps(item) for item in items).encode()
    cut = data.draw(st.integers(0, len(text)))
    parser = _Parser(reading_of_nothing(tmp_path_factory), Event)
    pending = bytearray(text[:cut])
    found = list(parser.take(pending) or [])
    pending += text[cut:] + b"], \"traceName\": \"x\"}"
    found += parser.take_rest(pending)

    assert [(one.name, one.ts, one.dur) for one in found] == [(one["name"], one["ts"], one["dur"]) for one in items]
    assert parser.ended
    assert bytes(pending) == b", \"traceName\": \"x\"}"


@given(ANYTHING, st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_json_whatsoever_ends_in_anything_but_an_input_error(tmp_path_factory, value, as_events):
    """Any value in the place of a trace, and any in the place of its events."""
    path = tmp_path_factory.mktemp("json") / "t"
    path.write_text(json.dumps({"traceEvents": value} if as_events else value))
    try:
        list(open_input(path, reader="torch_profiler"))
    except InputError as error:
        assert str(path) in str(error)


@given(st.dictionaries(st.sampled_from(["ph", "name", "cat", "ts", "dur", "args"]), ANYTHING | st.floats(), max_size=6))
@settings(max_examples=200, deadline=None)
def test_an_event_of_any_shape_leaves_the_others_alone(tmp_path_factory, odd):
    """Wrong types, NaN and infinite times are counted at most."""
    path = tmp_path_factory.mktemp("odd") / "t"
    path.write_text(json.dumps({"traceEvents": [kernel("a"), odd, kernel("b", 5.0)]}))
    reading = open_input(path, reader="torch_profiler")
    metrics = dict(dict(reading)["metric"].to_pylist()[0]["metrics"])

    assert metrics["trace.kernels"] >= 2
    assert reading.rejected <= 1


@given(st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_a_cut_compressed_trace_is_read_or_refused(tmp_path_factory, length):
    """What was unpacked before the damage counts."""
    path = tmp_path_factory.mktemp("cut") / "t"
    document = {"traceEvents": [kernel(f"k{number}", float(number)) for number in range(40)]}
    path.write_bytes(gzip.compress(json.dumps(document).encode())[:length])
    try:
        list(open_input(path, reader="torch_profiler"))
    except InputError as error:
        assert str(path) in str(error)


BAD = {
    "no JSON": b'{"ph": "X", "name": oops}',
    "invalid UTF-8 in a key": b'{"ph": "X", "na\xffme": nope}',
    "half a surrogate": b'{"ph": "X", "name": "\\ud800"}',
    "an escape that is none": b'{"ph": "X", "name": "C:\\Users"}',
    "deep nesting": b'{"ph": "X", "args": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "a missing comma": b'{"ph": "X" "name": "a"}',
    "zeros": b"\x00" * 512,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_what_is_no_json_is_rejected_and_the_rest_is_read(tmp_path, bad, place):
    """One broken event in a list of good ones costs itself, and at most its neighbours, when nothing tells where it begins."""
    args = {"Input Dims": [[1], []], "l": [{"a": 1}, {"b": 2}]}
    parts = [json.dumps(kernel(f"k{number}", args=args)).encode() for number in range(20)]
    parts.insert({"first": 0, "middle": 10, "last": 20}[place], bad)
    events, reading, about = read(tmp_path / "t", b'{"traceEvents": [' + b", ".join(parts) + b'], "distributedInfo": {"rank": 5}}')

    assert len(events) >= 18
    assert 1 <= reading.rejected <= 2
    assert about.rank == 5
    assert reading.notes == []


def test_numbers_that_are_none_do_not_cost_their_event(tmp_path):
    """NaN and Infinity are no JSON, but profilers have written them."""
    text = json.dumps([kernel("a", args={"bandwidth": float("inf"), "occupancy": float("nan")}), kernel("b")])
    events, reading, _ = read(tmp_path / "t", text.encode())

    assert [event.name for event in events] == ["a", "b"]
    assert reading.rejected == 0


def test_invalid_text_in_a_name_is_replaced(tmp_path):
    """A kernel whose name is no UTF-8 still ran."""
    events, reading, _ = read(tmp_path / "t", b'[{"ph": "X", "name": "a\xff", "cat": "kernel", "ts": 1, "dur": 1}]')

    assert events[0].name == "a�"
    assert reading.rejected == 0


def test_a_long_event_full_of_boundaries_is_read(tmp_path):
    """Nested lists of a size beyond any piece delay the cut, and are gone through in bounded time."""
    long = kernel("long", args={"stack": [{"frame": number} for number in range(600_000)]})
    began = time.monotonic()
    events, reading, _ = read(tmp_path / "t", json.dumps({"traceEvents": [kernel("a"), long, kernel("b")]}).encode())

    assert [event.name for event in events] == ["a", "long", "b"]
    assert reading.rejected == 0
    assert time.monotonic() - began < 30


HUGE = {
    "a text that never ends, full of boundaries": b'{"traceEvents":[{"name":"' + b"},{" * 22_500_000,
    "a list of things that are no JSON": b'{"traceEvents":[' + b'{"ph":x},' * 1_000_000,
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_large_hostile_files_are_refused_in_bounded_time(tmp_path, data):
    """Going through every boundary, or through every broken item, would take minutes."""
    began = time.monotonic()
    with pytest.raises(InputError, match="no profiler trace"):
        read(tmp_path / "t", data)

    assert time.monotonic() - began < 30


def test_what_a_trace_says_of_itself_is_found_before_and_behind_its_events(tmp_path):
    """Old profilers write it first, new ones last, behind which more may follow."""
    events = json.dumps([kernel("a")]).encode()
    about = b'"distributedInfo": {"pg_config": [{"ranks": [0]}], "rank": 1, "world_size": 2}, "baseTimeNanoseconds": 17'
    before = read(tmp_path / "a", b"{" + about + b', "traceEvents": ' + events + b"}")
    samples = b'"samples": [' + b'{"x": 1},' * 500_000 + b"{}], "
    behind = read(tmp_path / "b", b'{"traceEvents": ' + events + b", " + samples + about + b"}")

    for found, reading, said in (before, behind):
        assert len(found) == 1
        assert (said.rank, said.world_size, said.base_ns) == (1, 2, 17)
        assert reading.notes == []


def test_a_second_list_of_events_is_not_passed_over_in_silence(tmp_path):
    """Two traces in one file: the first is read, and it is said that there is more."""
    one = json.dumps({"traceEvents": [kernel("a")]}).encode()
    events, reading, _ = read(tmp_path / "t", one + b"\n" + one)

    assert len(events) == 1
    assert any("behind the end" in note for note in reading.notes)


def test_what_unpacks_to_hundreds_of_times_its_size_ends_early(tmp_path):
    """A list of the same event without end is no recording."""
    path = tmp_path / "t"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b'{"traceEvents": [')
        for _ in range(90):
            file.write((b'{"ph": "M", "name": "' + b"a" * 1000 + b'"},') * 1024)
    _, reading, _ = read(path, path.read_bytes())

    assert any("times its size" in note for note in reading.notes)
