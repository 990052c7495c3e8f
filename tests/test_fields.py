"""The table of fields and metrics agrees with itself."""

import collections

import pytest

from pinchpoint import fields, metrics

UNITS = {"_bytes_per_s": "bytes/s", "_s": "s", "_hz": "Hz", "_j": "J",
         "_bytes": "bytes", "_ratio": "ratio", "_w": "W", "_celsius": "°C", "_cores": "cores"}


@pytest.mark.parametrize("kind", fields.KINDS)
def test_every_column_of_a_kind_is_a_field(kind):
    """A kind of record names known fields, each once, and has room for unknown ones."""
    names = fields.KINDS[kind]
    assert [name for name in names if name not in fields.FIELDS] == []
    assert [name for name, times in collections.Counter(names).items() if times > 1] == []
    assert names[:4] == ("@timestamp", "event.id", "run.id", "run.workload")
    assert names[-1] == "labels"


def test_every_field_is_a_column_of_some_kind():
    """No field is defined that no record can carry."""
    used = {name for names in fields.KINDS.values() for name in names}
    assert set(fields.FIELDS) - used == set()


def test_kinds_are_either_shipped_or_derived():
    """Each kind comes in or is made, never both."""
    assert sorted((*fields.SHIPPED, *fields.DERIVED)) == sorted(fields.KINDS)
    assert set(fields.SHIPPED) & set(fields.DERIVED) == set()


def test_every_phase_has_a_field():
    """The phases of a step and the phase fields are the same."""
    assert [f"phase.{name}_s" for name in fields.PHASES] == [name for name in fields.FIELDS if name.startswith("phase.")]


@pytest.mark.parametrize("field", fields.FIELDS.values(), ids=lambda field: field.name)
def test_the_unit_of_a_field_is_in_its_name(field):
    """A name that ends in a unit has that unit, and every field says what it means."""
    for ending, unit in UNITS.items():
        if field.name.endswith(ending):
            assert field.unit == unit
    assert field.meaning


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_the_unit_of_a_metric_is_in_its_name(metric):
    """A metric that ends in a unit has that unit, shares are gauges, and anybody can check the number."""
    unit = next((unit for ending, unit in UNITS.items() if metric.name.endswith(ending)), metric.unit)
    assert metric.unit == unit
    assert metric.unit != "percent"
    assert metric.kind == "gauge" or metric.unit != "ratio"
    assert metric.meaning
    assert metric.check


def test_no_name_is_given_twice():
    """Building the tables by name lost no entry."""
    assert len(fields._FIELDS) == len(fields.FIELDS)
    assert len(metrics._ALL) == len(metrics.METRICS)
