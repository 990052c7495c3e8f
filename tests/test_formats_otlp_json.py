"""What a collector wrote to a file becomes the records that the same requests would have become live."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shippers.formats import open_input

RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "trainer"}},
                           {"key": "host.name", "value": {"stringValue": "node1"}}]}
NOW = "1700000000000000000"
LOGS = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [
    {"timeUnixNano": NOW, "severityNumber": 17, "body": {"stringValue": "no space left"}}]}]}]}
METRICS = {"resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"metrics": [
    {"name": "queue.depth", "gauge": {"dataPoints": [{"timeUnixNano": NOW, "asDouble": 3.5}]}},
    {"name": "done", "sum": {"aggregationTemporality": 1, "dataPoints": [{"timeUnixNano": NOW, "asInt": "4"}]}}]}]}]}
SPANS = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [
    {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "step", "startTimeUnixNano": NOW,
     "endTimeUnixNano": "1700000002000000000"}]}]}]}


def read(path):
    """Records by kind, and the reading."""
    reading = open_input(path)
    return {kind: batch.to_pylist() for kind, batch in reading}, reading


def test_all_three_sorts_in_one_file(tmp_path):
    """Delta counters and lines that are no request are set aside; a line that was being written is only noted."""
    file = tmp_path / "telemetry.jsonl"
    file.write_text("\n".join([*map(json.dumps, (LOGS, METRICS, SPANS)), "{}", '{"resourceSpans":[7]}', "", '{"resourceLogs":[{"reso']))

    found, reading = read(file)

    assert (reading.reader, reading.rejected) == ("otlp_json", 3)
    assert "incomplete" in reading.notes[-1]
    assert [(row["message"], row["log.level"], row["host.name"]) for row in found["log"]] == [("no space left", "error", "node1")]
    assert [dict(row["metrics"]) for row in found["metric"]] == [{"queue.depth": 3.5}]
    assert [(row["name"], row["duration_s"], row["span.id"], row["host.name"]) for row in found["span"]] == [
        ("step", 2.0, "b7ad6b7169203331", None)]
    assert {row["@timestamp"].timestamp() for rows in found.values() for row in rows} == {1700000000.0}


def test_equal_log_lines_stay_different_records(tmp_path):
    """Their identity holds their place in the file."""
    file = tmp_path / "telemetry.jsonl"
    file.write_text(f"{json.dumps(LOGS)}\n" * 3)

    assert len({row["event.id"] for row in read(file)[0]["log"]}) == 3


def test_lines_of_many_spans_are_read(tmp_path):
    """The collector writes a whole batch into a line, which is longer than lines of logs are."""
    span = SPANS["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    many = [{**span, "spanId": f"{n:016x}", "name": "s" * 200} for n in range(1, 5001)]
    file = tmp_path / "telemetry.jsonl"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}) + "\n")

    assert file.stat().st_size > 1 << 20
    assert len(read(file)[0]["span"]) == 5000


@pytest.mark.parametrize("begin", ['{"resourceSpans":[', '{"resourceLogs":[', '{"resourceMetrics":['])
def test_what_is_nested_too_deep_is_set_aside(tmp_path, begin):
    """A line that would exhaust the stack is one bad line."""
    file = tmp_path / "telemetry.jsonl"
    file.write_text(begin + "[" * 100_000 + "]" * 100_000 + "]}\n" + json.dumps(LOGS) + "\n")

    found, reading = read(file)

    assert (reading.rejected, len(found["log"])) == (1, 1)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda below: st.lists(below, max_size=3) | st.dictionaries(
    st.sampled_from(["scopeSpans", "spans", "traceId", "attributes", "key", "value", "scopeLogs", "logRecords"]), below, max_size=3)))
@settings(max_examples=100, deadline=None)
def test_no_request_breaks_the_reader(tmp_path_factory, value):
    """Whatever a line holds, it is a request or set aside."""
    file = tmp_path_factory.mktemp("otlp") / "telemetry.jsonl"
    file.write_text("".join(json.dumps({name: [value]}) + "\n" for name in ("resourceSpans", "resourceLogs", "resourceMetrics")))

    list(open_input(file))
