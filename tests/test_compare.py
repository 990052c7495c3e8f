"""The command `compare`: what changed from one run to another, and what is only noise."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scores.ratio import ratio_of_medians
from pinchpoint.store import open_store
from shippers.compare import compare
from shippers.formats import open_input

START_NS = 1767225600 * 10**9


def write(path, *, steps=300, seconds=0.1, noise=0.05, wait=0.01, seed=1, slow_steps=(), run="r", warm_up=0):
    """A run as NDJSON: steps of `seconds` with a normal noise, `wait` of them in the loader."""
    rng = np.random.default_rng(seed)
    at, lines = START_NS, []
    for number in range(steps):
        lasts = seconds * (1 + noise * float(rng.normal())) + (5.0 if number in slow_steps else 0.0) + (1.0 if number < warm_up else 0.0)
        lines.append(json.dumps({"kind": "step", "@timestamp": at, "run.id": run, "rank": 0, "step": number, "duration_s": lasts,
                                 "phase.data_wait_s": wait, "phase.forward_s": lasts - wait}))
        at += int(lasts * 1e9)
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    return CliRunner().invoke(compare, [str(one) for one in arguments])


def answer(*arguments):
    return json.loads(run(*arguments, "--format", "json").stdout)


def test_a_run_is_the_same_as_itself(tmp_path):
    """Nothing changed, in no phase."""
    path = write(tmp_path / "a")
    found = answer(path, path)

    assert found["verdict"] == "same"
    assert (found["change"]["ratio"], found["change"]["lost_seconds"]) == (1.0, 0.0)
    assert {row["change_s"] for row in found["phases"]} == {0.0}


@pytest.mark.parametrize("seed", range(2, 10))
def test_noise_is_no_change(tmp_path, seed):
    """Steps that scatter by a fifth differ in their medians, and by chance alone; the gate stays open."""
    done = run(write(tmp_path / "a", noise=0.2), write(tmp_path / "b", noise=0.2, seed=seed), "--fail-over", "0%", "--format", "json")

    assert json.loads(done.stdout)["verdict"] == "same"
    assert done.exit_code == 0


@pytest.mark.parametrize("steps", [60, 900])
def test_a_slow_loader_is_told_by_phase(tmp_path, steps):
    """By how much, in which phase, in how many seconds of the second run; whatever lengths they have."""
    found = answer(write(tmp_path / "a"), write(tmp_path / "b", steps=steps, seconds=0.12, wait=0.03, noise=0.02, seed=2))

    assert found["verdict"] == "slower"
    assert found["change"]["ratio"] == pytest.approx(1.2, abs=0.02)
    assert found["change"]["low"] < found["change"]["ratio"] < found["change"]["high"]
    assert found["phases"][0]["name"] == "data_wait"
    assert found["phases"][0]["change_s"] == pytest.approx(0.02, abs=1e-4)
    assert found["change"]["lost_seconds"] == pytest.approx(0.02 * steps, rel=0.1)
    assert "data_wait" in found["summary"]


def test_the_other_way_round_it_is_faster(tmp_path):
    """And what went away is told with its sign."""
    found = answer(write(tmp_path / "b", seconds=0.12, wait=0.03, seed=2), write(tmp_path / "a"))

    assert found["verdict"] == "faster"
    assert found["phases"][0]["change_s"] == pytest.approx(-0.02, abs=1e-4)
    assert found["change"]["lost_seconds"] < 0


@pytest.mark.parametrize(("over", "status"), [("5%", 3), ("0.05", 3), ("15%", 0), ("0%", 3)])
def test_a_gate_for_ci(tmp_path, over, status):
    """Status 3 when the second run is slower by more than was allowed."""
    assert run(write(tmp_path / "a"), write(tmp_path / "b", seconds=0.11, seed=2), "--fail-over", over).exit_code == status


def test_single_slow_steps_change_no_verdict(tmp_path):
    """A checkpoint now and then leaves the medians alone; a note tells of it."""
    found = answer(write(tmp_path / "a"), write(tmp_path / "b", seed=2, slow_steps=(70, 140, 210)))

    assert found["verdict"] == "same"
    assert any("some of the second run take much longer" in note for note in found["notes"])


def test_warm_up_does_not_count(tmp_path):
    """Slow steps at the beginning are told and left out."""
    found = answer(write(tmp_path / "a"), write(tmp_path / "b", seed=2, warm_up=20))

    assert found["verdict"] == "same"
    assert (found["a"]["warm_up_steps"], found["b"]["warm_up_steps"]) == (0, 20)


def test_runs_of_a_store(tmp_path):
    """A name that is no file is a run of the store."""
    store = open_store(str(tmp_path / "lake"))
    for name, seconds in (("first", 0.1), ("second", 0.13)):
        for place, (kind, batch) in enumerate(open_input(write(tmp_path / name, seconds=seconds, run=name))):
            store.append(kind, batch, f"{name}-{place}")
    before = store.splits("feature")
    found = answer("first", "second", "--store", tmp_path / "lake")

    assert (found["a"]["run"], found["b"]["run"], found["verdict"]) == ("first", "second", "slower")
    assert store.splits("feature") == before


def test_a_file_against_a_run_of_a_store(tmp_path):
    """Each side may come from somewhere else."""
    store = open_store(str(tmp_path / "lake"))
    for place, (kind, batch) in enumerate(open_input(write(tmp_path / "a", run="kept"))):
        store.append(kind, batch, f"a-{place}")

    assert answer("kept", write(tmp_path / "b", seed=3), "--store", tmp_path / "lake")["verdict"] == "same"


@pytest.mark.parametrize(("name", "status", "says"), [
    ("missing.json", 2, "no such file or folder"), ("nowhere", 2, "no such run in"), ("empty", 1, "empty")])
def test_what_is_not_there_is_told(tmp_path, name, status, says):
    """With the name, and what to do."""
    (tmp_path / "empty").write_text("")
    target = tmp_path / name if name == "empty" else name
    from pinchpoint.errors import PinchpointError

    done = run(write(tmp_path / "a"), target, "--store", tmp_path / "lake")

    assert isinstance(done.exception, PinchpointError)
    assert done.exception.exit_status == status
    assert says in str(done.exception)


@pytest.mark.parametrize("over", ["much", "-5%", "nan", ""])
def test_a_share_that_is_none_is_refused(tmp_path, over):
    """Wrong usage exits with 2."""
    path = write(tmp_path / "a")

    assert run(path, path, "--fail-over", over).exit_code == 2


def test_too_few_steps_are_no_answer(tmp_path):
    """Two steps say nothing; the status says so too."""
    done = run(write(tmp_path / "a"), write(tmp_path / "b", steps=2), "--format", "json")

    assert json.loads(done.stdout)["verdict"] == "not_enough_data"
    assert json.loads(done.stdout)["change"]["ratio"] is None
    assert done.exit_code == 1


def test_few_steps_must_lie_apart(tmp_path):
    """With a handful of steps chance alone makes intervals narrow."""
    a = write(tmp_path / "a", steps=4, noise=0.1, seed=3)

    assert answer(a, write(tmp_path / "b", steps=4, noise=0.1, seed=5))["verdict"] == "same"
    assert answer(a, write(tmp_path / "c", steps=4, noise=0.1, seconds=0.2))["verdict"] == "slower"


MEGATRON = " iteration {step:8d}/    1000 | consumed samples: 80 | elapsed time per iteration (ms): {ms:.1f} | learning rate: 1.0E-04 |\n"


def test_arguments_of_trainers_are_told_where_they_differ(tmp_path):
    """As Megatron-LM prints them; what may be a secret is not even read."""
    rng = np.random.default_rng(0)
    for name, size, key in (("a", 4, "one"), ("b", 2, "two")):
        (tmp_path / name).write_text(
            f"  lr .............................................. 0.001\n  micro_batch_size ................................ {size}\n"
            f"  wandb_api_key ................................... {key}\n"
            + "".join(MEGATRON.format(step=step, ms=400 / size * (1 + 0.01 * rng.normal())) for step in range(1, 40)))
    found = answer(tmp_path / "a", tmp_path / "b")

    assert found["settings"] == [{"name": "micro_batch_size", "a": "4", "b": "2"}]
    assert found["verdict"] == "slower"


def trace(path, attention_us, version="12040"):
    events = []
    for step in range(6):
        begin = 1000.0 + (500.0 + attention_us) * step
        events += [{"ph": "X", "cat": "user_annotation", "name": f"ProfilerStep#{step}", "ts": begin, "dur": 500.0 + attention_us},
                   {"ph": "X", "cat": "kernel", "name": "sm80_xmma_gemm_bf16", "ts": begin + 10, "dur": 300.0},
                   {"ph": "X", "cat": "kernel", "name": "flash_fwd_kernel", "ts": begin + 320, "dur": attention_us}]
    path.write_text(json.dumps({"cuda_runtime_version": int(version), "deviceProperties": [{"id": 0, "name": "NVIDIA H100"}],
                                "traceEvents": events}))
    return path


def test_families_of_operations_and_versions_of_traces(tmp_path):
    """Which kernels became slower, under which version, on which device."""
    found = answer(trace(tmp_path / "a", 100.0), trace(tmp_path / "b", 250.0, "12060"))

    assert found["verdict"] == "slower"
    assert found["families"][0]["name"] == "attention"
    assert found["families"][0]["change_s"] == pytest.approx(150e-6)
    assert found["settings"] == [{"name": "cuda_runtime_version", "a": "12040", "b": "12060"}]
    assert {row["name"] for row in found["shares"]} >= {"gpu_idle", "memcpy_exposed"}


@pytest.mark.parametrize("output_format", ["table", "md"])
def test_people_read_the_same(tmp_path, output_format):
    """Verdict, numbers and phases; names cannot break the Markdown."""
    done = run(write(tmp_path / "a|<b>"), write(tmp_path / "b", seconds=0.12, wait=0.03, seed=2), "--format", output_format)

    assert "SLOWER" in done.stdout
    assert "data_wait" in done.stdout
    assert "<b>" not in done.stdout or output_format == "table"


@given(st.integers(10, 400), st.floats(1.0, 3.0), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_ratio(steps, factor, seed):
    """Whatever the series, the median's ratio lies in its interval, which moves with the factor."""
    rng = np.random.default_rng(seed)
    before = rng.lognormal(0, 0.1, steps)
    found, scaled = ratio_of_medians(before[::-1].copy(), before), ratio_of_medians(factor * before[::-1], before)

    assert found.low <= found.value <= found.high
    assert (scaled.low, scaled.high) == pytest.approx((factor * found.low, factor * found.high))


REAL = Path(__file__).parents[2] / "shared" / "data" / "modded_nanogpt" / "dev" / "AdamSyncGradientHook"


def test_the_published_pair_is_ranked_by_communication():
    """Moving the reduce-scatter into hooks of the backward pass exposes less communication."""
    pair = [REAL / f"modded-nanogpt-{name}-gpu-rank-00-chrome-trace.json.gz" for name in ("current", "hook")]
    if not pair[0].exists():
        pytest.skip("needs the published traces of modded-nanoGPT, which are not part of this repository")
    found = answer(*pair)

    assert next(row for row in found["phases"] if row["name"] == "communication")["change_s"] < 0
    assert found["verdict"] == "same"
