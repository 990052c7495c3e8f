"""Tables of metrics: wide and long ones are read, whatever they measure."""

import gzip

import pytest

from pinchpoint.errors import UnknownFormat
from shippers.formats import detect, open_input


def rows(path, content):
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    reading = open_input(path)
    return [row for _, batch in reading for row in batch.to_pylist()], reading


def test_a_wide_table(tmp_path):
    """Each column of numbers is a metric."""
    found, reading = rows(tmp_path / "a.csv", "timestamp,cpu,mem\n2026-01-01T00:00:00Z,0.5,10\n2026-01-01T00:00:01Z,,11\n")

    assert reading.reader == "metric_csv"
    assert [row["metrics"] for row in found] == [[("cpu", 0.5), ("mem", 10.0)], [("mem", 11.0)]]
    assert found[0]["@timestamp"].value == 1767225600 * 10**9


def test_a_long_table_is_named_by_its_file(tmp_path):
    """Text columns name the entity; the column `metric`, where there is one, the metric."""
    found, _ = rows(tmp_path / "duty.csv.gz", "value,timestamp_anon,container_ip\n3.0,1662858720.0,a1b\n")
    named, _ = rows(tmp_path / "x.csv", "ts,host,metric,value\n1662858720000,n1,load,2\n")

    assert (found[0]["entity.kind"], found[0]["entity.id"], found[0]["metrics"]) == ("service", "a1b", [("duty", 3.0)])
    assert (named[0]["entity.kind"], named[0]["entity.id"], named[0]["metrics"]) == ("host", "n1", [("load", 2.0)])
    assert named[0]["@timestamp"].value == found[0]["@timestamp"].value


def test_bad_rows_are_set_aside(tmp_path):
    """Rows without a time, a number or the right columns are counted."""
    found, reading = rows(tmp_path / "a.csv", 'time,cpu\n1,0.5\nsoon,0.5\n2\n3,nan\n"4,0.5\n5,0.25\n')

    assert [row["metrics"] for row in found] == [[("cpu", 0.5)], [("cpu", 0.25)]]
    assert reading.rejected == 4


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "time,cpu\n", "time,cpu\nx,y\n", "time\n1\n", "time,time\n1,2\n", "step,loss\n1,2.0\n"])
def test_other_tables_are_none(tmp_path, content):
    """Without a column of times, or a number beside it, it is no table of metrics."""
    path = tmp_path / "a.csv"
    path.write_text(content)

    with pytest.raises(UnknownFormat):
        detect(path)
