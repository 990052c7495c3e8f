"""Reduce metric records to features of each entity, window by window."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.metrics import METRICS, RATE
from pipelines import groups
from pipelines.groups import Floats, Integers
from pipelines.maps import feature_map

COLUMNS = ("@timestamp", "run.id", "run.workload", "entity.kind", "entity.id", "host.name", "rank", "process.pid", "metrics", "labels")

#: Numbers beyond this are sentinels for "not supported", not readings: DCGM writes 2**47 and 2**63 less a few.
SENTINEL = 2.0**47


def metric_features(table: pa.Table, window_s: float) -> pa.RecordBatch:
    """Features of each entity from the metric records of one slice: gauges as mean, counters as rate per second.

    A rate needs two readings of the entity inside the slice; a counter that goes back was reset, and that difference is left
    out. Metrics that `METRICS` does not know are taken as gauges. A gauge that is a counter's rate already (`RATE`)
    stands where the counter itself was not read.

    Args:
        table: metric records with at least `COLUMNS`.
        window_s: length of a window.
    Returns: feature records, one for each entity and window, with the features named as the metrics.
    """
    entity, names, first = _entities(table)
    if not len(entity):
        return records.batch("feature", {"@timestamp": []})
    start = groups.integers(table, "@timestamp", 0)
    metric, metrics, row, value = _readings(table)
    order = np.lexsort((start[row], metric, entity[row]))
    metric, row, value = metric[order], row[order], value[order]
    of, when = entity[row], start[row]
    same = np.concatenate(([False], (of[1:] == of[:-1]) & (metric[1:] == metric[:-1])))
    counter = np.array([name in METRICS and METRICS[name].kind == "counter" for name in metrics], bool)[metric]
    window = when // round(window_s * NS)
    rows, (entity_w, start_w) = groups.group(of, window)
    size = len(entity_w)
    features: dict[str, Floats] = {}
    difference = np.concatenate(([0.0], np.diff(value)))
    elapsed = np.concatenate(([0.0], np.diff(when) / NS))
    rising = same & (difference >= 0) & (elapsed > 0)
    for number, name in enumerate(metrics):
        mine = metric == number
        if counter[mine].any():
            mine &= rising
            time = groups.total(elapsed[mine], rows[mine], size)
            features[name] = np.divide(groups.total(difference[mine], rows[mine], size), time, out=np.full(size, np.nan), where=time > 0)
        else:
            count = np.bincount(rows[mine], minlength=size)
            features[name] = np.divide(groups.total(value[mine], rows[mine], size), count, out=np.full(size, np.nan), where=count > 0)
    for name in [name for name in features if _is_rate(name)]:
        rate, counted = features.pop(name), name.removesuffix(RATE)
        own = features.get(counted, np.full(size, np.nan))
        features[counted] = np.where(np.isnan(own), rate, own)
    source = first[entity_w]
    taken = {name: table.column(name).take(pa.array(source)) for name in COLUMNS if name not in ("@timestamp", "metrics")}
    return records.batch("feature", {
        "@timestamp": start_w * round(window_s * NS),
        "event.id": [records.content_id(names[code], window_s, begin) for code, begin in zip(entity_w, start_w, strict=True)],
        "window_s": np.full(size, window_s),
        "features": feature_map(features, size),
        **{name: taken[name] for name in ("run.id", "run.workload", "entity.kind", "entity.id", "host.name", "rank")},
        "labels": _labels(taken),
    })


def _is_rate(name: str) -> bool:
    metric = METRICS.get(name.removesuffix(RATE)) if name.endswith(RATE) else None
    return metric is not None and metric.kind == "counter"


def _entities(table: pa.Table) -> tuple[Integers, list[str], Integers]:
    """The entity of each record, the name of each entity, and the first record of each."""
    key = pc.binary_join_element_wise(*(pc.fill_null(table.column(name).cast(pa.string()), "")
                                        for name in ("run.id", "host.name", "entity.kind", "entity.id")), "\x1f")
    entity, names = groups.encode(key)
    first = np.zeros(len(names), np.int64)
    first[entity[::-1]] = np.arange(len(entity))[::-1]
    return entity, names, first


def _readings(table: pa.Table) -> tuple[Integers, list[str], Integers, Floats]:
    """All readings one under the other: the code of the metric, the names, the record it stands in, the value."""
    metrics = table.column("metrics").combine_chunks()
    counts: Integers = np.diff(np.asarray(metrics.offsets.to_numpy(), np.int64)).astype(np.int64)
    if metrics.null_count:
        counts = np.where(np.asarray(metrics.is_valid().to_numpy(zero_copy_only=False)), counts, 0)
    row = np.repeat(np.arange(len(counts)), counts)
    flat = pc.list_flatten(metrics.cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))))
    code, names = groups.encode(flat.field("key"))
    value = np.asarray(pc.fill_null(flat.field("value"), np.nan).to_numpy(zero_copy_only=False))
    known = np.isfinite(value) & (np.abs(value) < SENTINEL)
    return code[known], names, row[known], value[known]


def _labels(taken: dict[str, pa.ChunkedArray]) -> list[list[tuple[str, str]] | None]:
    rows = []
    for labels, pid in zip(taken["labels"].to_pylist(), taken["process.pid"].to_pylist(), strict=True):
        rows.append([*(labels or []), *([("process.pid", str(pid))] if pid is not None else [])] or None)
    return rows
