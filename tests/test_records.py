"""Records are strict when made and survive every way through Arrow."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint import fields, records
from pinchpoint.errors import RecordError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGER = st.integers(-(2**63), 2**63 - 1)
VALUES = {
    "time": INTEGER,
    "text": TEXT,
    "integer": INTEGER,
    "number": st.floats(width=64),
    "numbers": st.dictionaries(TEXT, st.floats(width=64), max_size=3).map(lambda pairs: list(pairs.items())),
    "texts": st.dictionaries(TEXT, TEXT, max_size=3).map(lambda pairs: list(pairs.items())),
    "slow_steps": st.lists(st.fixed_dictionaries({"step": INTEGER, "duration_s": st.floats(0, 1e6), "phase": TEXT}), max_size=2),
    "document": TEXT,
}


@st.composite
def any_batch(draw):
    """A batch of any kind with any of its columns, holes included."""
    kind = draw(st.sampled_from(sorted(fields.KINDS)))
    length = draw(st.integers(0, 4))
    columns = {"@timestamp": draw(st.lists(INTEGER, min_size=length, max_size=length))}
    for name in draw(st.lists(st.sampled_from(fields.KINDS[kind][1:]), unique=True, max_size=6)):
        value = st.none() | VALUES[fields.FIELDS[name].type]
        columns[name] = draw(st.lists(value, min_size=length, max_size=length))
    return kind, columns, records.batch(kind, columns)


def same(one, other):
    """Equal, where NaN equals NaN but not None."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(any_batch())
def test_a_batch_survives_arrow_ipc(made):
    """What is written as an Arrow stream is read back value by value: None stays None and NaN stays NaN."""
    kind, columns, batch = made
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    table = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert table.schema.equals(records.schema(kind))
    for name, values in columns.items():
        got = table.column(name).cast(pa.int64()).to_pylist() if fields.FIELDS[name].type == "time" else table.column(name).to_pylist()
        assert same(got, values), name


@given(any_batch())
def test_columns_that_were_left_out_are_null(made):
    """A column nobody gave cannot be measured: it is null, not zero."""
    kind, columns, batch = made
    for name in fields.KINDS[kind]:
        if name not in columns:
            assert batch.column(name).null_count == batch.num_rows


@given(any_batch())
def test_conform_leaves_a_conforming_batch_alone(made):
    """A batch of the schema of its kind is given back as it is, and one with fewer columns gets the others."""
    kind, columns, batch = made
    assert records.conform(kind, batch) is batch
    made_whole = records.conform(kind, batch.select(list(columns)))
    assert made_whole.schema.equals(batch.schema)
    for name in batch.schema.names:
        one, other = (each.column(name).cast(pa.int64()) if fields.FIELDS[name].type == "time" else each.column(name)
                      for each in (made_whole, batch))
        assert same(one.to_pylist(), other.to_pylist()), name


@pytest.mark.parametrize(
    ("kind", "columns", "says"),
    [
        ("stepp", {"@timestamp": [0]}, "unknown kind of record 'stepp'"),
        ("step", {"@timestamp": [0], "duration": [1.0]}, "a step record has no field 'duration'"),
        ("step", {"rank": [0]}, "a step record needs '@timestamp'"),
        ("step", {"@timestamp": [None]}, "step.@timestamp: a time is missing"),
        ("step", {"@timestamp": [0, 1], "rank": [0]}, "step.rank: 1 values for 2 records"),
        ("step", {"@timestamp": [0], "rank": ["three"]}, "step.rank: expected integer"),
        ("step", {"@timestamp": [0], "rank": [0.5]}, "step.rank: expected integer"),
        ("step", {"@timestamp": [0], "step": [2**63]}, "step.step: expected integer"),
        ("step", {"@timestamp": [0], "duration_s": ["fast"]}, "step.duration_s: expected number"),
        ("log", {"@timestamp": [0], "message": [3]}, "log.message: expected text"),
        ("metric", {"@timestamp": [0], "metrics": [[("cpu", "high")]]}, "metric.metrics: expected numbers"),
        ("log", {"@timestamp": ["yesterday"]}, "log.@timestamp: expected time"),
    ],
)
def test_what_does_not_fit_is_refused(kind, columns, says):
    """A record that does not fit its schema is refused with its kind and field."""
    with pytest.raises(RecordError) as refused:
        records.batch(kind, columns)
    assert says in str(refused.value)


@pytest.mark.parametrize("values", [[1, 2], np.array([1, 2]), pa.array([1, 2]), pa.chunked_array([[1], [2]])])
def test_columns_come_as_lists_numpy_or_arrow(values):
    """The same column in any form makes the same batch."""
    assert records.batch("step", {"@timestamp": values, "rank": values}).column("rank").to_pylist() == [1, 2]


def test_a_schema_of_some_columns_keeps_their_order():
    """Asked-for columns come in the order asked for; unknown ones are refused."""
    assert records.schema("step", ["step", "rank"]).names == ["step", "rank"]
    with pytest.raises(RecordError, match="a step record has no field 'cpu'"):
        records.schema("step", ["cpu"])


def test_no_batches_make_an_empty_table():
    """The table of nothing has the columns of its kind."""
    table = records.concat("event", [])
    assert (table.num_rows, table.schema) == (0, records.schema("event"))


@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=4))
def test_a_content_id_is_of_its_parts_alone(parts, others):
    """Equal parts give equal ids; parts that differ in content or in where they are divided do not."""
    if "\x1f" in "".join([*parts, *others]):
        return
    assert (records.content_id(*parts) == records.content_id(*others)) == (parts == others)
