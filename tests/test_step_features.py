"""Steps of many ranks are reduced to features of ranks and of the run."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.step_features import step_features


def table(**columns):
    return pa.Table.from_batches([records.batch("step", columns)])


def of(batch, kind):
    """Features by entity and window of one kind."""
    return {(row["entity.id"], row["@timestamp"].value // NS): dict(row["features"])
            for row in batch.to_pylist() if row["entity.kind"] == kind}


def synchronous(own, communication_s=0.01, **more):
    """Records of a run whose ranks leave each step together; own time in seconds, shape (steps, ranks)."""
    own = np.asarray(own, float)
    steps, ranks = own.shape
    wall = own.max(axis=1) + communication_s
    start = np.concatenate(([0.0], np.cumsum(wall)[:-1]))
    return table(**{
        "@timestamp": np.repeat((start * NS).round().astype(np.int64), ranks), "run.id": ["r"] * own.size,
        "rank": np.tile(np.arange(ranks), steps), "step": np.repeat(np.arange(steps), ranks),
        "duration_s": np.repeat(wall, ranks), "phase.forward_s": own.reshape(-1),
        "phase.communication_s": (wall[:, None] - own).reshape(-1), **more})


def test_wall_time_is_that_of_the_rank_that_waits_least():
    """The waiting of the fast rank belongs to the slow one: phases of the critical path add up to the wall time."""
    batch = step_features(synchronous([[0.1, 0.3], [0.1, 0.3]]), 10.0, 0, 10 * NS)

    run = of(batch, "run")["r", 0]
    assert run["wall_s"] == pytest.approx(0.62)
    assert run["phase.forward_s"] == pytest.approx(0.6)
    assert run["phase.communication_s"] == pytest.approx(0.02)
    assert run["skew_s"] == pytest.approx(0.4)
    assert of(batch, "rank")["1", 0]["critical_steps"] == 2
    assert "critical_steps" in of(batch, "rank")["0", 0] and of(batch, "rank")["0", 0]["critical_steps"] == 0


@given(st.lists(st.lists(st.integers(1, 400), min_size=3, max_size=3), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_fast_way_equals_the_slow_way(own_ms):
    """Columns at once give what a loop over steps gives, in every window."""
    own = np.array(own_ms) / 1000
    batch = step_features(synchronous(own), 1.0, 0, 3600 * NS)

    wall = own.max(axis=1) + 0.01
    start = np.concatenate(([0.0], np.cumsum(wall)[:-1])).round(9)
    expected: dict[int, list[float]] = {}
    for step, begin in enumerate(start):
        sums = expected.setdefault(int(begin), [0.0, 0.0, 0.0])
        sums[0] += 1
        sums[1] += wall[step]
        sums[2] += own[step].max() - np.median(np.sort(own[step])[:-1])
    found = {window: [run["steps"], run["wall_s"], run["skew_s"]] for (_, window), run in of(batch, "run").items()}
    assert found.keys() == expected.keys()
    for window, sums in expected.items():
        assert found[window] == pytest.approx(sums, abs=1e-6)


def test_order_of_records_does_not_matter():
    """Records in any order give the same features."""
    whole = synchronous(np.random.default_rng(1).uniform(0.05, 0.2, (50, 4)))
    mixed = whole.take(pa.array(np.random.default_rng(2).permutation(whole.num_rows)))

    assert step_features(whole, 1.0, 0, 60 * NS).equals(step_features(mixed, 1.0, 0, 60 * NS))


def test_what_no_phase_covers_is_other():
    """The rest of a step is `other`, and phases that do not occur are left out."""
    batch = step_features(table(**{"@timestamp": [0], "run.id": ["r"], "rank": [0], "step": [0], "duration_s": [1.0],
                                   "phase.data_wait_s": [0.25]}), 10.0, 0, 10 * NS)

    run = of(batch, "run")["r", 0]
    assert (run["phase.data_wait_s"], run["phase.other_s"]) == (0.25, 0.75)
    assert "phase.gc_s" not in run


def test_gaps_between_steps_are_wall_time():
    """Time between the end of a step and the next one counts as gap."""
    batch = step_features(table(**{"@timestamp": [0, 3 * NS], "run.id": ["r"] * 2, "rank": [0, 0], "step": [0, 1],
                                   "duration_s": [1.0, 1.0]}), 10.0, 0, 10 * NS)

    run = of(batch, "run")["r", 0]
    assert (run["wall_s"], run["phase.gap_s"]) == (4.0, 2.0)


def test_a_step_on_the_edge_of_two_slices_counts_once():
    """Of a step that ranks begin on both sides of an edge, only the slice with the lowest rank counts it."""
    start = np.array([9.97, 10.02, 10.5, 10.5])
    whole = table(**{"@timestamp": (start * NS).astype(np.int64), "run.id": ["r"] * 4, "rank": [0, 1, 0, 1], "step": [7, 7, 8, 8],
                     "duration_s": [0.5] * 4})
    seconds = np.asarray(whole.column("@timestamp").cast(pa.int64())) / NS
    left = step_features(whole.filter(pa.array(seconds < 10)), 10.0, 0, 10 * NS)
    right = step_features(whole.filter(pa.array(seconds >= 10)), 10.0, 10 * NS, 20 * NS)

    assert of(left, "run")["r", 0]["steps"] == 1
    assert of(right, "run")["r", 10]["steps"] == 1


def test_work_repeated_after_a_restart_is_another_step():
    """The same step number of the same rank twice is two steps of the run."""
    batch = step_features(table(**{"@timestamp": [0, NS, 5 * NS, 6 * NS], "run.id": ["r"] * 4, "rank": [0] * 4, "step": [0, 1, 0, 1],
                                   "duration_s": [1.0] * 4}), 10.0, 0, 10 * NS)

    assert of(batch, "run")["r", 0]["steps"] == 4


def test_what_was_not_measured_is_absent_and_not_zero():
    """CPU time that nobody measured is no feature; CPU time of 0 is one."""
    columns = {"@timestamp": [0], "run.id": ["r"], "rank": [0], "step": [0], "duration_s": [1.0]}

    assert "cpu_s" not in of(step_features(table(**columns), 10.0, 0, NS), "rank")["0", 0]
    assert of(step_features(table(**columns, cpu_s=[0.0]), 10.0, 0, NS), "rank")["0", 0]["cpu_s"] == 0.0


def test_the_longest_steps_name_the_phase_that_made_them_long():
    """A slow step carries the phase that exceeds its usual time."""
    size = 40
    wait = np.full(size, 0.01)
    wait[17] = 0.5
    batch = step_features(table(**{"@timestamp": np.arange(size) * NS // 10, "run.id": ["r"] * size, "rank": [0] * size,
                                   "step": np.arange(size), "duration_s": 0.05 + wait, "phase.data_wait_s": wait}), 10.0, 0, 10 * NS)

    slow = next(row["slow_steps"] for row in batch.to_pylist() if row["entity.kind"] == "run")
    assert (slow[0]["step"], slow[0]["phase"]) == (17, "data_wait")
    assert of(batch, "run")["r", 0]["spike_steps.data_wait"] == 1


def test_no_steps_give_no_features():
    """An empty slice, or one with steps without duration, gives an empty batch."""
    assert step_features(table(**{"@timestamp": []}), 10.0, 0, NS).num_rows == 0
    assert step_features(table(**{"@timestamp": [1], "duration_s": [None]}), 10.0, 0, NS).num_rows == 0
