"""From a run to a named cause: each cause with its evidence, beside its nearest wrong one and a healthy twin."""

import numpy as np
import pytest
from runs import START, host, run_view

from models import verdict
from models.causes import load
from models.view import Event
from pinchpoint.clock import NS

CAUSES = load()
RNG = np.random.default_rng(7)


def steps(count, seconds=0.05, ranks=1, noise=0.02):
    return seconds * (1 + noise * RNG.standard_normal((count, ranks)).clip(-3, 3))


def explained(view):
    """The answer, after checking what holds for every answer."""
    answer = verdict.explain(view, CAUSES)
    for incident in answer["incidents"]:
        parts = sum(cause["lost_seconds"] for cause in incident["causes"])
        lost = incident["symptom"]["lost_seconds"]
        assert parts + incident["unexplained_share"] * lost == pytest.approx(lost, rel=1e-4)
        assert all(cause["evidence"] for cause in incident["causes"])
        assert 0 <= incident["symptom"]["lost_share"] <= 1
    assert sum(share for name, share in answer["shares"].items() if not name.startswith("gpu_")) == pytest.approx(1, abs=0.01)
    return answer


def first(answer):
    """Name of the first cause of the first incident."""
    return answer["incidents"][0]["causes"][0]["cause"] if answer["incidents"] and answer["incidents"][0]["causes"] else None


def test_an_even_run_is_healthy():
    """A run that computes most of the time has no incident."""
    answer = explained(run_view(steps(600, ranks=2), data_wait=steps(600, 0.001)))

    assert (answer["verdict"], answer["incidents"]) == ("healthy", [])


def test_few_steps_are_not_enough_data():
    """Three steps say nothing."""
    assert explained(run_view(steps(3)))["verdict"] == "not_enough_data"


WAIT = {
    "single_process_loading": ({"data_wait_cpu_s": 0.028}, {"workers": 0}),
    "cpu_bound_decode": ({"data_wait_cpu_s": 0.001}, {"workers": 1, "worker_cpu": 0.97, "busy": 1.5}),
    "too_few_workers": ({"data_wait_cpu_s": 0.001}, {"workers": 1, "worker_cpu": 0.2, "busy": 0.8}),
    "small_file_storm": ({"data_wait_cpu_s": 0.001}, {"workers": 2, "worker_cpu": 0.5, "reads": 4000.0, "read_size": 16384.0}),
}


@pytest.mark.parametrize("cause", WAIT)
def test_waiting_for_data_is_explained_by_what_the_loader_does(cause):
    """The same wait, told apart by worker processes, their CPU time and the size of reads."""
    columns, readings = WAIT[cause]
    wait = 0.03 * (1 + 0.1 * RNG.standard_normal(600))
    answer = explained(run_view(steps(600), data_wait=wait, metrics=host(48, **readings),
                                **{name: np.full(600, value) for name, value in columns.items()}))

    assert first(answer) == cause
    lost = answer["incidents"][0]["causes"][0]["lost_seconds"]
    assert lost == pytest.approx(wait.sum(), rel=0.02)


def test_without_process_metrics_the_umbrella_is_named_and_what_is_missing():
    """What cannot be told from its neighbour says so."""
    answer = explained(run_view(steps(600), data_wait=steps(600, 0.03)))

    assert first(answer) == "input_bound"
    assert any("process metrics" in text for text in answer["incidents"][0]["missing"])


def test_bursts_of_waiting_are_an_underrun():
    """One long wait each eight steps is a queue that is too short, not a loader that is too slow."""
    wait = np.where(np.arange(600) % 8 == 0, 0.3, 0.001)
    answer = explained(run_view(steps(600), data_wait=wait, metrics=host(48, workers=1, worker_cpu=0.8, busy=1.4)))

    assert first(answer) == "prefetch_underrun"


def test_a_rank_that_is_always_last_is_slow():
    """The rank is named, and what it costs is what it takes beyond the others."""
    own = steps(600, ranks=4)
    own[:, 2] *= 1.5
    answer = explained(run_view(own))

    assert first(answer) == "slow_gpu"
    cause = answer["incidents"][0]["causes"][0]
    assert cause["entity"] == {"kind": "rank", "id": "2"}
    assert answer["entities"][0]["entity"] == "rank:2"
    assert cause["lost_seconds"] == pytest.approx(600 * 0.025, rel=0.1)


def test_of_two_ranks_the_slower_one_is_found():
    """Two ranks are enough to be compared."""
    own = steps(600, ranks=2)
    own[:, 1] *= 1.4

    assert first(explained(run_view(own))) == "slow_gpu"


def test_uneven_samples_make_the_last_rank_rotate():
    """Computing time that follows the tokens, another rank each step: no hardware is to blame."""
    tokens = RNG.lognormal(6, 0.5, (600, 4)).round()
    answer = explained(run_view(tokens * 1e-4, tokens=tokens))

    assert first(answer) == "variable_samples"


def test_others_on_the_processors():
    """An onset with processors full of what is not ours: the host, not a change of the run."""
    own = steps(600)
    own[300:] *= 2
    readings = host(47, own=0.9, busy=lambda s: 1.95 if s >= 16 else 1.0, other=lambda s: 1.0 if s >= 16 else 0)
    answer = explained(run_view(own, metrics=readings))

    assert first(answer) == "host_cpu_taken"
    assert answer["incidents"][0]["symptom"]["compared_with"] == "own past"
    assert any("stress" in str(one["value"]) for one in answer["incidents"][0]["causes"][0]["evidence"])


def test_a_quota():
    """Throttled periods name the control group."""
    own = steps(600)
    own[300:] *= 2

    assert first(explained(run_view(own, metrics=host(47, throttled=0.9)))) == "cgroup_cpu_throttled"


def test_a_change_explains_what_nothing_nearer_does():
    """A config event at the onset is the cause, since no resource is short."""
    own = steps(600)
    own[300:] *= 1.6
    onset = START + round((own[:300].sum() + 300 * 0.002) * NS)
    answer = explained(run_view(own, metrics=host(40), events=[Event(onset, "config", "new operator", {})]))

    assert first(answer) == "change_regression"
    assert "new operator" in answer["incidents"][0]["causes"][0]["why"][-1]


def test_an_onset_without_any_evidence_is_unexplained():
    """Slower than before, nobody knows why: said as it is."""
    own = steps(600)
    own[300:] *= 1.6
    answer = explained(run_view(own, metrics=host(40)))

    assert answer["verdict"] == "slow"
    assert answer["incidents"][0]["causes"] == []
    assert answer["incidents"][0]["unexplained_share"] == 1.0


def test_checkpoints_too_often_and_checkpoints_that_block():
    """Many quick saves and few slow ones are two causes."""
    often = np.where(np.arange(600) % 5 == 4, 0.1, 0.0)
    seldom = np.where(np.arange(600) % 150 == 149, 4.0, 0.0)

    assert first(explained(run_view(steps(600), checkpoint=often))) == "checkpoint_or_eval_too_often"
    assert first(explained(run_view(steps(600), checkpoint=seldom))) == "blocking_checkpoint"


def test_garbage_collection_and_memory_that_grows():
    """Collections alone are one cause; collections that walk more and more memory another."""
    storm = np.where(np.arange(600) % 4 == 0, 0.06, 0.0)
    creep = np.where(np.arange(600) % 4 == 0, 0.0003 * np.arange(600), 0.0)

    assert first(explained(run_view(steps(600), gc=storm, metrics=host(40)))) == "gc_or_gil_stall"
    assert first(explained(run_view(steps(600), gc=creep, metrics=host(60, rss=lambda s: 1e9 * (1 + s / 30))))) == "memory_creep"


def test_compiling_again_and_again():
    """A third of the steps compiles."""
    assert first(explained(run_view(steps(600), compile=np.where(np.arange(600) % 3 == 0, 0.05, 0.0)))) == "shape_churn"


def test_two_causes_are_both_named_by_what_they_cost():
    """A small cause never hides a large one (defect of a peer: the first rule that fits wins)."""
    answer = explained(run_view(steps(600), data_wait=steps(600, 0.1), data_wait_cpu_s=np.full(600, 0.09),
                                checkpoint=np.where(np.arange(600) % 10 == 9, 0.15, 0.0)))

    assert [cause["cause"] for cause in answer["incidents"][0]["causes"]] == ["single_process_loading", "checkpoint_or_eval_too_often"]


def test_analysing_twice_gives_the_same_answer():
    """Ids, order and numbers are the same each time."""
    own = steps(600)
    own[300:] *= 1.6

    assert explained(run_view(own)) == explained(run_view(own))
