"""Bring together what belongs to one run, and explain it."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models import hang, verdict
from models.causes import load
from models.errors import ACTIONS
from models.laying import build
from models.view import STANDSTILLS, Event
from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.descriptions import ENDS

#: Events of a run that are kept; more would be no changes but a log.
MOST_EVENTS = 100_000
#: What concerns every run when it names no host: in dumps of tools there often is none.
PORTABLE = ("gpu", "host", "log", "process")
#: In the place of a run's name: what belongs to no run, such as the kernel log of a host where none ran.
NO_RUN = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """How runs are to be explained."""

    window_s: float
    min_slowdown: float = 1.2
    cause_paths: tuple[str, ...] = ()


def runs_of(batch: pa.RecordBatch) -> list[str]:
    """The runs that a batch of features is about."""
    return sorted(name for name in pc.unique(batch.column("run.id")).to_pylist() if name is not None)


def places_of(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    """The (host, run) pairs of the ranks in a batch of features."""
    ranks = batch.filter(pc.equal(batch.column("entity.kind"), "rank"))
    pairs = zip(ranks.column("host.name").to_pylist(), ranks.column("run.id").to_pylist(), strict=True)
    return sorted({(host, run) for host, run in pairs if host and run is not None})


def by_run(batch: pa.RecordBatch, runs: Iterable[str], places: Iterable[tuple[str, str]],
           runless_from: int | None) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Give a batch of features or events to the runs it concerns.

    What carries a run belongs to that run; what only carries a host, to the runs that had ranks there; events, and what was
    measured of machines, that carry neither to every run. Errors and log lines that concern no run belong to `NO_RUN`, from the
    time asked for on (UTC ns; None for never).
    """
    wanted = set(runs)
    of_host: dict[str, list[str]] = {}
    for host, run in places:
        of_host.setdefault(host, []).append(run)
    for name in runs_of(batch):
        if name in wanted:
            yield name, batch.filter(pc.equal(batch.column("run.id"), name))
    nameless = batch.filter(pc.is_null(batch.column("run.id")))
    if not nameless.num_rows:
        return
    hosts = pc.unique(nameless.column("host.name")).to_pylist()
    for host in hosts:
        if host is None:
            mine = nameless.filter(pc.is_null(nameless.column("host.name")))
            if "event.action" not in mine.schema.names:
                mine = mine.filter(pc.is_in(mine.column("entity.kind"), pa.array(PORTABLE)))
            concerned = sorted(wanted)
        else:
            mine = nameless.filter(pc.equal(nameless.column("host.name"), host))
            concerned = of_host.get(host, [])
        for run in concerned:
            if run in wanted:
                yield run, mine
        rest = None if concerned or runless_from is None else _runless(mine, runless_from)
        if rest is not None and rest.num_rows:
            yield NO_RUN, rest


def _runless(batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
    """What can be answered for without a run: errors, dumps of collectives, and how many lines there were."""
    if "event.action" in batch.schema.names:
        told = pc.is_in(batch.column("event.action"), pa.array([*ACTIONS, *ENDS, hang.ACTION]))
        return batch.filter(pc.and_kleene(told, pc.greater_equal(batch.column("@timestamp").cast(pa.int64()), start)))
    return batch.filter(pc.equal(batch.column("entity.kind"), "log"))


def explain(run: tuple[str, Iterable[pa.RecordBatch]], question: Question) -> dict[str, Any]:
    """The answer for one run, from all its features and events."""
    run_id, batches = run
    features: list[pa.RecordBatch] = []
    events: list[pa.RecordBatch] = []
    for batch in batches:
        (events if "event.action" in batch.schema.names else features).append(batch)
    table = records.concat("feature", sorted_batches(features))
    table = table.filter(pc.equal(table.column("window_s"), question.window_s))
    view = build(run_id, table, events_of(events), question.window_s)
    causes = load(Path(path) for path in question.cause_paths)
    return verdict.explain(view, causes, question.min_slowdown)


def sorted_batches(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Batches in an order that does not depend on which worker was first."""
    return sorted(batches, key=lambda batch: (min(batch.column("@timestamp").cast(pa.int64()).to_pylist(), default=0),
                                              min((name or "" for name in batch.column("event.id").to_pylist()), default="")))


def events_of(batches: list[pa.RecordBatch]) -> list[Event]:
    """The events of event records, each once."""
    found: dict[tuple[Any, ...], Event] = {}
    for batch in batches:
        times = batch.column("@timestamp").cast(pa.int64()).to_pylist()
        columns = [batch.column(name).to_pylist() for name in ("event.action", "event.reason", "labels", "host.name", "rank")]
        for time_ns, action, reason, labels, host, rank in zip(times, *columns, strict=True):
            if action and len(found) < MOST_EVENTS:
                details = dict(labels or ())
                found[time_ns, action, reason or "", host, rank, details.get("gpu.uuid")] = Event(time_ns, action, reason, details, host,
                                                                                                  rank)
    return list(found.values())


def settle(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """New incidents under the ids of old ones that they continue: of the same run, compared with the same, and overlapping in time.

    The onset of an incident moves a little as more is seen of it; it stays the same incident.
    """
    settled, taken = [], {one["id"] for one in new} & {other["id"] for other in old}
    for one in sorted(new, key=lambda incident: incident["start"]):
        if one["id"] in taken:
            settled.append(one)
            continue
        same = [other for other in old if _same_thing(one, other) and other["id"] not in taken
                and other["start"] < one["end"] and one["start"] < other["end"]]
        earlier = min(same, key=lambda other: (other["start"], other["id"]), default=None)
        identity = one["id"] if earlier is None else earlier["id"]
        taken.add(identity)
        settled.append({**one, "id": identity})
    return settled


def _same_thing(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two incidents tell of the same run and symptom; errors are those of their hosts."""
    kind = one["symptom"]["name"]
    return bool(one["run"] == other["run"] and kind == other["symptom"]["name"]
                and one["symptom"]["compared_with"] == other["symptom"]["compared_with"]
                and (kind not in STANDSTILLS or one["hosts"] == other["hosts"]))


def window_for(span_s: float) -> float:
    """The window for a run of this length: from some dozens to some hundreds of them.

    >>> [window_for(span) for span in (1, 60, 3600, 86400)]
    [0.1, 1.0, 10.0, 300.0]
    """
    for limit, window in ((8, 0.1), (600, 1.0), (6_000, 10.0), (36_000, 60.0)):
        if span_s <= limit:
            return window
    return 300.0


def aligned(time_ns: int, step_s: float) -> int:
    """The last multiple of a step (seconds since 1970) at or before a time (UTC ns)."""
    step = round(step_s * NS)
    return time_ns // step * step
