"""Find records that were written more than once: the same `event.id` at the same time."""

import hashlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_WORD_BYTES = 8
_LONG_BYTES = 256  # longer texts are hashed one by one: a round over all texts for each word of the longest would cost more


def first_of_each(ids: pa.Array, times: Integers) -> Mask | None:
    """Which records to keep so that each is there once, the first; None when nothing is repeated.

    Args:
        ids: `event.id`, strings; records without one are never taken for the same.
        times: `@timestamp` in UTC ns, as long as ids.

    >>> first_of_each(pa.array(["a", "b", "a", "a"]), np.array([1, 1, 1, 2])).tolist()
    [True, True, False, True]
    """
    return _first(ids, times, np.flatnonzero(~np.asarray(ids.is_null())))


def last_of_each(ids: pa.Array, times: Integers, versions: Integers) -> Mask | None:
    """Like `first_of_each`, but of the same records the one of the highest version stays, then the last.

    >>> last_of_each(pa.array(["a", "b", "a"]), np.array([1, 1, 1]), np.array([2, 1, 1])).tolist()
    [True, True, False]
    """
    order = np.lexsort((np.arange(len(times)), versions))[::-1]
    return _first(ids, times, order[~np.asarray(ids.is_null())[order]])


def _first(ids: pa.Array, times: Integers, rows: Integers) -> Mask | None:
    """Keep of the same records the one that comes first in rows, and what is not in rows."""
    # hashes say in one sort that nothing is repeated, which is the rule; texts are compared only where hashes agree
    keys = (hash_texts(ids) ^ (times.view(np.uint64) * _ODD))[rows]
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    by_key = np.argsort(keys, kind="stable")
    same_key = keys[by_key][1:] == keys[by_key][:-1]
    suspected = np.append(same_key, False) | np.append(False, same_key)
    suspects, same_key = rows[by_key[suspected]], _pairs(same_key, suspected)
    alike = same_key & _alike(ids, times, suspects)
    if (alike != same_key).any():  # two texts of one hash may lie between two of one text
        texts = ids.take(pa.array(suspects)).dictionary_encode().indices.to_numpy()
        suspects = suspects[np.lexsort((np.arange(len(suspects)), times[suspects], texts))]
        alike = _alike(ids, times, suspects)
    keep = np.ones(len(times), np.bool_)
    keep[suspects[1:][alike]] = False
    return None if keep.all() else keep


def _pairs(of_all: Mask, chosen: Mask) -> Mask:
    """What is said of each row and the one before it, for the rows that were chosen; runs are chosen whole."""
    return cast(Mask, np.append(False, of_all)[chosen][1:])


def _alike(ids: pa.Array, times: Integers, order: Integers) -> Mask:
    """Which records in this order are the same as the one before."""
    texts = ids.take(pa.array(order))
    return cast(Mask, np.asarray(pc.equal(texts[1:], texts[:-1])) & (times[order][1:] == times[order][:-1]))


def hash_texts(texts: pa.Array) -> Words:
    """A 64-bit hash of each string, eight bytes of all strings at a time; any value for a null.

    One million ids of 26 bytes take 0.05 s; `pandas.util.hash_array` needs a Python object of each first.
    """
    buffers: list[Any] = texts.buffers()
    offsets = np.frombuffer(buffers[1], np.int32)[texts.offset:texts.offset + len(texts) + 1].astype(np.int64)
    if not len(texts) or offsets[-1] == offsets[0]:
        return np.zeros(len(texts), np.uint64)
    raw = np.frombuffer(buffers[2], np.uint8)[offsets[0]:offsets[-1]]
    padded = np.zeros(len(raw) + _WORD_BYTES, np.uint8)
    padded[:len(raw)] = raw
    words = np.ndarray((len(raw) + 1,), "<u8", padded, strides=(1,))  # the eight bytes that begin at each byte
    starts = offsets[:-1] - offsets[0]
    lengths = np.diff(offsets)
    hashes = lengths.astype(np.uint64) * _ODD
    active = np.flatnonzero(lengths <= _LONG_BYTES)
    for done in range(0, _LONG_BYTES, _WORD_BYTES):
        active = active[lengths[active] > done]
        if not len(active):
            break
        beyond = np.clip(done + _WORD_BYTES - lengths[active], 0, _WORD_BYTES - 1).astype(np.uint64)
        word = words[starts[active] + done] << (beyond * np.uint64(8))  # little endian: drops what belongs to the next text
        mixed = (hashes[active] ^ word) * _ODD
        hashes[active] = mixed ^ (mixed >> np.uint64(29))
    for row in np.flatnonzero(lengths > _LONG_BYTES):
        text = raw[starts[row]:starts[row] + lengths[row]].tobytes()
        hashes[row] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return hashes
