"""What sources make are records of ours, without secrets, and making them loads nothing heavy."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_spool import as_row

from pinchpoint import fields
from pinchpoint.clock import SYSTEM_CLOCK, format_time, parse_time
from shippers.redact import Redactor
from shippers.sources.cgroup import CgroupSource
from shippers.sources.documents import TimeText, make_item, place_fields, reading_items, without_secrets
from shippers.sources.filesystem import FilesystemSource
from shippers.sources.host import HostSource
from shippers.sources.network import NetworkSource
from shippers.sources.nfs import NfsSource
from shippers.sources.process import ProcessSource
from shippers.sources.reading import Reading

NOW_NS = 1_767_225_600_500_000_000


def test_readings_of_this_host_are_records() -> None:
    """Every one is read as a record of kind metric with its own identity."""
    sources: list[Any] = [HostSource("h"), NetworkSource("h"), FilesystemSource("h"), NfsSource("h"), CgroupSource("h", 1),
                          ProcessSource("h", 0)]
    items = [item for source in sources for item in reading_items(source.read(), SYSTEM_CLOCK.now_ns(), "h", Redactor())]

    assert items
    assert len({item.id for item in items}) == len(items)
    for item in items:
        as_row(item)


def test_a_reading_becomes_a_document() -> None:
    """Fields stand where the table has them, labels below labels; what is no number, and a reading of nothing, is left out."""
    readings = [Reading("gpu", "GPU-1", {"gpu.power_w": 300.0, "x": math.nan, "y": math.inf}, 7,
                        {"rank": "3", "run.id": "r", "entity.kind": "x", "step": "y", "url": "http://u:p@h/"}, 5),
                Reading("host", "h", {})]
    (item,) = reading_items(readings, NOW_NS, "h", Redactor())

    as_row(item)
    assert json.loads(item.document) == {
        "event.id": item.id, "@timestamp": "1970-01-01T00:00:00.000000005Z", "entity.kind": "gpu", "entity.id": "GPU-1", "host.name": "h",
        "process.pid": 7, "rank": 3, "run.id": "r", "labels": {"entity.kind": "x", "step": "y", "url": "http://[redacted]@h/"},
        "metrics": {"gpu.power_w": 300.0}}


def test_identities_are_made_of_content() -> None:
    """The same record has the same one, another record, kind or salt another one."""
    record = {"@timestamp": "2026-01-01T00:00:00Z", "event.action": "deploy"}
    made = [make_item("event", record), make_item("event", dict(record)), make_item("log", record), make_item("event", record, salt=b"2"),
            make_item("event", {**record, "event.reason": "x"})]
    identities = [item.id for item in made if item is not None]

    assert identities[0] == identities[1]
    assert len(set(identities)) == 4
    named = make_item("event", record, 'a "b"\n')
    assert named is not None
    assert json.loads(named.document)["event.id"] == named.id == 'a "b"\n'


@given(st.integers(0, (1 << 62) - 1))
def test_times_are_written_as_everywhere(time_ns: int) -> None:
    """The quick way gives the same time as the careful one."""
    text = TimeText()
    assert parse_time(text(time_ns)) == parse_time(format_time(time_ns))
    assert parse_time(text(time_ns + 1)) == parse_time(format_time(time_ns + 1))


_NAMES = st.sampled_from(sorted({name for names in fields.KINDS.values() for name in names if name != "labels"}))


@given(st.sampled_from(fields.SHIPPED), st.dictionaries(_NAMES, st.text(max_size=5)))
def test_no_field_is_lost_in_placing(kind: str, given_fields: dict[str, str]) -> None:
    """What a kind of record does not have is a label."""
    placed = place_fields(kind, given_fields)

    assert {**placed, **placed.get("labels", {})} == {**given_fields, **({"labels": placed["labels"]} if "labels" in placed else {})}
    assert set(placed) <= set(fields.KINDS[kind])


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4), st.text(max_size=30))
def test_hiding_secrets_changes_nothing_else(labels: dict[str, str], message: str) -> None:
    """Keys stay, and text without a secret stays; a second time changes nothing more."""
    redact = Redactor()
    first = [{"message": message, "labels": dict(labels)}]
    without_secrets(first, redact)
    again = [{"message": first[0]["message"], "labels": dict(first[0]["labels"])}]
    without_secrets(again, redact)

    assert first[0]["labels"].keys() == labels.keys()
    assert again == first
    if redact("\n".join([message, *(f"{key}={value}" for key, value in labels.items())]).encode()).decode() == "\n".join(
            [message, *(f"{key}={value}" for key, value in labels.items())]):
        assert first == [{"message": message, "labels": labels}]


@pytest.mark.parametrize(("modules", "absent"), [
    ("host network filesystem nfs cgroup process jobs kernel_log journald event_folder",
     "pyarrow pandas numpy apache_beam elasticsearch google urllib3 click http.server"),
    ("scrape webhook otlp", "pyarrow pandas numpy apache_beam elasticsearch click grpc prometheus_client"),
])
def test_sources_load_nothing_heavy(modules: str, absent: str) -> None:
    """A host that only ships stays small."""
    program = (f"import importlib, sys\nfor name in {modules.split()!r}: importlib.import_module('shippers.sources.' + name)\n"
               f"print([name for name in {absent.split()!r} if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True).stdout

    assert found.strip() == "[]"
