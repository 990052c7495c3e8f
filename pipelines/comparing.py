"""Two runs of stores as samples, and the comparison of them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.comparing import compare as comparing
from models.comparing import render
from models.comparing.sample import Sample
from pinchpoint.errors import UsageError
from pinchpoint.store import Store, open_store
from pipelines import critical_path, planning, slices
from pipelines.critical_path import PARTS
from pipelines.groups import Floats

exceeds, render_markdown, render_table = comparing.exceeds, render.render_markdown, render.render_table

#: Labels of GPUs that are part of how a run was set up.
_GPU_LABELS = ("gpu.name", "gpu.driver_version", "gpu.vbios")
_MOST_NAMES = 8


def compare_runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of two runs, as docs/compare.md has it.

    Args:
        before: `name` as the user calls it; `store` where it lies, `run` its id or None for the longest there; `families` (seconds by
            family of operations) and `settings` as its inputs tell them.
        after: the same of the second run.
    Raises: UsageError when a store has no such run.
    """
    return comparing.compare(_sample(before), _sample(after))


def _sample(asked: Mapping[str, Any]) -> Sample:
    store, run = open_store(asked["store"]), asked["run"]
    steps = _steps(store, asked["store"], run)
    if run is not None and run not in steps:
        raise UsageError(f"{run}: no such file or folder, and no such run in {store.url}; see those in it with: pinchpoint incidents")
    name = run if run is not None else max(steps, key=lambda one: float(np.sum(steps[one]["wall"])), default=None)
    found = steps.get(name or "", {})
    wall = np.asarray(found.get("wall", np.zeros(0)))
    settings = dict(asked["settings"]) | {key: _text(value) for key, value in found.get("settings", {}).items()}
    shares, of_gpus = _readings(store, name)
    families = {family: seconds / max(len(wall), 1) for family, seconds in asked["families"].items()}
    return Sample(asked["name"], name, wall, {part: found[part] for part in PARTS if part in found and found[part].any()},
                  int(found.get("ranks", 0)), shares, families, settings | of_gpus)


def _steps(store: Store, url: str, run: str | None) -> dict[str, dict[str, Any]]:
    """By run: `wall`, each of `PARTS`, `ranks` and `settings`."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for split in planning.plan(store, planning.Span(run_id=run))["step"]:
        table = slices.read(split, url, critical_path.COLUMNS, run)
        if table.num_rows:
            for name, found in _of_slice(table, split.start, split.end):
                parts.setdefault(name, []).append(found)
    return {name: {**{part: np.concatenate([one[part] for one in found]) for part in ("wall", *PARTS)},
                   "ranks": max(one["ranks"] for one in found), "settings": found[-1]["settings"]} for name, found in parts.items()}


def _of_slice(table: pa.Table, start: int, end: int) -> Iterator[tuple[str, dict[str, Any]]]:
    steps = critical_path.load_steps(table)
    if not len(steps.start):
        return
    gap = critical_path.gaps(steps, np.zeros(len(steps.start), np.int64))
    steps.phases["gap"] = gap
    path = critical_path.critical_path(steps, steps.duration + gap - steps.phases["communication"], start, end)
    for number, name in enumerate(steps.runs):
        mine = np.flatnonzero(steps.run[path.critical] == number)
        mine = mine[np.argsort(path.begin[mine], kind="stable")]
        rows = path.critical[mine]
        found: dict[str, Any] = {part: steps.phases[part][rows] for part in PARTS}
        found["communication"] = path.communication[mine]
        if not len(mine):
            continue
        of_run = steps.run == number
        counted = {"ranks": float(path.ranks[mine].max()), "hosts": float(len(np.unique(steps.host[of_run]))),
                   **{f"{key} of a step": _median(steps.columns[key][of_run]) for key in ("samples", "tokens", "batch_bytes")},
                   "world size": _median(steps.columns["world_size"][of_run])}
        yield name, found | {"wall": path.wall[mine], "ranks": int(path.ranks[mine].max()),
                             "settings": {key: value for key, value in counted.items() if value is not None}}


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _readings(store: Store, run: str | None) -> tuple[dict[str, float], dict[str, str]]:
    """Shares that traces and inputs tell of a run (the mean of its ranks), and the GPUs it ran on."""
    told: dict[str, list[float]] = {}
    gpus: dict[str, set[str]] = {}
    for split in planning.plan(store, planning.Span(run_id=run))["metric"]:
        for batch in store.read(split, ["@timestamp", "run.id", "entity.kind", "metrics", "labels"]):
            runs = batch.column("run.id")
            ours = pc.fill_null(pc.equal(runs, run or ""), fill_value=True)  # machines carry no run
            mine = batch.filter(pc.and_(ours, pc.is_in(batch.column("entity.kind"), pa.array(["trace", "told", "gpu"]))))
            columns = (mine.column(name).to_pylist() for name in ("entity.kind", "metrics", "labels"))
            for kind, metrics, labels in zip(*columns, strict=True):
                for name, value in metrics or () if kind != "gpu" else ():
                    if name.endswith("_ratio") or kind == "told":
                        told.setdefault(name.partition(".")[2].removesuffix("_ratio"), []).append(value)
                for label, value in labels or () if kind == "gpu" else ():
                    if label in _GPU_LABELS and len(gpus.setdefault(label, set())) < _MOST_NAMES:
                        gpus[label].add(value)
    return ({name: float(np.nanmean(values)) for name, values in told.items()},
            {name: ", ".join(sorted(found)) for name, found in gpus.items()})


def _text(value: float) -> str:
    return f"{value:g}"
