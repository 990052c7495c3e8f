"""Reduce one slice of the store to features: the work of one worker on one element."""

from collections.abc import Iterator

import pyarrow as pa

from pinchpoint import records
from pinchpoint.store import Split, open_store
from pipelines import critical_path, log_features, metric_features, step_features

#: The kinds that are reduced, and the columns that are read of each.
COLUMNS = {"step": critical_path.COLUMNS, "metric": metric_features.COLUMNS, "log": log_features.COLUMNS}


def reduce(split: Split, store_url: str, window_s: float, run_id: str | None) -> Iterator[pa.RecordBatch]:
    """Features of all windows of a slice; nothing when the slice holds no record of the run asked for.

    Args:
        split: a slice whose ends are multiples of the window.
        store_url: the store it is read from.
        window_s: length of a window.
        run_id: only this run; None for all.
    """
    table = read(split, store_url, COLUMNS[split.kind], run_id)
    if not table.num_rows:
        return
    if split.kind == "step":
        yield step_features.step_features(table, window_s, split.start, split.end)
    elif split.kind == "metric":
        yield metric_features.metric_features(table, window_s)
    else:
        yield log_features.log_features(table, window_s)


def read(split: Split, store_url: str, columns: tuple[str, ...], run_id: str | None) -> pa.Table:
    """The records of a slice as one table, of one run or of all."""
    batches = list(open_store(store_url).read(split, columns))
    table = pa.Table.from_batches(batches, schema=records.schema(split.kind, columns))
    return table if run_id is None else table.filter(pa.compute.equal(table.column("run.id"), run_id))
