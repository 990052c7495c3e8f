"""`compare`: what changed from one run to another, beyond the spread or within it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import run_view

from models.comparing import compare as compared
from models.families import family_of
from pinchpoint.store.lake import LakeStore
from shippers.compare import compare
from shippers.formats import open_input

START = 1_767_225_600 * 10**9


def steps(path, *, seconds=0.1, wait=0.01, size=300, seed=0, noise=0.02, tokens=None, run="r", ranks=1):
    """A run as NDJSON: forward takes what waiting leaves."""
    rng = np.random.default_rng(seed)
    lines, time_ns = [], START
    for number in range(size):
        longest = 0.0
        for rank in range(ranks):
            waits, works = (value * (1 + noise * rng.standard_normal()) for value in (wait, seconds - wait))
            longest = max(longest, waits + works)
            lines.append(json.dumps({"kind": "step", "@timestamp": time_ns, "run.id": run, "rank": rank, "step": number,
                                     "duration_s": waits + works, "phase.data_wait_s": waits, "phase.forward_s": works,
                                     **({"tokens": tokens} if tokens else {})}))
        time_ns += round(longest * 1e9)
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    return CliRunner().invoke(compare, [str(one) for one in arguments])


def answer(*arguments):
    return json.loads(run(*arguments, "--format", "json").stdout)


@pytest.fixture
def usual(tmp_path):
    return steps(tmp_path / "usual.ndjson")


def test_two_runs_of_the_same_thing_are_the_same(tmp_path, usual):
    """Other noise, another length: no change, and the interval holds zero."""
    found = answer(usual, steps(tmp_path / "again.ndjson", seed=1, size=500))

    assert found["verdict"] == "same"
    assert found["change"]["low"] < 0 < found["change"]["high"]


def test_a_slower_loader_is_named(tmp_path, usual):
    """Waiting for data takes 30 ms more of a step: slower by 30 %, all of it data_wait, and what it cost in all."""
    found = answer(usual, steps(tmp_path / "slow.ndjson", seconds=0.13, wait=0.04, seed=2))

    assert found["verdict"] == "slower"
    assert found["change"]["ratio"] == pytest.approx(0.3, abs=0.01)
    assert found["change"]["low"] < 0.3 < found["change"]["high"] or found["change"]["low"] == pytest.approx(0.3, abs=0.01)
    assert found["phases"][0]["phase"] == "data_wait"
    assert found["phases"][0]["change_s"] == pytest.approx(0.03, abs=0.002)
    assert found["change"]["lost_seconds"] == pytest.approx(0.03 * 300, rel=0.05)
    assert "data wait" in found["summary"]


def test_a_faster_run_is_said_so(tmp_path, usual):
    """The other way round."""
    found = answer(steps(tmp_path / "slow.ndjson", seconds=0.13, wait=0.04), usual)

    assert found["verdict"] == "faster"
    assert found["change"]["lost_seconds"] < 0


@pytest.mark.parametrize(("limit", "status"), [("5%", 3), ("0.05", 3), ("40%", 0)])
def test_the_gate(tmp_path, usual, limit, status):
    """Status 3 when a step takes longer by more than the limit."""
    slow = steps(tmp_path / "slow.ndjson", seconds=0.13, wait=0.04)

    assert run(usual, slow, "--fail-over", limit).exit_code == status
    assert run(slow, usual, "--fail-over", limit).exit_code == 0


def test_a_change_within_the_spread_is_none(tmp_path):
    """Steps that scatter by half of their time: 3 % more cannot be told apart, whatever the gate."""
    one = steps(tmp_path / "one.ndjson", noise=0.5, size=100)
    other = steps(tmp_path / "other.ndjson", noise=0.5, size=100, seconds=0.103, seed=5)

    assert answer(one, other)["verdict"] == "same"
    assert run(one, other, "--fail-over", "0%").exit_code == 0


def test_the_same_work_is_compared(tmp_path):
    """Twice the tokens in twice the time is no change; what is set otherwise is listed."""
    found = answer(steps(tmp_path / "small.ndjson", tokens=1000), steps(tmp_path / "large.ndjson", tokens=2000, seconds=0.2, wait=0.02))

    assert found["verdict"] == "same"
    assert found["change"]["work"]
    assert {"name": "work of a step", "before": "1000", "after": "2000"} in found["settings"]


def test_warm_up_is_left_out(tmp_path, usual):
    """A first step that compiles for five seconds changes nothing."""
    lines = steps(tmp_path / "compiled.ndjson", seed=3).read_text().splitlines()
    first = json.loads(lines[0])
    late = [json.loads(line) for line in lines[1:]]
    for one in late:
        one["@timestamp"] += 5 * 10**9
    first["duration_s"] += 5.0
    (tmp_path / "compiled.ndjson").write_text("\n".join(json.dumps(one) for one in [first, *late]))

    assert answer(usual, tmp_path / "compiled.ndjson")["verdict"] == "same"


def test_too_few_steps_tell_nothing(tmp_path, usual):
    """Status 1, with the difference shown all the same."""
    result = run(usual, steps(tmp_path / "short.ndjson", size=5), "--format", "json")
    found = json.loads(result.stdout)

    assert (result.exit_code, found["verdict"]) == (1, "not_enough_data")
    assert found["phases"]


def test_runs_of_a_store_are_compared_by_name(tmp_path, usual):
    """Both from a store, or one from a store and one from a file."""
    store = LakeStore(str(tmp_path / "lake"))
    for place, (name, seconds) in enumerate((("monday", 0.1), ("tuesday", 0.13))):
        file = steps(tmp_path / f"{name}.ndjson", run=name, seconds=seconds)
        for number, (kind, batch) in enumerate(open_input(file)):
            store.append(kind, batch, f"{place}-{number}")

    assert answer("monday", "tuesday", "--store", tmp_path / "lake")["verdict"] == "slower"
    assert answer(usual, "monday", "--store", tmp_path / "lake")["verdict"] == "same"


def test_what_is_neither_a_file_nor_a_run_is_said(tmp_path, usual):
    """With where was looked."""
    result = run(usual, "wednesday", "--store", tmp_path / "lake")

    assert result.exit_code == 1
    assert "no such run" in str(result.exception)


@pytest.mark.parametrize("limit", ["five", "-1%", "nan", "1e9"])
def test_a_wrong_limit_is_refused(usual, limit):
    """Before anything is read."""
    assert run(usual, usual, f"--fail-over={limit}").exit_code == 2


def test_people_and_reviews_get_tables(tmp_path, usual):
    """The largest change first; markdown for a review, in which hostile names are text."""
    slow = steps(tmp_path / "slow.ndjson", seconds=0.13, wait=0.04, run="<b>|x")
    text, marked = run(usual, slow).stdout, run(usual, slow, "--format", "markdown").stdout

    assert text.startswith("SLOWER")
    assert text.index("data wait") < text.index("forward")
    assert "| data wait |" in marked


@pytest.mark.parametrize(("name", "family"), [
    ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevComm*)", "communication"), ("flash_fwd_kernel", "attention"),
    ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"), ("Memcpy HtoD (Pinned -> Device)", "copies"),
    ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "elementwise"),
    ("cudnn::bn_fw_tr_1C11_kernel_NCHW", "others"), ("triton_poi_fused_add_0", "elementwise"),
    ("nvjet_tst_192x192_64x3_2x1_v_bz_coopB_NNN", "matrix products"),
    ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<adam>", "optimizer")])
def test_kernels_have_families(name, family):
    """Names as cuBLAS, NCCL, Triton and PyTorch give them."""
    assert family_of(name) == family


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 2.0))
def test_comparing_the_other_way_round_tells_the_opposite(seed, factor):
    """Ratios of both directions multiply to one, and no run differs from itself."""
    own = 0.1 * (1 + 0.02 * np.random.default_rng(seed).standard_normal((200, 2)))
    one, other = run_view(own), run_view(own * factor)
    forth, back = compared(one, other)["change"]["ratio"], compared(other, one)["change"]["ratio"]

    assert (1 + forth) * (1 + back) == pytest.approx(1, abs=2e-3)
    assert compared(one, one)["verdict"] == "same"
