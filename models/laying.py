"""Lay the features of one run out over its windows."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import quotes
from models.placing import place
from models.reports import told_once
from models.view import PARTS, Booleans, Entity, Event, Floats, Integers, Line, RunView, SlowStep
from pinchpoint.clock import NS

#: Features of a run that are no sums: nothing measured is not zero.
_NOT_SUMS = ("ranks", "step_time_p50_s", "first_start_s", "last_end_s")


def build(run_id: str, features: pa.Table, events: Iterable[Event], window_s: float) -> RunView:
    """Lay the features of one run out over its windows.

    Args:
        run_id: the run.
        features: feature records of the run and of what surrounds it, windows of `window_s`; of repeated ones the last counts.
        events: events of the run's time.
        window_s: length of the windows.
    """
    ns = round(window_s * NS)
    times = np.asarray(features.column("@timestamp").cast(pa.int64()).to_numpy()) if features.num_rows else np.zeros(0, np.int64)
    kinds = features.column("entity.kind").to_pylist()
    of_run = times[[kind == "run" for kind in kinds]] if any(kind == "run" for kind in kinds) else times
    first, last = (int(of_run.min()), int(of_run.max())) if len(of_run) else (0, -ns)
    starts = np.arange(first, last + ns, ns, dtype=np.int64)
    inside = (times >= first) & (times <= last)
    window_of = (times - first) // ns
    table = features.select(["entity.kind", "entity.id", "host.name", "rank", "run.workload", "labels"])
    keys: list[tuple[str, str, str]] = []
    about: dict[tuple[str, str, str], dict[str, Any]] = {}
    lines: dict[tuple[int, str], dict[str, Line]] = {}
    workload = None
    for row, record in enumerate(table.to_pylist()):
        key = (record["entity.kind"], record["entity.id"], record["host.name"] or "")
        keys.append(key)
        if not inside[row]:
            continue
        workload = workload or record["run.workload"]
        known = about.get(key, {"rank": None, "labels": {}})
        about[key] = {"rank": known["rank"] if record["rank"] is None else record["rank"],
                      "labels": {**known["labels"], **dict(record["labels"] or ())}}
        for line in quotes.lines_of(record) if record["entity.kind"] == "log" else ():
            said = lines.setdefault((int(window_of[row]), line.kind), {})
            if (line.host or "") in said or len(said) < quotes.MOST_HOSTS:
                said[line.host or ""] = line
    series: dict[tuple[str, str, str], dict[str, Floats]] = {key: {} for key in about}
    series |= _series(features.column("features"), keys, inside, window_of, len(starts))
    entities = [Entity(kind, identity, host or None, about[key]["rank"], about[key]["labels"], series[key])
                for key in sorted(series) for kind, identity, host in [key]]
    others: dict[str, list[Entity]] = {}
    for entity in entities:
        if entity.kind not in ("run", "rank"):
            others.setdefault(entity.kind, []).append(entity)
    view = RunView(run_id, workload, window_s, starts, _run_series(entities, starts, ns),
                   sorted((entity for entity in entities if entity.kind == "rank"), key=lambda entity: entity.rank or 0),
                   others, told_once(events, others.get("gpu", [])), _slow_steps(features.column("slow_steps"), inside, window_of),
                   lines=[line for key in sorted(lines) for _, line in sorted(lines[key].items())])
    return dataclasses.replace(view, placed=place(view))


def _slow_steps(lists: pa.ChunkedArray, inside: Booleans, window_of: Integers) -> list[SlowStep]:
    """The longest steps, in order of window and number; of repeated ones the last counts."""
    whole = lists.combine_chunks()
    if not len(whole):
        return []
    row = np.repeat(np.arange(len(whole)), np.asarray(pc.fill_null(pc.list_value_length(whole), 0)))
    steps = pc.list_flatten(whole)
    kept = inside[row]
    columns = [pc.struct_field(steps, name).filter(pa.array(kept)).to_pylist() for name in ("step", "duration_s", "phase")]
    found = {(window, step): SlowStep(window, step, duration_s, phase)
             for window, step, duration_s, phase in zip(window_of[row[kept]].tolist(), *columns, strict=True)}
    return [found[key] for key in sorted(found)]


def _series(maps: pa.ChunkedArray, keys: list[tuple[str, str, str]], inside: Booleans, window_of: Integers, windows: int,
            ) -> dict[tuple[str, str, str], dict[str, Floats]]:
    """Features by entity and name, shape (windows,); of repeated ones the last counts."""
    whole = maps.combine_chunks()
    numbers: dict[tuple[str, str, str], int] = {}
    entity = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    # an empty table has no chunk to take lists from
    if not len(keys):
        return {}
    lengths = np.diff(np.asarray(whole.offsets)) * np.asarray(whole.is_valid())
    row = np.repeat(np.arange(len(keys)), lengths)
    # flatten leaves out what null rows may hold
    pairs = pc.list_flatten(whole.cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))))
    names = pc.struct_field(pairs, 0).dictionary_encode()
    name, value = np.asarray(names.indices, np.int64), np.asarray(pc.struct_field(pairs, 1).to_numpy(zero_copy_only=False))
    group = entity[row] * max(len(names.dictionary), 1) + name
    order = np.argsort(group, kind="stable")
    order = order[inside[row[order]]]
    found: dict[tuple[str, str, str], dict[str, Floats]] = {}
    by_number, by_name = list(numbers), names.dictionary.to_pylist()
    for places in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else ():
        column = np.full(windows, np.nan)
        column[window_of[row[places]]] = value[places]
        found.setdefault(by_number[entity[row[places[0]]]], {})[by_name[name[places[0]]]] = column
    return found


def _run_series(entities: list[Entity], starts: Integers, ns: int) -> dict[str, Floats]:
    """Features of the run without holes, and with the gaps between windows."""
    found = next((entity.series for entity in entities if entity.kind == "run"), {})
    names = {"steps", "ranks", "wall_s", "skew_s", "step_time_p50_s", "first_start_s", "last_end_s",
             *(f"{group}{name}{unit}" for name in PARTS
               for group, unit in (("phase.", "_s"), ("phase_steps.", ""), ("spike_steps.", ""), ("spike.", "_s")))}
    empty = np.full(len(starts), np.nan)
    run = {name: found.get(name, empty) if name in _NOT_SUMS else np.nan_to_num(found.get(name, empty)) for name in names}
    gaps = _gaps_between(run, starts, ns)
    run["phase.gap_s"] = run["phase.gap_s"] + gaps
    run["wall_s"] = run["wall_s"] + gaps
    return run


def _gaps_between(run: dict[str, Floats], starts: Integers, ns: int) -> Floats:
    """Seconds from the end of the last step of an earlier window to the first step of each window."""
    some = np.flatnonzero(run["steps"] > 0)
    begin = some * (ns / NS) + run["first_start_s"][some]
    # a step may end windows later: no gap until the latest end so far
    end = np.maximum.accumulate(some * (ns / NS) + run["last_end_s"][some]) if len(some) else np.zeros(0)
    gaps = np.zeros(len(starts))
    gaps[some[1:]] = (begin[1:] - end[:-1]).clip(0)
    return gaps
