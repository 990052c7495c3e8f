"""Simulated fleets of GPUs: the right cause first, nothing in healthy runs, through the functions and through the command."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.gpu_scenarios.__main__ import score
from benchmarks.gpu_scenarios.case import Case, begin, make
from benchmarks.gpu_scenarios.scenarios import FAULTS, HEALTHY, Scenario
from pinchpoint.clock import NS
from shippers.diagnose import diagnose

#: The limits were chosen on seeds below 2000.
HELD_OUT = 2000
#: Larger fleets take seconds each.
MOST_GPUS = 8


@pytest.mark.parametrize("scenario", [*FAULTS, *HEALTHY], ids=lambda scenario: scenario.name)
def test_the_verdict_on_a_seed_nobody_tuned_on(scenario: Scenario) -> None:
    """What went wrong comes first, with the right device; nothing is found where nothing went wrong."""
    row = score(scenario, next(seed for seed in range(HELD_OUT, HELD_OUT + 1000) if begin(scenario, seed)[1].gpus <= MOST_GPUS))

    assert (row["said"], row["right"], row["device"] is not False) == (row["said"], True, True), row


def test_a_seed_gives_the_same_records() -> None:
    """A case that fails can be looked at again."""
    one, other = make(FAULTS[0], 7), make(FAULTS[0], 7)

    assert one.steps.equals(other.steps)
    assert all(mine.equals(its) for mine, its in zip(one.metrics, other.metrics, strict=True))


def write(case: Case, path: Path) -> Path:
    """A case as NDJSON."""
    batches = [("step", case.steps), *(("metric", batch) for batch in case.metrics), ("event", case.events)]
    with path.open("w") as file:
        for kind, batch in batches:
            for row in batch.to_pylist():
                record = {name: dict(value) if isinstance(value, list) else value for name, value in row.items() if value is not None}
                record["@timestamp"] = record["@timestamp"].value if hasattr(record["@timestamp"], "value") else \
                    round(record["@timestamp"].timestamp() * NS)
                file.write(json.dumps({"kind": kind, **record}) + "\n")
    return path


@pytest.mark.parametrize(("name", "seed", "cause"), [("one GPU too hot", 1014, "I06"), ("a GPU falls off the bus", 1003, "I24")])
def test_the_command_says_the_same(name: str, seed: int, cause: str, tmp_path: Path) -> None:
    """From records in a file, through the pipeline, to the device."""
    case = make(next(scenario for scenario in FAULTS if scenario.name == name), seed)
    done = CliRunner().invoke(diagnose, [str(write(case, tmp_path / "run.ndjson")), "--format", "json"], catch_exceptions=False)
    first: dict[str, Any] = json.loads(done.stdout)["incidents"][0]["causes"][0]

    assert (first["id"], first["entity"]) == (cause, {"kind": "gpu", "id": case.uuids[0]})
