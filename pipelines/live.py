"""What a run looks like right now: phases, ranks, GPUs, host and the current suspicion, without a Beam job."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import verdict
from models.causes import load
from models.causes.catalogue import Cause
from models.facts.ranks import ratios_to_others
from models.laying import build
from models.view import PARTS, Booleans, Entity, RunView
from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.config import Config
from pipelines.metric_features import metric_features
from pipelines.runs import aligned, events_of, window_for
from pipelines.step_features import step_features

#: How much of the end of a run counts as now: this much time, and at least some windows with steps in them.
_NOW_S = 20.0
_FEWEST_WINDOWS = 3
#: Points of the step time that are told, the newest last.
_POINTS = 120


def look(tables: Mapping[str, pa.Table], run_id: str, config: Config | None = None) -> dict[str, Any]:
    """The picture of one run, from its records of the last minutes.

    Args:
        tables: records of the kinds step, metric and event; what is missing is empty. Metrics may be those of hosts without a run.
        run_id: the run.
        config: settings; None for the defaults.
    Returns: `run workload verdict summary incidents steps step_time_s usual_s trend phases ranks gpus host at`: `phases` are (name,
        seconds a step now, seconds a step before), largest first; `ranks` slowest first; what could not be measured is None.
    """
    settings = config or Config()
    steps = tables.get("step", records.concat("step", []))
    window_s = window_for(_span_s(steps))
    features = [_step_features(steps, window_s)]
    if "metric" in tables and tables["metric"].num_rows:
        features.append(metric_features(tables["metric"], window_s))
    events = events_of(tables["event"].to_batches()) if "event" in tables else []
    view = build(run_id, records.concat("feature", features), events, window_s)
    answer = verdict.explain(view, _causes(tuple(map(str, settings.causes.paths))), settings.analysis.min_slowdown)
    now = _now(view)
    return {
        "run": run_id, "workload": view.workload, "verdict": answer["verdict"], "summary": answer["summary"],
        "incidents": answer["incidents"], "steps": int(view.steps.sum()), **_step_times(view, now), "phases": _phases(view, now),
        "ranks": _ranks(view, now), "gpus": [_gpu(one) for one in view.others.get("gpu", ())], "host": _host(view.others.get("host", ())),
        "at": int(view.starts[-1]) + round(window_s * NS) if len(view.starts) else None,
    }


@functools.lru_cache(1)
def _causes(paths: tuple[str, ...]) -> dict[str, Cause]:
    return load(Path(path) for path in paths)


def _span_s(steps: pa.Table) -> float:
    if not steps.num_rows:
        return 0.0
    ends = pc.min_max(steps.column("@timestamp").cast(pa.int64())).as_py()
    return float(ends["max"] - ends["min"]) / NS


def _step_features(steps: pa.Table, window_s: float) -> pa.RecordBatch:
    if not steps.num_rows:
        return records.batch("feature", {"@timestamp": []})
    ends = pc.min_max(steps.column("@timestamp").cast(pa.int64())).as_py()
    return step_features(steps, window_s, aligned(ends["min"], window_s), aligned(ends["max"], window_s) + round(window_s * NS))


def _now(view: RunView) -> Booleans:
    """The windows at the end of the run, shape (windows,)."""
    inside = np.zeros(len(view.starts), bool)
    inside[-max(round(_NOW_S / view.window_s), _FEWEST_WINDOWS):] = True
    some = np.flatnonzero(view.steps > 0)
    inside[some[-_FEWEST_WINDOWS:]] = True
    return inside


def _step_times(view: RunView, now: Booleans) -> dict[str, Any]:
    def mean(inside: Booleans) -> float | None:
        steps = view.steps[inside].sum()
        return float(view.wall[inside].sum() / steps) if steps else None

    # a window in which no step began has none: steps may be longer than windows
    some = view.steps > 0
    trend = (view.wall[some] / view.steps[some])[-_POINTS:]
    return {"step_time_s": mean(now), "usual_s": mean(~now), "trend": [float(one) for one in trend]}


def _phases(view: RunView, now: Booleans) -> list[tuple[str, float, float | None]]:
    steps, before = view.steps[now].sum(), view.steps[~now].sum()
    found = []
    for name in PARTS:
        seconds = view.phase(name)
        if steps and seconds.any():
            found.append((name, float(seconds[now].sum() / steps), float(seconds[~now].sum() / before) if before else None))
    return sorted(found, key=lambda one: -one[1])


def _ranks(view: RunView, now: Booleans) -> list[dict[str, Any]]:
    def total(rank: Entity, name: str) -> float:
        return float(np.nansum(rank.series[name][now])) if name in rank.series else 0.0

    own = np.array([total(rank, "own_s") / steps if (steps := total(rank, "steps")) else np.nan for rank in view.ranks])
    critical = sum(total(rank, "critical_steps") for rank in view.ranks)
    found = []
    for rank, seconds, ratio in zip(view.ranks, own, ratios_to_others(own), strict=True):
        longest = max((total(rank, f"phase.{name}_s"), name) for name in PARTS)
        found.append({"rank": rank.rank, "host": rank.host, "own_s": None if np.isnan(seconds) else float(seconds),
                      "ratio": None if np.isnan(ratio) else float(ratio),
                      "last_share": total(rank, "critical_steps") / critical if critical else None,
                      "longest": longest[1] if longest[0] else None})
    return sorted(found, key=lambda one: -(one["own_s"] or 0.0))


def _latest(entity: Entity, name: str) -> float | None:
    values = entity.series[name] if name in entity.series else np.zeros(0)
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else None


_GPU = {"busy": "gpu.busy_ratio", "clock_hz": "gpu.clock.sm_hz", "clock_max_hz": "gpu.clock.sm_max_hz",
        "used_bytes": "gpu.memory.used_bytes", "total_bytes": "gpu.memory.total_bytes",
        "power_w": "gpu.power_w", "celsius": "gpu.temperature_celsius", "lost": "gpu.lost"}
_THROTTLED = {"thermal": "heat", "software_thermal": "heat", "hardware_thermal": "heat", "power": "power", "power_brake": "power brake",
              "board_limit": "board limit", "reliability": "voltage", "sync_boost": "a slower GPU"}
_HOLDS = {"software_thermal": "heat", "hardware_thermal": "heat", "software_power_cap": "power", "power_brake": "power brake",
          "sync_boost": "a slower GPU", "application_clocks": "a clock setting", "hardware_slowdown": "hardware"}


def _gpu(gpu: Entity) -> dict[str, Any]:
    """What a GPU does now, and what holds its clocks low: of the last window the counters, which miss nothing, else the flags."""
    held = {word for name, word in _THROTTLED.items() if (_latest(gpu, f"gpu.throttled.{name}_s") or 0.0) > 0.01}
    held |= {word for name, word in _HOLDS.items() if (_latest(gpu, f"gpu.clocks_event.{name}") or 0.0) > 0.0}
    index = gpu.labels.get("gpu.index")
    return {"id": gpu.id, "index": int(index) if index and index.isdecimal() else None, "host": gpu.host, "held": sorted(held),
            **{name: _latest(gpu, metric) for name, metric in _GPU.items()}}


def _host(hosts: Iterable[Entity]) -> list[dict[str, Any]]:
    found = []
    for host in hosts:
        cores, busy, total = (_latest(host, name) for name in ("system.cpu.count", "system.cpu.busy_s", "system.memory.total_bytes"))
        available = _latest(host, "system.memory.available_bytes")
        found.append({
            "host": host.host or host.id, "cpu": busy / cores if busy is not None and cores else None,
            "memory": 1 - available / total if available is not None and total else None,
            "io_wait": _latest(host, "system.pressure.io.some_s"), "memory_wait": _latest(host, "system.pressure.memory.some_s"),
            "cpu_wait": _latest(host, "system.pressure.cpu.some_s")})
    return found
