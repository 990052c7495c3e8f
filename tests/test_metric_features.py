"""Readings of entities are reduced to features: gauges as mean, counters as rate."""

import pyarrow as pa
import pytest

from pinchpoint import records
from pinchpoint.clock import NS
from pipelines.metric_features import metric_features


def features(rows, window_s=10.0):
    """Features by entity and window of (seconds, entity, metrics) rows."""
    batch = records.batch("metric", {
        "@timestamp": [round(at * NS) for at, _, _ in rows], "entity.kind": ["host"] * len(rows), "entity.id": [who for _, who, _ in rows],
        "host.name": [who for _, who, _ in rows], "metrics": [list(what.items()) for _, _, what in rows]})
    found = metric_features(pa.Table.from_batches([batch]), window_s)
    return {(row["entity.id"], row["@timestamp"].value // NS): dict(row["features"]) for row in found.to_pylist()}


def test_a_gauge_is_averaged_and_a_counter_becomes_a_rate():
    """Both over the readings of the window."""
    found = features([(0, "a", {"system.load.1m": 1.0, "system.cpu.busy_s": 100.0}),
                      (5, "a", {"system.load.1m": 3.0, "system.cpu.busy_s": 107.5})])

    assert found["a", 0] == {"system.load.1m": 2.0, "system.cpu.busy_s": 1.5}


def test_a_rate_that_others_worked_out_stands_for_the_counter():
    """As long as the counter itself was not read; a name that only looks like one stays as it is."""
    found = features([(0, "a", {"system.cpu.busy_s.rate": 3.0, "queue.rate": 7.0}), (5, "a", {"system.cpu.busy_s.rate": 5.0}),
                      (0, "b", {"disk.reads": 0.0, "disk.reads.rate": 9.0}), (5, "b", {"disk.reads": 10.0})])

    assert found["a", 0] == {"system.cpu.busy_s": 4.0, "queue.rate": 7.0}
    assert found["b", 0] == {"disk.reads": 2.0}


def test_the_difference_to_the_window_before_counts():
    """One reading a window is enough for a rate."""
    found = features([(5, "a", {"system.cpu.busy_s": 10.0}), (15, "a", {"system.cpu.busy_s": 30.0})])

    assert found["a", 10] == {"system.cpu.busy_s": 2.0}
    assert found["a", 0] == {}


def test_a_counter_that_goes_back_was_reset():
    """The difference over a reset is left out, not taken as negative."""
    found = features([(0, "a", {"disk.reads": 90.0}), (1, "a", {"disk.reads": 5.0}), (2, "a", {"disk.reads": 9.0})])

    assert found["a", 0] == {"disk.reads": 4.0}


def test_entities_are_kept_apart():
    """Counters of one entity never meet those of another."""
    found = features([(0, "a", {"disk.reads": 0.0}), (1, "b", {"disk.reads": 1000.0}), (2, "a", {"disk.reads": 2.0}),
                      (3, "b", {"disk.reads": 1002.0})])

    assert found["a", 0] == {"disk.reads": pytest.approx(1.0)}
    assert found["b", 0] == {"disk.reads": pytest.approx(1.0)}


def test_sentinels_are_no_readings():
    """What exporters write for "not supported" is left out."""
    assert features([(0, "a", {"gpu.power_w": 2.0**47, "gpu.temperature": 60.0})])["a", 0] == {"gpu.temperature": 60.0}


def test_records_without_readings_do_no_harm():
    """An empty or absent map gives no features and no error."""
    batch = records.batch("metric", {"@timestamp": [0, 1], "entity.kind": ["host"] * 2, "entity.id": ["a", "b"], "metrics": [[], None]})

    assert metric_features(pa.Table.from_batches([batch]), 10.0).num_rows == 0
