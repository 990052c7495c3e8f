"""Finding repeated records among columns."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint.store.repeats import first_of_each, hash_texts, last_of_each

ODD = 0x9E3779B97F4A7C15
ids = st.one_of(st.none(), st.sampled_from(["a", "b", "ab", ""]), st.text(max_size=20))
rows = st.lists(st.tuples(ids, st.sampled_from([0, 1, -1, 2**63 - 1]), st.integers(1, 3)), max_size=30)


def columns(rows):
    return (pa.array([name for name, _, _ in rows], pa.string()), np.array([time for _, time, _ in rows], np.int64),
            np.array([version for _, _, version in rows], np.int64))


def kept(mask, size):
    return list(range(size)) if mask is None else np.flatnonzero(mask).tolist()


@given(rows)
def test_the_first_of_each_is_kept(rows):
    """As a dictionary would find them; records without an id stay."""
    names, times, _ = columns(rows)
    first = {}
    for place, (name, time, _) in enumerate(rows):
        first.setdefault((name, time) if name is not None else place, place)

    assert kept(first_of_each(names, times), len(rows)) == sorted(first.values())


@given(rows)
def test_the_last_of_the_highest_version_is_kept(rows):
    """As a dictionary filled in the order of versions would find them."""
    names, times, versions = columns(rows)
    last = {}
    for place, (name, time, _) in sorted(enumerate(rows), key=lambda one: one[1][2]):
        last[(name, time) if name is not None else place] = place

    assert kept(last_of_each(names, times, versions), len(rows)) == sorted(last.values())


def test_records_whose_hashes_agree_are_told_apart():
    """Only the texts and times themselves decide."""
    pair = hash_texts(pa.array(["a", "b"]))
    time = (int(pair[0]) ^ int(pair[1]) ^ 5 * ODD % 2**64) * pow(ODD, -1, 2**64) % 2**64
    times = np.array([5, time, 5, time], np.uint64).view(np.int64)

    assert first_of_each(pa.array(["a", "b"]), times[:2]) is None
    assert first_of_each(pa.array(["a", "b", "a", "b"]), times).tolist() == [True, True, False, False]


def test_a_slice_hashes_as_the_whole():
    """Where a column begins in its buffer makes no difference."""
    texts = pa.array(["x" * size for size in range(300)])

    assert hash_texts(texts.slice(100, 50)).tolist() == hash_texts(texts)[100:150].tolist()
    assert len(set(hash_texts(texts).tolist())) == 300
