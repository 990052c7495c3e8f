"""Runs made of numbers, for tests of the analysis."""

import numpy as np
import pyarrow as pa

from models.laying import build
from models.view import RunView
from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.metric_features import metric_features
from pipelines.step_features import step_features

START = 1_767_225_600 * NS


def run_view(own, *, communication_s=0.002, window_s=1.0, metrics=(), events=(), pid=100, **phases) -> RunView:
    """A run whose ranks leave each step together.

    Args:
        own: seconds of forward of each step and rank, shape (steps, ranks).
        communication_s: what a collective takes when nobody waits.
        window_s: length of a window.
        metrics: (second, entity kind, entity id, labels, {name: value}).
        events: events of the run.
        pid: process of rank 0; the others follow.
        phases: seconds of other phases, shape (steps, ranks) or (steps,); names of other step columns take their values.
    """
    own = np.asarray(own, float)
    own = own[:, None] if own.ndim == 1 else own
    steps, ranks = own.shape
    given = {name: np.broadcast_to(np.asarray(value, float).reshape(steps, -1), own.shape) for name, value in phases.items()}
    extra = {name: given.pop(name) for name in ("tokens", "samples", "data_wait_cpu_s", "cpu_s") if name in given}
    mine = own + sum(given.values(), np.zeros_like(own))
    wall = mine.max(axis=1) + communication_s
    start = START + np.round(np.concatenate(([0.0], np.cumsum(wall)[:-1])) * NS).astype(np.int64)
    batch = records.batch("step", {
        "@timestamp": np.repeat(start, ranks), "run.id": ["r"] * own.size, "rank": np.tile(np.arange(ranks), steps),
        "host.name": ["h"] * own.size, "process.pid": np.tile(pid + np.arange(ranks), steps), "step": np.repeat(np.arange(steps), ranks),
        "duration_s": np.repeat(wall, ranks), "phase.forward_s": own.reshape(-1),
        "phase.communication_s": (wall[:, None] - mine).reshape(-1),
        **{f"phase.{name}_s": value.reshape(-1) for name, value in given.items()},
        **{name: pa.array(value.reshape(-1)).cast(records.schema("step").field(name).type) for name, value in extra.items()},
    })
    found = [step_features(pa.Table.from_batches([batch]), window_s, START, START + 10**6 * NS)]
    if metrics:
        found.append(metric_features(pa.Table.from_batches([records.batch("metric", {
            "@timestamp": [START + round(at * NS) for at, *_ in metrics], "run.id": ["r"] * len(metrics),
            "entity.kind": [kind for _, kind, *_ in metrics], "entity.id": [name for _, _, name, *_ in metrics],
            "host.name": ["h"] * len(metrics), "labels": [list(labels.items()) for *_, labels, _ in metrics],
            "metrics": [list(values.items()) for *_, values in metrics]})]), window_s))
    return build("r", records.concat("feature", found), list(events), window_s)


def host(seconds, *, count=2, busy=0.5, own=0.4, workers=0, worker_cpu=0.2, reads=0.0, read_size=1e6, rss=1e9, other=0.0, throttled=0.0):
    """One reading a second of a host, its disk, a rank's process (pid 100) and its workers; rates as given, in cores or per second.

    `rss` and the rates may be functions of the second.
    """

    def at(value, second):
        return value(second) if callable(value) else value

    rows, sums = [], {}
    for second in range(int(seconds) + 1):

        def counter(name, rate, second=second):
            sums[name] = sums.get(name, 0.0) + (at(rate, second) if second else 0.0)
            return sums[name]

        rows.append((second, "host", "h", {}, {"system.cpu.count": float(count), "system.cpu.busy_s": counter("busy", busy),
                                                "system.memory.total_bytes": 16e9, "system.memory.available_bytes": 12e9}))
        rows.append((second, "disk", "h/vda", {}, {
            "disk.reads": counter("reads", reads), "disk.read_bytes": counter("bytes", lambda s: at(reads, s) * read_size),
            "disk.read_s": counter("read_s", lambda s: at(reads, s) * 0.0002), "disk.busy_s": counter("disk", 0.3)}))
        rows.append((second, "process", "h/100", {"process.pid": "100", "process.parent.pid": "1", "process.role": "run"}, {
            "process.cpu_s": counter("own", own), "process.run_delay_s": counter("delay", lambda s: 0.4 * at(other, s)),
            "process.memory.rss_bytes": at(rss, second)}))
        for worker in range(workers):
            rows.append((second, "process", f"h/{200 + worker}", {"process.pid": str(200 + worker), "process.parent.pid": "100",
                                                                   "process.role": "run"},
                         {"process.cpu_s": counter(f"worker{worker}", worker_cpu), "process.run_delay_s": 0.0}))
        if at(other, second):
            rows.append((second, "process", "h/900", {"process.pid": "900", "process.name": "stress", "process.role": "other"},
                         {"process.cpu_s": counter("other", other)}))
        if throttled:
            rows.append((second, "cgroup", "h/run", {}, {"cgroup.cpu.periods": counter("periods", 10.0),
                                                          "cgroup.cpu.throttled_periods": counter("held", 10.0 * throttled)}))
    return rows
