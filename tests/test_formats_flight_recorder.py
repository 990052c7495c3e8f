"""Dumps of the flight recorder: pickles are read and never run, and the state of each group comes out."""

import contextlib
import json
import pickle
import pickletools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.errors import InputError
from shippers.formats import flight_recorder, open_input
from shippers.formats.base import Reading
from shippers.formats.flight_entries import reduce_dump, spans
from shippers.formats.plain_pickle import load_plain

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.tuples(inner)
                   | st.dictionaries(st.text() | st.integers(), inner, max_size=5)),
    max_leaves=30)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_out_as_pickle_gives_it(value, protocol):
    """Whatever the protocol."""
    data = pickle.dumps(value, protocol)

    assert load_plain(data) == pickle.loads(data) == value
    assert load_plain(pickletools.optimize(data)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Evil(), {"entries": [Evil()]}, {1, 2}, b"bytes", print, 1 + 2j, Evil])
def test_what_is_more_than_plain_data_is_refused(value, protocol, capsys):
    """And nothing of it is run."""
    with pytest.raises(ValueError, match="is refused"):
        load_plain(pickle.dumps(value, protocol))
    assert capsys.readouterr().out == ""


@settings(max_examples=200)
@given(PLAIN, st.data())
def test_a_damaged_pickle_is_an_error_that_is_expected(value, data):
    """Every prefix, and every prefix with something else behind it."""
    whole = pickle.dumps(value, 4)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))] + data.draw(st.binary(max_size=8))
    with contextlib.suppress(ValueError):
        load_plain(cut)


def entry(seq, state="scheduled", group="7", op="nccl:all_reduce", **more):
    return {"record_id": seq, "pg_id": 3, "process_group": (group, "data parallel"), "collective_seq_id": seq, "p2p_seq_id": 0,
            "op_id": seq, "profiling_name": op, "time_created_ns": 1767225600 * 10**9 + seq, "input_sizes": ((4, 4),),
            "input_dtypes": ["Float"], "output_sizes": ((4, 4),), "output_dtypes": ["Float"], "state": state, "retired": False,
            "timeout_ms": 1000, "is_p2p": False, **more}


def dump(*entries, ranks="[0, 1]", **more):
    return {"version": "2.4", "pg_config": {"7": {"name": "7", "desc": "data parallel", "ranks": ranks}}, "entries": list(entries), **more}


def states(path):
    reading = open_input(path)
    ((kind, batch),) = list(reading)
    row = batch.to_pylist()[0]
    return kind, row, json.loads(dict(row["labels"])["flight_recorder"]), reading


def test_a_pickle_and_the_same_as_json_say_the_same(tmp_path):
    """As PyTorch writes them and as tools turn them into JSON."""
    document = dump(entry(4, "completed"), entry(5), entry(6))
    (tmp_path / "nccl_trace_rank_1").write_bytes(pickle.dumps(document, 2))
    (tmp_path / "rank_1.json").write_text(json.dumps(document))
    kind, row, state, reading = states(tmp_path / "nccl_trace_rank_1")
    assert states(tmp_path / "rank_1.json")[2] == state

    assert (kind, row["event.action"], row["rank"], row["event.reason"]) == ("event", "collectives", 1, "rank 1 waits in 2 collectives")
    assert (reading.reader, reading.rejected) == ("flight_recorder", 0)
    (group,) = state["groups"]
    assert {key: group[key] for key in ("name", "description", "ranks", "enqueued", "completed")} == {
        "name": "7", "description": "data parallel", "ranks": "0-1", "enqueued": 6, "completed": 4}
    assert [(one["seq"], one["op"], one["sizes"]) for one in group["open"]] == [
        (5, "all_reduce", "[[4, 4]]"), (6, "all_reduce", "[[4, 4]]")]


def test_a_trace_of_the_profiler_is_not_taken_for_a_dump():
    """It holds the groups of ranks too, in its distributedInfo."""
    trace = b'{"schemaVersion": 1, "distributedInfo": {"rank": 0, "pg_config": [], "nccl_version": "2.27"}, "traceEvents": []}'

    assert not flight_recorder.recognises(trace)


def test_the_status_names_groups_without_entries():
    """Where the rank's own numbers and the names of groups are in one order."""
    reading = Reading(None, "x", None)
    document = {"pg_config": {"0": {"ranks": [0, 1]}, "7": {"ranks": [0, 1]}}, "entries": [],
                "pg_status": {"0": {"last_enqueued_collective": 3, "last_completed_collective": 3},
                              "4": {"last_enqueued_collective": 9, "last_completed_collective": 8}}}

    assert [(one["name"], one["enqueued"], one["completed"]) for one in reduce_dump(document, reading).groups] == [("0", 3, 3), ("7", 9, 8)]


def test_the_rank_is_known_without_its_name_where_only_one_is_in_all_groups(tmp_path):
    """Else the file's name tells it, and without one there is an error that says so."""
    document = dump(entry(1), ranks="[5]")
    (tmp_path / "trace").write_text(json.dumps(document))
    assert states(tmp_path / "trace")[1]["rank"] == 5

    (tmp_path / "trace").write_text(json.dumps(dump(entry(1))))
    with pytest.raises(InputError, match="end the file's name with it"):
        states(tmp_path / "trace")


def test_entries_that_are_none_are_counted(tmp_path):
    """The others count."""
    path = tmp_path / "rank_0.json"
    path.write_text(json.dumps(dump(entry(1), {"state": "scheduled"}, 7, {**entry(2), "process_group": []})))
    *_, state, reading = states(path)

    assert reading.rejected == 3
    assert [one["seq"] for one in state["groups"][0]["open"]] == [1]


def test_a_pickle_with_code_in_it_is_an_input_that_cannot_be_read(tmp_path):
    """Named with what was refused."""
    path = tmp_path / "nccl_trace_rank_0"
    path.write_bytes(pickle.dumps({"pg_config": {}, "entries": [], "nccl_version": Evil()}, 2))

    with pytest.raises(InputError, match=r"GLOBAL is refused|REDUCE is refused"):
        list(open_input(path))


def test_every_prefix_of_a_dump_is_read_or_refused(tmp_path):
    """A dump that was cut never crashes."""
    path = tmp_path / "nccl_trace_rank_0"
    for whole in (pickle.dumps(dump(entry(1), entry(2)), 2), json.dumps(dump(entry(1))).encode()):
        assert flight_recorder.recognises(whole)
        for size in range(0, len(whole), 7):
            path.write_bytes(whole[:size])
            with contextlib.suppress(InputError):
                list(open_input(path, "flight_recorder"))


@given(st.sets(st.integers(0, 100)))
def test_spans_hold_what_went_in(ranks):
    """The reader in the analysis gives the ranks back."""
    from models.hang import ranks_of

    assert set(ranks_of(spans(sorted(ranks)))) == ranks
