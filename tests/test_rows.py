"""Rows of records: the fast way and the careful way agree, and what is odd in a file stays bounded."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint import fields
from pinchpoint.clock import parse_time
from pinchpoint.errors import InputError
from pinchpoint.rows import parse_row
from shippers.formats import open_input

STEP = {"kind": "step", "@timestamp": "2026-01-01T00:00:00Z", "run.id": "r", "rank": 3, "step": 17, "duration_s": 0.41}
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
VALUE = SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(st.text(max_size=3), SCALAR, max_size=2)
LINE = st.fixed_dictionaries({"kind": st.sampled_from(sorted(fields.KINDS)), "@timestamp": st.just("2026-01-01T00:00:00Z") | VALUE},
                             optional={name: VALUE for name in fields.FIELDS if name != "@timestamp"} | {"my own": VALUE})


def outcome(line):
    try:
        return parse_row(line)
    except ValueError:
        return None


@given(LINE)
@settings(max_examples=300)
def test_a_key_of_its_own_changes_nothing_but_the_labels(record):
    """A line that needs the careful way gives the row that it gives without the key that made it careful."""
    plain = outcome(json.dumps(record | {"event.id": "x"}).encode())
    careful = outcome(json.dumps(record | {"event.id": "x", "a key of its own": "1"}).encode())

    assert (plain is None) == (careful is None)
    if plain is not None:
        labels = f"c{fields.KINDS[record['kind']].index('labels')}"
        assert getattr(careful, labels).pop("a key of its own") == "1"
        setattr(careful, labels, getattr(careful, labels) or None)
        setattr(plain, labels, getattr(plain, labels) or None)
        assert plain == careful


@given(st.lists(LINE, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_record_is_read_or_counted(tmp_path_factory, lines):
    """Values of any type in any column, text that no UTF-8 can hold among them."""
    path = tmp_path_factory.mktemp("any") / "a"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reading = open_input(path, reader="records")
    read = sum(batch.num_rows for _, batch in reading)

    assert read + reading.rejected == len(lines)


TIMES = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.000000001Z", "2026-01-01 12:34:56,789",
         "2026-01-01T12:34", "2026-06-01T12:34:56.123456+02:00", "1969-12-31T23:59:59.9Z", "2026-01-01T00:00:00.1234567891Z"]


@pytest.mark.parametrize("text", TIMES)
def test_times_are_those_of_the_clock_module(text):
    """Whatever the number of digits and the zone."""
    assert parse_row(json.dumps(STEP | {"@timestamp": text}).encode()).c0 == parse_time(text)


@pytest.mark.parametrize("name", ["duration_s", "phase.data_wait_s", "overlap_s", "cpu_s"])
@pytest.mark.parametrize("value", [-0.001, 1e9 + 1])
def test_no_span_of_time_is_negative_or_endless(name, value):
    """A broken clock is told apart from a slow step."""
    with pytest.raises(ValueError, match=name):
        parse_row(json.dumps(STEP | {name: value}).encode())


def test_a_reason_names_the_field(tmp_path):
    """What is set aside can be mended by the one who reads it."""
    aside = tmp_path / "aside"
    (tmp_path / "a").write_text(json.dumps(STEP | {"rank": "three"}) + "\n" + json.dumps(STEP | {"kind": "stp"}) + "\n")
    list(open_input(tmp_path / "a", reader="records", rejected_to=aside))
    reasons = [line.split("\t")[0] for line in aside.read_text().splitlines()]

    assert reasons == ["Expected `int | null`, got `str` - at `$.rank`", "unknown kind 'stp'"]


def test_what_is_set_aside_is_bounded(tmp_path):
    """A file of nothing but garbage does not fill the disk a second time; all of it is counted."""
    aside = tmp_path / "aside"
    (tmp_path / "a").write_bytes((b"x" * 3000 + b"\n") * 2000)
    reading = open_input(tmp_path / "a", reader="records", rejected_to=aside)
    list(reading)

    assert reading.rejected == 2000
    assert aside.stat().st_size <= 1 << 20
    assert aside.read_bytes().count(b"\n") < 1000


def test_long_messages_come_in_small_batches(tmp_path):
    """Memory is bounded by bytes too, not by rows alone."""
    line = json.dumps({"kind": "log", "@timestamp": 0, "message": "x" * (1 << 19)})
    (tmp_path / "a").write_text(f"{line}\n" * 100)
    sizes = [batch.num_rows for _, batch in open_input(tmp_path / "a", reader="records")]

    assert sum(sizes) == 100
    assert max(sizes) <= 65


def test_a_damaged_compressed_file_is_read_as_far_as_it_goes(tmp_path):
    """With a note of what happened; one that is damaged before its first record is refused."""
    path = tmp_path / "a"
    whole = gzip.compress(b"".join(json.dumps(STEP | {"step": number, "event.id": f"{number}-{number ** 7}"}).encode() + b"\n"
                                   for number in range(20_000)))
    path.write_bytes(whole[: len(whole) // 2])
    reading = open_input(path)
    read = sum(batch.num_rows for _, batch in reading)

    assert read > 5000
    assert any("damaged" in note for note in reading.notes)
    path.write_bytes(whole[:12])
    with pytest.raises(InputError, match=str(path)):
        list(open_input(path, reader="records"))


def test_zeros_after_a_crash_cost_one_line(tmp_path):
    """A file system that lost its last block leaves zeros."""
    path = tmp_path / "a"
    path.write_bytes(json.dumps(STEP).encode() + b"\n" + b"\x00" * 4096 + b"\n" + json.dumps(STEP | {"step": 18}).encode() + b"\n")
    reading = open_input(path)

    assert sum(batch.num_rows for _, batch in reading) == 2
    assert reading.rejected == 1


def test_maps_keep_their_pairs_and_their_absence(tmp_path):
    """Rows with two readings, none and no map at all stay apart."""
    metric = {"kind": "metric", "@timestamp": 0, "entity.kind": "host"}
    lines = [metric | {"metrics": {"a": 1, "b": 2.5}}, metric, metric | {"metrics": {}}, metric | {"metrics": {"c": -3}}]
    (tmp_path / "a").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (_, batch), = open_input(tmp_path / "a")

    assert batch.column("metrics").to_pylist() == [[("a", 1.0), ("b", 2.5)], None, [], [("c", -3.0)]]
