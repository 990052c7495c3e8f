"""Traces of several ranks together: their clocks brought in line, and who waits in collectives for whom."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinchpoint import records
from pinchpoint.clock import NS
from shippers.formats.base import Batch
from shippers.formats.intervals import Floats, union
from shippers.formats.trace_meetings import Key, Meetings

Integers = NDArray[np.int64]

_MAD_TO_SIGMA = 1.4826
#: A clock is off when that is so many standard errors.
_SURE = 4.0


class Together(NamedTuple):
    """The same collectives on several ranks; times of shape (collectives, ranks)."""

    entered: Integers
    """UTC ns on the clock that all share."""
    left: Integers
    offset_ns: Integers
    """How far the clock of each rank goes ahead of that, shape (ranks,)."""
    spread_ns: Floats
    """How sure that is: the standard error of each."""

    @property
    def last(self) -> Integers:
        """Which rank entered last, shape (collectives,)."""
        return np.asarray(np.argmax(self.entered, axis=1))

    @property
    def waits_s(self) -> Floats:
        """Seconds in which each rank was inside of a collective before the last one came, shape (ranks,)."""
        latest = self.entered.max(axis=1, keepdims=True)
        return _lengths_s(self.entered, np.minimum(latest, self.left))

    @property
    def transfers_s(self) -> Floats:
        """Seconds in which each rank was inside of a collective with all the others, shape (ranks,)."""
        return _lengths_s(np.broadcast_to(self.entered.max(axis=1, keepdims=True), self.left.shape), self.left)


def _lengths_s(begin: Integers, end: Integers) -> Floats:
    """Seconds that the intervals of each column cover; those that end before they begin cover none."""
    first = int(begin.min())
    found = []
    for starts, ends in zip(begin.T, end.T, strict=True):
        some = ends > starts
        # from the first one on: nanoseconds since 1970 are more than a float can tell apart
        joined = union((starts[some] - first).astype(float), (ends[some] - first).astype(float))
        found.append(float((joined[1] - joined[0]).sum()) / NS)
    return np.array(found)


def meet(ranks: Sequence[Meetings]) -> Together | None:
    """Bring the clocks of ranks in line by the ends of the collectives that all of them were in; None when there is none.

    All ranks leave such a collective at about the same time, however early they came: the median of what a rank's clock shows beyond the
    middle of all is its offset. A step counts only where every rank saw the same collectives in it.

    >>> one = Meetings(0, 1.0, {("", "allreduce", 3, 1): 100}, {("", "allreduce", 3, 1): 900})
    >>> other = Meetings(1, 1.0, {("", "allreduce", 3, 1): 5700}, {("", "allreduce", 3, 1): 5900})
    >>> found = meet([one, other])
    >>> (found.offset_ns[1] - found.offset_ns[0], found.last.tolist(), (found.waits_s * 1e9).round().tolist())
    (np.int64(5000), [1], [600.0, 0.0])
    """
    keys = _shared(ranks) if len(ranks) > 1 else []
    if not keys:
        return None
    entered = np.array([[one.entered[key] for one in ranks] for key in keys], np.int64)
    left = np.array([[one.left[key] for one in ranks] for key in keys], np.int64)
    # clocks may be hours apart: from the first rank's clock on, so that medians are exact
    ahead = left - left[:, :1]
    beyond = ahead - np.median(ahead, axis=1, keepdims=True)
    offset = np.median(beyond, axis=0)
    deviation = _MAD_TO_SIGMA * np.median(np.abs(beyond - offset), axis=0)
    spread = 1.2533 * deviation / np.sqrt(len(keys))
    # ranks of one host share a clock: what may be chance is none
    whole = np.round(np.where(np.abs(offset) > _SURE * spread, offset, 0.0)).astype(np.int64)
    return Together(entered - whole, left - whole, whole, spread)


def _shared(ranks: Sequence[Meetings]) -> list[Key]:
    """The collectives that all ranks were in, of groups and steps of which all saw the same number."""
    counts = [_count(one) for one in ranks]
    same = {which for which, count in counts[0].items() if all(other.get(which) == count for other in counts[1:])}
    return [key for key in ranks[0].entered if key[:3] in same]


def _count(one: Meetings) -> dict[tuple[str, str, int], int]:
    found: dict[tuple[str, str, int], int] = {}
    for group, operation, step, _ in one.entered:
        found[group, operation, step] = found.get((group, operation, step), 0) + 1
    return found


def in_line(held: Iterable[tuple[str, Batch, Meetings]], notes: list[str]) -> Iterator[tuple[str, Batch]]:
    """Batches of traces with their times on one clock, and what their collectives tell of each rank.

    Args:
        held: segment, batch and collectives of the trace that each batch is of.
        notes: where it is said what the clocks were found to be.
    """
    held = list(held)
    by_rank = {meetings.rank: meetings for _, _, meetings in held}
    ranks = [by_rank[rank] for rank in sorted(by_rank)]
    together = meet(ranks)
    offsets = {} if together is None else dict(zip(sorted(by_rank), together.offset_ns.tolist(), strict=True))
    for segment, (kind, batch), meetings in held:
        yield segment, (kind, _moved(batch, offsets.get(meetings.rank, 0)))
    if together is None:
        return
    notes.append(_told(ranks, together))
    first = min(int(batch.column("@timestamp").cast(pa.int64())[0].as_py()) - offsets[of.rank]
                for _, (_, batch), of in held if batch.num_rows)
    yield "ranks", ("metric", _metrics(ranks, together, first))


def _moved(batch: pa.RecordBatch, ahead_ns: int) -> pa.RecordBatch:
    if not ahead_ns:
        return batch
    times = np.asarray(batch.column("@timestamp").cast(pa.int64())) - ahead_ns
    place = batch.schema.get_field_index("@timestamp")
    return batch.set_column(place, batch.schema.field(place), pa.array(times).cast(batch.schema.field(place).type))


def _told(ranks: Sequence[Meetings], together: Together) -> str:
    apart, worst = together.offset_ns.max() - together.offset_ns.min(), together.spread_ns.max()
    return (f"{len(ranks)} ranks, in line by {len(together.entered)} collectives: their clocks are {apart / 1e6:.3f} ms apart at most, "
            f"known within {worst / 1e6:.3f} ms")


def _metrics(ranks: Sequence[Meetings], together: Together, first_ns: int) -> pa.RecordBatch:
    """What the collectives tell of each rank, at the time at which the first step begins."""
    last, waits, transfers = together.last, together.waits_s, together.transfers_s
    # the middle of the others: all but the last one in order of time
    in_order = np.sort(together.entered, axis=1)
    late_s = (in_order[:, -1] - np.median(in_order[:, :-1], axis=1)) / NS
    metrics = [[
        ("trace.collective_wait_ratio", waits[place] / one.wall_s), ("trace.collective_transfer_ratio", transfers[place] / one.wall_s),
        ("trace.last_ratio", float((last == place).mean())), ("trace.late_ratio", float(late_s[last == place].sum()) / one.wall_s),
        ("trace.clock_offset_s", together.offset_ns[place] / NS), ("trace.clock_spread_s", together.spread_ns[place] / NS),
    ] for place, one in enumerate(ranks)]
    size = len(ranks)
    return records.batch("metric", {
        "@timestamp": [first_ns] * size, "event.id": [records.content_id("ranks", one.rank, first_ns) for one in ranks],
        "run.id": ["trace"] * size,
        "entity.kind": ["trace"] * size, "entity.id": [str(one.rank) for one in ranks], "rank": [one.rank for one in ranks],
        "metrics": metrics})
