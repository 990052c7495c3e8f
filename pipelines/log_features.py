"""Reduce log lines to counts of what they speak of, window by window."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import quotes
from pinchpoint import records
from pinchpoint.clock import NS
from pipelines import groups
from pipelines.maps import feature_map

COLUMNS = ("@timestamp", "run.id", "run.workload", "host.name", "message", "log.level", "log.file.path")

#: Where the lines of the kernel come from, also those that were copied into a file.
KERNEL = "/dev/kmsg"

#: What is counted, by the words a line contains (RE2, so that no line can make it slow).
PATTERNS = {
    "log.error_lines": r"(?i)\b(error|exception|fatal|traceback)\b",
    "log.oom_lines": r"(?i)out of memory|oom-kill|\bMemoryError\b",
    "log.recompile_lines": r"(?i)recompile_limit|recompil",
    "log.retry_lines": r"(?i)\bretry|\bretrying|skipp(ed|ing) sample",
}


def log_features(table: pa.Table, window_s: float) -> pa.RecordBatch:
    """Counts of lines for each run, host and window, under the entity kind `log`.

    Args:
        table: log records with at least `COLUMNS`.
        window_s: length of a window.
    Returns: feature records with `log.lines`, `log.kernel_lines` (those of the kernel) and a count for each of `PATTERNS`; the first
        line of each of these stands in `labels`, as `models.quotes` reads it.
    """
    if not table.num_rows:
        return records.batch("feature", {"@timestamp": []})
    run, runs = groups.codes(table, "run.id")
    host, hosts = groups.codes(table, "host.name")
    times = groups.integers(table, "@timestamp", 0)
    window = times // round(window_s * NS)
    rows, (run_w, host_w, start_w) = groups.group(run, host, window)
    size = len(run_w)
    message = pc.fill_null(table.column("message"), "")
    kernel = np.asarray(pc.fill_null(pc.equal(table.column("log.file.path"), KERNEL), False).to_numpy(), float)
    features = {"log.lines": np.bincount(rows, minlength=size).astype(float), "log.kernel_lines": groups.total(kernel, rows, size)}
    firsts: list[list[tuple[str, str]]] = [[] for _ in range(size)]
    for name, pattern in PATTERNS.items():
        found = np.asarray(pc.match_substring_regex(message, pattern).to_numpy(), bool)
        features[name] = groups.total(found.astype(float), rows, size)
        for place in _first_of_each(rows, found, times):
            firsts[rows[place]].append((name, quotes.packed(int(times[place]), message[int(place)].as_py())))
    return records.batch("feature", {
        "@timestamp": start_w * round(window_s * NS),
        "event.id": [records.content_id(runs[one], hosts[two], "log", window_s, begin)
                     for one, two, begin in zip(run_w, host_w, start_w, strict=True)],
        "run.id": [runs[one] or None for one in run_w],
        "window_s": np.full(size, window_s), "entity.kind": ["log"] * size, "entity.id": [hosts[one] for one in host_w],
        "host.name": [hosts[one] or None for one in host_w], "features": feature_map(features, size),
        "labels": firsts,
    })


def _first_of_each(rows: groups.Integers, found: groups.Booleans, times: groups.Integers) -> groups.Integers:
    """Where the earliest of the lines that were found stands in each group that has one."""
    places = np.flatnonzero(found)
    order = places[np.lexsort((places, times[places], rows[places]))]
    return order[np.unique(rows[order], return_index=True)[1]]
