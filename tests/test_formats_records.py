"""Records as NDJSON: what is good is read, what is not is counted and set aside."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.errors import InputError, UnknownFormat, UsageError
from shippers.formats import detect, open_input

STEP = {"kind": "step", "@timestamp": "2026-01-01T00:00:00Z", "run.id": "r", "rank": 3, "step": 17, "duration_s": 0.41,
        "phase.data_wait_s": 0.2}
METRIC = {"kind": "metric", "@timestamp": "2026-01-01T00:00:00Z", "entity.kind": "service", "entity.id": "carts", "metrics": {"cpu": 0.31}}


def write(path, *lines):
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n")
    return path


def rows(path, **options):
    reading = open_input(path, **options)
    return [(kind, row) for kind, batch in reading for row in batch.to_pylist()], reading


def test_a_record_of_each_kind_is_read(tmp_path):
    """Dotted keys become columns, metrics a map, times nanoseconds in UTC."""
    found, reading = rows(write(tmp_path / "a", STEP, METRIC))
    steps = [row for kind, row in found if kind == "step"]
    metrics = [row for kind, row in found if kind == "metric"]

    assert (steps[0]["rank"], steps[0]["phase.data_wait_s"], steps[0]["@timestamp"].value) == (3, 0.2, 1767225600 * 10**9)
    assert metrics[0]["metrics"] == [("cpu", 0.31)]
    assert (reading.records, reading.rejected) == (2, 0)


def test_unknown_keys_are_kept_as_labels(tmp_path):
    """Nothing that was shipped is thrown away."""
    found, _ = rows(write(tmp_path / "a", {**STEP, "loss": 2.5, "labels": {"team": "vision"}}))

    assert dict(found[0][1]["labels"]) == {"loss": "2.5", "team": "vision"}


def test_a_record_without_identity_gets_one_of_its_content(tmp_path):
    """The same line has the same id each time it is read."""
    first, _ = rows(write(tmp_path / "a", STEP))
    second, _ = rows(write(tmp_path / "b", STEP))

    assert first[0][1]["event.id"] == second[0][1]["event.id"]


BAD = {
    "not JSON": b"{nope", "not an object": b"[1, 2]", "no kind": {"@timestamp": 0}, "unknown kind": {**STEP, "kind": "stp"},
    "no time": {"kind": "step"}, "bad time": {**STEP, "@timestamp": "yesterday"}, "wrong type": {**STEP, "rank": "three"},
    "fraction for a whole number": {**STEP, "step": 1.5}, "negative duration": {**STEP, "duration_s": -1},
    "endless duration": {**STEP, "duration_s": 1e300}, "NUL bytes": b"\x00" * 100, "invalid UTF-8": b'{"kind": "log\xff"}',
    "deep nesting": b"[" * 100_000, "text in metrics": {**METRIC, "metrics": {"cpu": "high"}},
    "a number too large": {**STEP, "rank": 2**70}, "a long line": b'{"kind": "log", "message": "' + b"x" * (1 << 20) + b'"}',
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_what_is_no_record_is_counted_and_set_aside(tmp_path, line):
    """A bad line never costs the good ones around it."""
    aside = tmp_path / "aside"
    found, reading = rows(write(tmp_path / "a", STEP, line, METRIC), reader="records", rejected_to=aside)

    assert len(found) == 2
    assert reading.rejected == 1
    assert aside.read_bytes().count(b"\t") >= 1


def test_a_line_being_written_is_a_note_and_no_error(tmp_path):
    """A file that was taken while its process was killed ends in half a line."""
    path = write(tmp_path / "a", STEP)
    path.write_bytes(path.read_bytes() + b'{"kind": "step", "@times')
    found, reading = rows(path)

    assert (len(found), reading.rejected) == (1, 0)
    assert "incomplete" in reading.notes[0]


def test_gzip_is_unpacked_and_found_by_looking_inside(tmp_path):
    """The name of a file means nothing."""
    path = tmp_path / "readme.txt"
    path.write_bytes(gzip.compress(json.dumps(STEP).encode() + b"\n"))

    assert detect(path).name == "records"
    assert len(rows(path)[0]) == 1


def test_what_is_in_no_known_format_is_said_with_what_was_seen(tmp_path):
    """The error names the readers there are."""
    path = tmp_path / "a.json"
    path.write_text("hello")

    with pytest.raises(UnknownFormat, match=r"begins with b'hello'[\s\S]*records, .*torch_profiler"):
        open_input(path)
    with pytest.raises(UsageError, match="no reader 'kineto'"):
        open_input(path, reader="kineto")


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_no_bytes_whatsoever_end_in_anything_but_an_input_error(tmp_path_factory, data):
    """Any bytes are read as far as they go, or refused by name."""
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(data)
    for reader in ("records", "torch_profiler"):
        try:
            list(open_input(path, reader=reader))
        except InputError as error:
            assert str(path) in str(error)
