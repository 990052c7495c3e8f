"""File stores of MLflow: all metrics of a run are read together, as a folder and in archives."""

import tarfile
import zipfile

import pytest

from shippers.diagnose import ship
from shippers.formats import open_input
from shippers.recorded import recorded

META = """artifact_uri: file:///mlruns/1/{run}/artifacts
end_time: 1700000011000
entry_point_name: ''
experiment_id: '1'
lifecycle_stage: active
run_id: {run}
run_name: {name}
source_name: ''
start_time: 1700000000000
status: 3
tags: []
user_id: someone
"""
EXPERIMENT = "artifact_location: file:///mlruns/1\ncreation_time: 1\nexperiment_id: '1'\nlifecycle_stage: active\nname: e\n"


def store(folder, runs=("a1",), every_s=1.0):
    """As MLflow 3 writes it (MLFLOW_ALLOW_FILE_STORE=true): a loss each 10 steps, and the time of a step."""
    for run in runs:
        place = folder / "mlruns" / "1" / run
        (place / "metrics" / "train").mkdir(parents=True)
        (place / "params").mkdir()
        (place / "meta.yaml").write_text(META.format(run=run, name=f"name of {run}"))
        (place / "params" / "lr").write_text("0.001")
        lines = [f"{1_700_000_000_000 + round(n * every_s * 1000)} {{}} {n * 10}\n" for n in range(5)]
        (place / "metrics" / "loss").write_text("".join(line.format(2.0) for line in lines))
        (place / "metrics" / "train" / "step_time").write_text("".join(line.format(0.05) for line in lines))
    (folder / "mlruns" / "1" / "meta.yaml").write_text(EXPERIMENT)
    return folder / "mlruns"


def steps(path):
    return [row for kind, batch in open_input(path) if kind == "step" for row in batch.to_pylist()]


def test_a_run_is_read_by_its_meta_yaml(tmp_path):
    """Its name, and the step time it logged."""
    rows = steps(store(tmp_path) / "1" / "a1" / "meta.yaml")

    assert list(range(1, 41)) == [row["step"] for row in rows]
    assert {("name of a1", 0.05)} == {(row["run.id"], row["duration_s"]) for row in rows}


def test_parameters_are_settings_of_the_run(tmp_path):
    """For comparisons; what may be a secret is not read."""
    run = store(tmp_path) / "1" / "a1"
    for name, value in (("batch_size", "32"), ("api_key", "hunter2"), ("data", "https://me:hunter2@host/data")):
        (run / "params" / name).write_text(value)
    reading = open_input(run / "meta.yaml")
    list(reading)

    assert (reading.settings["batch_size"], reading.settings["lr"]) == ("32", "0.001")
    assert "hunter2" not in str(reading.settings)


def test_a_metric_alone_is_read_too(tmp_path):
    """It tells when its values were written, whatever it is."""
    rows = steps(store(tmp_path) / "1" / "a1" / "metrics" / "loss")

    assert {("a1", 0.1)} == {(row["run.id"], row["duration_s"]) for row in rows}


def test_of_a_folder_each_run_is_one_input(tmp_path):
    """Metrics, parameters and experiments are no inputs of their own."""
    with recorded() as own:
        inputs, _ = ship((str(store(tmp_path, ("a1", "b2"))),), None, own, None)

    assert [(one["reader"], one["records"]) for one in inputs] == [("mlflow", 40), ("mlflow", 40)]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_read_as_its_folder_is(tmp_path, kind):
    """Runs are put together again, whatever the order of their files."""
    folder, packed = store(tmp_path, ("a1", "b2")), tmp_path / "packed"
    files = sorted((one for one in folder.rglob("*") if one.is_file()), reverse=True)
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as file:
            for one in files:
                file.write(one, one.relative_to(tmp_path))
    else:
        with tarfile.open(packed, "w") as file:
            for one in files:
                file.add(one, one.relative_to(tmp_path))

    assert sorted({row["run.id"] for row in steps(packed)}) == ["name of a1", "name of b2"]
    assert len(steps(packed)) == 80


def test_an_archive_whose_files_are_also_folders_is_read_nevertheless(tmp_path):
    """Names that cannot lie beside each other, or lead out, are put elsewhere."""
    line = "".join(f"{1_700_000_000_000 + n * 1000} 1.0 {n}\n" for n in range(3))
    with zipfile.ZipFile(tmp_path / "packed", "w") as file:
        file.writestr("r/meta.yaml", META.format(run="r", name="r"))
        for name in ("r/metrics/x", "r/metrics/x/y", "r/metrics/../../../../../out"):
            file.writestr(name, line)

    assert {"r"} <= {row["run.id"] for row in steps(tmp_path / "packed")}
    assert not (tmp_path / "out").exists()


def test_lines_that_are_no_values_are_rejected(tmp_path):
    """Those around them are read."""
    path = tmp_path / "loss"
    path.write_bytes(b"1700000000000 1.0 0\n1700000001000 1.0 1\nhello\n1700000002000 one 2\n1700000003000 nan 3\n")
    reading = open_input(path, "mlflow")
    rows = {kind: batch.to_pylist() for kind, batch in reading}

    assert (reading.rejected, [row["step"] for row in rows["step"]]) == (2, [1, 2, 3])
    assert "event" in rows
