"""What a store makes of a batch before it keeps it: checked, sorted by time, each record once."""

import numpy as np
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.errors import RecordError
from pinchpoint.store.names import HOUR_NS
from pinchpoint.store.repeats import Integers, first_of_each, last_of_each


def times_of(table: pa.Table | pa.RecordBatch) -> Integers:
    """The column `@timestamp` in UTC ns."""
    return np.asarray(table.column("@timestamp").cast(pa.int64()))


def prepare(kind: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The records of a batch sorted by time; of repeated ones the first stays, of derived kinds the last.

    Raises: RecordError for an unknown kind, another schema or a missing time.
    """
    if not batch.schema.equals(records.schema(kind)):
        raise RecordError(f"a batch of {kind} records needs exactly the schema of its kind; records.conform makes it so")
    if batch.column("@timestamp").null_count:
        raise RecordError(f"{kind}.@timestamp: a time is missing")
    times = times_of(batch)
    if np.any(times[1:] < times[:-1]):
        batch = batch.take(pa.array(np.argsort(times, kind="stable")))
        times = times_of(batch)
    ids = batch.column("event.id")
    keep = last_of_each(ids, times, np.zeros(len(times), np.int64)) if kind in fields.DERIVED else first_of_each(ids, times)
    return batch if keep is None else batch.filter(pa.array(keep))


def by_hour(batch: pa.RecordBatch) -> dict[int, pa.RecordBatch]:
    """A batch that is sorted by time as one batch for each hour since 1970, in order."""
    hours, starts = np.unique(times_of(batch) // HOUR_NS, return_index=True)
    lengths = np.diff(starts, append=batch.num_rows)
    return {int(hour): batch.slice(int(start), int(length)) for hour, start, length in zip(hours, starts, lengths, strict=True)}
