"""Output of DLIO and MLPerf Storage: the wait for data is the benchmark's own."""

import json

import pytest

from shippers.formats import open_input

CONFIG = "workload:\n  model:\n    name: resnet50\n  dataset:\n    num_files_train: 1000\n    num_samples_per_file: 10\n" \
         "  reader:\n    batch_size: 10\n  train:\n    computation_time: 0.5\n"


def folder(path, length_s, epochs=4, info=True):
    (path / ".hydra").mkdir(parents=True)
    (path / ".hydra" / "config.yaml").write_text(CONFIG)
    block = {"start": "2024-08-30T22:41:04.000000", "end": "2024-08-30T22:48:03.000000", "duration": f"{length_s:.2f}"}
    (path / "per_epoch_stats.json").write_text(json.dumps({
        str(n): {"start": "2024-08-30T22:41:03.000000", "block1": block, "duration": "900"} for n in range(1, epochs + 1)}))
    if info:
        (path / "run_info.json").write_text(json.dumps({"num_accelerators": 10}))
    return path / "per_epoch_stats.json"


def read(path):
    reading = open_input(path)
    batches = list(reading)
    return ([row for kind, batch in batches if kind == "step" for row in batch.to_pylist()],
            [dict(row["metrics"]) for kind, batch in batches if kind == "metric" for row in batch.to_pylist()], reading)


def test_the_stall_is_estimated_from_the_length_of_epochs(tmp_path):
    """100 steps of 0.5 s in 62.5 s: the first and last step and the first batch are left out, as the benchmark does."""
    steps, told, reading = read(folder(tmp_path / "a", 62.5))

    assert reading.reader == "dlio"
    assert [row["phase.compute_s"] for row in steps] == [49.0] * 4
    assert told[0]["told.data_wait"] == pytest.approx(1 - 49 / 61.5, abs=0.001)
    assert any("estimated" in note for note in reading.notes)


def test_recorded_steps_make_it_exact(tmp_path):
    """With the steps of ranks, utilisation is computation over the time without the first and the last step."""
    path = folder(tmp_path / "a", 20.0)
    (path.parent / "0_output.json").write_text(json.dumps({
        str(n): {"load": {"block1": [8.0, 0.1, 0.1, 0.1]}, "proc": {"block1": [9.0, 5.0, 5.0, 1.0]},
                 "compute": {"block1": [0.5, 0.5, 0.5, 0.5]}} for n in range(1, 5)}))

    _, told, reading = read(path)

    assert told[0]["told.data_wait"] == pytest.approx(0.9)
    assert not any("estimated" in note for note in reading.notes)


def test_without_the_number_of_accelerators_nothing_is_claimed(tmp_path):
    """How many steps an epoch has follows from it."""
    steps, told, reading = read(folder(tmp_path / "a", 62.5, info=False))

    assert (steps, told) == ([], [])
    assert "run_info.json" in reading.notes[-1]


def test_damaged_neighbours_are_noted(tmp_path):
    """A file beside it that is no JSON does not keep the rest from being read."""
    path = folder(tmp_path / "a", 62.5)
    (path.parent / "0_output.json").write_text("[" * 100_000)

    steps, _, reading = read(path)

    assert len(steps) == 4
    assert any("not JSON" in note for note in reading.notes)
