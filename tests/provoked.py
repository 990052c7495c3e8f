"""A store with what an analysis made of a slow run, for tests of what is done to stores."""

import json
from typing import Any

import numpy as np
from click.testing import CliRunner

from pinchpoint import fields, records
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.store import IncidentFilter, open_store
from pipelines.cli import analyze

#: The start of an hour, recent enough for every retention.
BEGIN = SYSTEM_CLOCK.now_ns() // (3600 * NS) * 3600 * NS - 7200 * NS


def provoke(url: str) -> str:
    """Ship a run that waits for its data, analyse it, label what was found."""
    store, steps = open_store(url), 600
    number = np.arange(steps)
    store.append("step", records.batch("step", {
        "@timestamp": BEGIN + (number * 0.08 * NS).astype(np.int64), "event.id": [f"r-0-{one}" for one in number],
        "run.id": ["r"] * steps, "run.workload": ["w"] * steps, "rank": [0] * steps, "step": number, "host.name": ["h"] * steps,
        "duration_s": [0.08] * steps, "phase.data_wait_s": [0.03] * steps, "phase.forward_s": [0.05] * steps,
        "data_wait_cpu_s": [0.027] * steps}), "steps")
    analyse(url)
    [incident] = store.query_incidents(IncidentFilter())
    store.label(incident["id"], "confirmed", "the loader has no workers", BEGIN)
    return url


def analyse(url: str) -> None:
    """As `pinchpoint analyze` does it."""
    done = CliRunner().invoke(analyze, ["--store", url])
    assert done.exit_code == 0, done.output


def everything(url: str) -> str:
    """All results of a store as JSON: incidents with labels, records of derived kinds in order, the watermark."""
    store = open_store(url)
    found = {"incidents": store.query_incidents(IncidentFilter()), "watermark": store.watermark("analyze")}
    for kind in fields.DERIVED:
        rows = [_plain(row) for split in store.splits(kind) for batch in store.read(split) for row in batch.to_pylist()]
        found[kind] = sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return json.dumps(found, indent=1)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A record with its maps as mappings, which have no order."""
    return {name: dict(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value
            for name, value in row.items()}
