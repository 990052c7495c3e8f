"""Records as the documents that Elasticsearch keeps: flat JSON objects with dotted keys."""

import math
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pinchpoint import fields
from pinchpoint.delivery import Outgoing
from pinchpoint.store.es.names import METRIC_NAMES, document_id, metric_names
from pinchpoint.store.incoming import times_of

#: Our bookkeeping in a document, beside the fields of its kind.
SEGMENT = "pinchpoint.segment"
WRITING = "pinchpoint.writing"
"""Of derived kinds: which content of the segment a document belongs to."""
NONFINITE = "pinchpoint.nonfinite"
"""What JSON cannot say, as `field=NaN`; nulls inside maps too, since they could not be told from missing keys."""
TIME_NS = "pinchpoint.time_ns"
"""The time of a record from before 1970, which `date_nanos` cannot hold; `@timestamp` is 1970 then."""

MAPS = frozenset(name for name, field in fields.FIELDS.items() if field.type in ("numbers", "texts"))
_ENCODE = msgspec.json.Encoder()


def encode(kind: str, batch: pa.RecordBatch, segment_id: str) -> list[Outgoing]:
    """The records of a batch (as `incoming.prepare` leaves it) as documents with their ids.

    A record without an `event.id` is named by its segment and its place in it.
    """
    times = times_of(batch).tolist()
    stamps = time_texts(times)
    ids: list[str | None] = batch.column("event.id").to_pylist()
    columns = [(field.name, batch.column(field.name).to_pylist()) for field in batch.schema
               if field.name != "@timestamp" and batch.column(field.name).null_count < batch.num_rows]
    found = []
    for row, (time_ns, stamp, event_id) in enumerate(zip(times, stamps, ids, strict=True)):
        document: dict[str, Any] = {"@timestamp": stamp}
        special: list[str] = []
        for name, values in columns:
            value = values[row]
            if value is None:
                continue
            if name in MAPS:
                value = _map(name, value, special)
            elif isinstance(value, float) and not math.isfinite(value):
                special.append(f"{name}={_said(value)}")
                continue
            elif name == "slow_steps":
                value = _slow_steps(value, special)
            document[name] = value
        if time_ns < 0:
            document[TIME_NS] = time_ns
        if special:
            document[NONFINITE] = special
        if kind == "metric":
            document[METRIC_NAMES] = metric_names(document.get("metrics", ()), document.get("labels", {}))
        document[SEGMENT] = segment_id
        found.append(Outgoing(f"{segment_id}-{row}" if event_id is None else document_id(event_id, time_ns), _ENCODE.encode(document)))
    return found


def time_texts(times: list[int]) -> list[str]:
    """UTC nanoseconds as ISO 8601; times before 1970 as 1970.

    >>> time_texts([1500000000, -1])
    ['1970-01-01T00:00:01.500000000Z', '1970-01-01T00:00:00.000000000Z']
    """
    stamps = np.datetime_as_string(np.maximum(np.array(times, np.int64), 0).astype("datetime64[ns]"), unit="ns")
    return [f"{stamp}Z" for stamp in stamps.tolist()]


def _map(name: str, pairs: list[tuple[str, Any]], special: list[str]) -> dict[str, Any]:
    known = {}
    for key, value in pairs:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            special.append(f"{name}.{key}={_said(value)}")
        else:
            known[key] = value
    return known


def _slow_steps(steps: list[dict[str, Any]], special: list[str]) -> list[dict[str, Any]]:
    for place, step in enumerate(steps):
        duration = step["duration_s"]
        if duration is not None and not math.isfinite(duration):
            special.append(f"slow_steps.{place}={_said(duration)}")
            step["duration_s"] = None
    return steps


def _said(value: float | None) -> str:
    """How `NONFINITE` spells a value; `float` reads it back, but for null.

    >>> [_said(value) for value in (float("nan"), float("-inf"), None)]
    ['nan', '-inf', 'null']
    """
    return "null" if value is None else str(value)
