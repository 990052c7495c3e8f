"""Files of Prometheus become the same readings as an exporter that is asked live."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinchpoint.errors import InputError
from shippers.formats import open_input

PAGE = """# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",device="nvidia0",Hostname="node1"} 1410
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="user"} 10
node_cpu_seconds_total{cpu="1",mode="system"} 5
this is no sample at all {
"""


def rows(path):
    """All metric records of a file, and its reading."""
    reading = open_input(path)
    return [row | {"metrics": dict(row["metrics"])} for _, batch in reading for row in batch.to_pylist()], reading


def test_a_page_of_an_exporter(tmp_path):
    """Names and units are those of docs/reference/metrics.md; processors add up; a bad line is counted."""
    file = tmp_path / "page.prom"
    file.write_text(PAGE)

    found, reading = rows(file)

    assert (reading.reader, reading.rejected) == ("prometheus_text", 1)
    assert [(row["entity.kind"], row["entity.id"], row["host.name"], row["metrics"]) for row in found] == [
        ("gpu", "GPU-1", "node1", {"gpu.clock.sm_hz": 1.41e9}), ("host", "page", None, {"system.cpu.busy_s": 15.0})]


def test_an_answer_of_the_query_api(tmp_path):
    """Each series is known by its own instance; each time is a record; what is no series or no number is set aside."""
    file = tmp_path / "range.json"
    series = [{"metric": {"__name__": "node_load1", "instance": f"node{n}:9100", "job": "node"},
               "values": [[1700000000, "1.5"], [1700000015.5, "nine"], [1700000030, "NaN"], [1700000045, str(n)]]} for n in (1, 2)]
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [*series, 7]}}))

    found, reading = rows(file)

    assert (reading.reader, reading.rejected) == ("prometheus_json", 3)
    assert [(row["@timestamp"].timestamp(), row["entity.kind"], row["entity.id"], row["host.name"], row["metrics"]) for row in found] == [
        (time_s, "host", host, host, {"system.load.1m": value}) for host, time_s, value in
        (("node1", 1700000000, 1.5), ("node1", 1700000045, 1.0), ("node2", 1700000000, 1.5), ("node2", 1700000045, 2.0))]


def test_a_vector_without_a_name_is_called_like_its_file(tmp_path):
    """Results of expressions have no name."""
    file = tmp_path / "queue_depth.json"
    file.write_text('{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"3"]}]}}')

    assert [(row["entity.id"], row["metrics"]) for row in rows(file)[0]] == [("queue_depth", {"queue_depth": 3.0})]


@pytest.mark.parametrize("text", ['{"data":{"resultType":"matrix","result":' + "[" * 5000, '{"data":{"resultType":"matrix","result":{}}}'])
def test_what_is_no_answer_is_refused(tmp_path, text):
    """The error names the file."""
    file = tmp_path / "range.json"
    file.write_text(text)

    with pytest.raises(InputError, match=r"range\.json"):
        rows(file)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_page_breaks_the_reader(tmp_path_factory, data):
    """Whatever follows the first lines."""
    file = tmp_path_factory.mktemp("page") / "page.prom"
    file.write_bytes(PAGE.encode() + data)

    assert list(open_input(file, "prometheus_text"))
