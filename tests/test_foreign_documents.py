"""What others shipped into the same cluster is read as records, on real servers."""


import json

import pytest
from click.testing import CliRunner
from elastic_stores import empty, store_at
from foreign_documents import BEATS, OTEL, START, TIME_SERIES, Cluster, at, filebeat, metricbeat, otel
from services_fixtures import VERSIONS

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import MappingFileError, StoreError, UsageError
from pinchpoint.store.elastic import ElasticStore

pytestmark = pytest.mark.service


@pytest.fixture(params=VERSIONS)
def version(request):
    """Each version of the server."""
    return request.param


@pytest.fixture
def cluster(service_pool, version) -> Cluster:
    """A cluster that a team has already."""
    return Cluster(store_at(service_pool.get(f"elasticsearch-{version}")).door)


@pytest.fixture
def only_new(service_pool):
    """A cluster of the newest version, where the version makes no difference."""
    return Cluster(store_at(service_pool.get(f"elasticsearch-{VERSIONS[0]}")).door)


def opened(cluster: Cluster, *patterns: str, mapping=None) -> ElasticStore:
    """A store that reads the patterns, in a namespace without records of its own."""
    parts = [f"namespace=none_{cluster.name}", *(f"index={one}" for one in patterns), *([f"mapping={mapping}"] if mapping else [])]
    query = "&".join(parts)
    return ElasticStore(f"{cluster.door.server}?{query}", door=cluster.door)


def rows(store: ElasticStore, kind: str, *columns: str, **given) -> list[dict]:
    """All records of a kind, in order of time; without the fields that are null."""
    found = [row for split in store.splits(kind, **given) for batch in store.read(split, columns or None) for row in batch.to_pylist()]
    found.sort(key=lambda row: (row.get("@timestamp") is not None and row["@timestamp"].value, str(row)))
    return [{name: dict(value) if isinstance(value, list) else value for name, value in row.items()
             if value is not None and name != "@timestamp"} for row in found]


def readings(store: ElasticStore) -> dict[tuple[str, str], dict[str, float]]:
    """The readings of each entity."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows(store, "metric", "@timestamp", "entity.kind", "entity.id", "metrics"):
        found.setdefault((row["entity.kind"], row["entity.id"]), {}).update(row["metrics"])
    return found


def test_filebeat_lines(cluster):
    """A line has its text, level, place, host and run; where it came from stays in its labels, and its id is the document's."""
    stream = cluster.stream("filebeat-9.2.0", BEATS)
    cluster.put(stream, [
        filebeat(1, "step 7 took 0.4 s", log={"level": "INFO", "offset": 4096, "file": {"path": "/var/log/train.log"}},
                 labels={"run_id": "run-a", "rank": "3"}, container={"id": "c0ffee"}),
        {**filebeat(2, "CUDA out of memory"), "kubernetes.labels": {"run_id": "run-b"}, "kubernetes.pod.name": "trainer-0",
         "log.level": "error"}])
    found = rows(opened(cluster, f"filebeat-*{cluster.name}"), "log")
    ids = [row.pop("event.id") for row in found]

    assert found == [
        {"message": "step 7 took 0.4 s", "log.level": "info", "log.offset": 4096, "log.file.path": "/var/log/train.log",
         "run.id": "run-a", "rank": 3, "host.name": "node-1", "labels": {"container.id": "c0ffee"}},
        {"message": "CUDA out of memory", "log.level": "error", "run.id": "run-b", "host.name": "node-1",
         "labels": {"kubernetes.pod.name": "trainer-0"}}]
    assert all(one.startswith(".ds-filebeat-9.2.0-") and len(one.partition("/")[2]) == 20 for one in ids)
    assert len(set(ids)) == 2


def test_guessed_mappings_and_any_shape_of_source(cluster):
    """An index without a template, with nested and dotted names side by side, reads the same."""
    index = cluster.index("app-logs")
    cluster.put(index, [{"@timestamp": at(1), "message": "one", "log.level": "Warn", "host": {"name": "h"}},
                        {"@timestamp": at(2), "message": ["two", "more"], "log": {"level": "debug"}, "host.name": ["h", "g"]}])

    assert rows(opened(cluster, f"app-*{cluster.name}"), "log", "@timestamp", "message", "log.level", "host.name") == [
        {"message": "one", "log.level": "warn", "host.name": "h"}, {"message": "two", "log.level": "debug", "host.name": "h"}]


def test_metricbeat_readings(cluster):
    """Readings have our names and units where they mean the same; a share of processors is the rate of our counter."""
    stream = cluster.stream("metricbeat-9.2.0", BEATS)
    cluster.put(stream, [
        metricbeat(1, "system.cpu", system={"cpu": {"cores": 8, "total": {"pct": 6.4, "norm": {"pct": 0.8}}, "iowait": {"pct": 0.5},
                                                    "steal": {"pct": 0}}}),
        metricbeat(1, "system.load", system={"load": {"1": 7.5, "5": 5, "cores": 8}}),
        metricbeat(1, "system.memory", system={"memory": {"total": 64e9, "actual": {"free": 16e9}, "swap": {"used": {"bytes": 1e6}}}}),
        metricbeat(1, "linux.memory", linux={"memory": {"swap": {"in": {"pages": 10}, "out": {"pages": 5}}}}),
        metricbeat(1, "linux.pressure", linux={"pressure": {"io": {"some": {"10": {"pct": 0.1}, "total": {"time": {"us": 2_500_000}}}}}}),
        metricbeat(1, "system.diskio", system={"diskio": {"name": "nvme0n1", "io": {"time": 1500}, "read": {
            "bytes": 4096, "count": 2, "time": 12}, "write": {"bytes": 512, "count": 1, "time": 1}}}),
        metricbeat(1, "system.network", system={"network": {"name": "eth0", "in": {"bytes": 10, "packets": 1, "dropped": 0, "errors": 0},
                                                            "out": {"bytes": 20, "packets": 2, "dropped": 0, "errors": 0}}}),
        metricbeat(1, "system.process", process={"pid": 71, "name": "python", "parent": {"pid": 70}}, system={"process": {
            "cpu": {"total": {"value": 12_340, "pct": 0.9}}, "memory": {"rss": {"bytes": 1e9}}, "num_threads": 9,
            "io": {"read_bytes": 1, "read_ops": 2, "read_char": 3, "write_bytes": 4}}})])
    store = opened(cluster, f"metricbeat-*{cluster.name}")

    assert readings(store) == {
        ("host", "node-1"): {
            "system.cpu.count": 8, "system.cpu.busy_s.rate": 6.4, "system.cpu.iowait_s.rate": 0.5, "system.cpu.steal_s.rate": 0,
            "system.cpu.total.norm.pct": pytest.approx(0.8), "system.load.1m": 7.5, "system.memory.total_bytes": 64e9,
            "system.memory.available_bytes": 16e9, "system.swap.used_bytes": 1e6, "system.paging.swap_pages": 15,
            "system.pressure.io.some_s": 2.5},
        ("disk", "node-1/nvme0n1"): {"disk.reads": 2, "disk.read_bytes": 4096, "disk.read_s": 0.012, "disk.writes": 1,
                                     "disk.write_bytes": 512, "disk.write_s": 0.001, "disk.busy_s": 1.5},
        ("nic", "node-1/eth0"): {"nic.receive_bytes": 10, "nic.receive_packets": 1, "nic.receive_drops": 0, "nic.receive_errors": 0,
                                 "nic.transmit_bytes": 20, "nic.transmit_packets": 2, "nic.transmit_drops": 0, "nic.transmit_errors": 0},
        ("process", "node-1/71"): {
            "process.cpu_s": pytest.approx(12.34), "process.memory.rss_bytes": 1e9, "process.threads": 9, "process.io.read_bytes": 1,
            "process.io.read_calls": 2, "process.io.read_chars": 3, "process.io.write_bytes": 4}}
    [process] = [row for row in rows(store, "metric") if row["entity.kind"] == "process"]
    assert process["labels"] == {"process.name": "python", "process.parent.pid": "70"}
    assert process["process.pid"] == 71


def test_gpus_of_the_nvidia_integration(cluster):
    """A GPU is known by its uuid on the host it sits in; percent become shares, MiB bytes, MHz Hz."""
    stream = cluster.stream("metrics-nvidia_gpu.stats", BEATS)
    about = {"data_stream": {"dataset": "nvidia_gpu.stats", "type": "metrics"}}
    cluster.put(stream, [
        metricbeat(1, "nvidia_gpu.stats", **about, gpu={
            "labels": {"uuid": "GPU-1", "gpu": "0", "hostname": "gpu-node", "model_name": "H100"}, "utilization": {"gpu": {"pct": 87}},
            "memory": {"framebuffer": {"used_size": 2048}}, "clock": {"streaming_multiprocessor_frequency": 1980},
            "power": {"usage": 651.5, "energy_consumption_total": 5000}, "throttling": {"power": {"us": 9}},
            "dcp": {"tensor_pipe": {"active": 0.31}}}),
        metricbeat(1, "nvidia_gpu.stats", **about, gpu={"labels": {"job": "prometheus"}, "up": "1"})])
    store = opened(cluster, stream)

    assert readings(store) == {("gpu", "GPU-1"): {
        "gpu.busy_ratio": pytest.approx(0.87), "gpu.memory.used_bytes": 2**31, "gpu.clock.sm_hz": 1.98e9, "gpu.power_w": 651.5,
        "gpu.energy_j": 5.0, "gpu.throttling.power.us": 9, "gpu.tensor.active_ratio": pytest.approx(0.31)}}
    [row] = rows(store, "metric", "@timestamp", "host.name", "labels")
    assert row == {"host.name": "gpu-node", "labels": {"gpu.index": "0", "gpu.model": "H100"}}
    assert store.set_aside() == []


def test_prometheus_pages(cluster):
    """What node_exporter counts has our names; anything else keeps its own, one entity for each set of labels."""
    stream = cluster.stream("metrics-prometheus.collector", BEATS)

    def scraped(labels, **metrics):
        return metricbeat(1, "prometheus.collector", prometheus={
            "labels": {"instance": "n1:9100", "job": "node", **labels}, "metrics": metrics})

    cluster.put(stream, [
        scraped({}, node_memory_MemTotal_bytes=8e9, node_vmstat_pswpin=1, node_vmstat_pswpout=2, node_load1=0.5),
        scraped({"device": "sda"}, node_disk_io_time_seconds_total=3.5, node_disk_reads_completed_total=7),
        scraped({"UUID": "GPU-2", "modelName": "A100", "Hostname": "g"}, DCGM_FI_DEV_GPU_UTIL=50, DCGM_FI_PROF_SM_ACTIVE=0.25),
        scraped({"queue": "a"}, tasks_waiting=4, tasks_done_total=100),
        metricbeat(1, "prometheus.collector", prometheus={"labels": {"job": "typed"}, "served_total": {"counter": 5}})])

    assert readings(opened(cluster, stream)) == {
        ("host", "n1:9100"): {"system.memory.total_bytes": 8e9, "system.paging.swap_pages": 3, "system.load.1m": 0.5},
        ("disk", "n1:9100/sda"): {"disk.busy_s": 3.5, "disk.reads": 7},
        ("gpu", "GPU-2"): {"gpu.busy_ratio": 0.5, "gpu.sm.active_ratio": 0.25},
        ("service", "instance=n1:9100/job=node/queue=a"): {"tasks_waiting": 4, "tasks_done_total": 100},
        ("service", "job=typed"): {"served_total.counter": 5}}


def test_opentelemetry_in_its_own_form(cluster):
    """Logs, spans and metrics of the Collector, metrics in time-series mode."""
    logs, traces = cluster.stream("logs-test.otel", OTEL), cluster.stream("traces-test.otel", OTEL)
    metrics = cluster.stream("metrics-test.otel", OTEL, TIME_SERIES)
    cluster.put(logs, [otel(1, "logs", {"log.file.path": "/t.log", "rank": 2}, body={"text": "loss is NaN"}, severity_text="WARN",
                            severity_number=13, trace_id="ab", span_id="cd")])
    cluster.put(traces, [otel(1.5, "traces", {"http.response.status_code": 200, "retry": True}, trace_id="ab", span_id="cd",
                              parent_span_id="ef", name="load", kind="Internal", duration=2_500_000, status={"code": "Error"})])
    cluster.put(metrics, [
        otel(1, "metrics", {}, unit="{thread}", metrics={"system.cpu.load_average.1m": 3.5}),
        otel(1, "metrics", {"device": "sda", "direction": "read"}, metrics={"system.disk.io": 4096, "system.disk.operations": 2}),
        otel(1, "metrics", {"device": "sda"}, metrics={"system.disk.io_time": 1.5}),
        otel(1, "metrics", {"cpu": "cpu0", "state": "user"}, metrics={"system.cpu.time": 12.5})])
    store = opened(cluster, f"logs-test.otel-*{cluster.name}", traces, metrics)

    [line] = rows(store, "log", "@timestamp", "message", "log.level", "log.file.path", "host.name", "rank", "labels")
    assert line == {"message": "loss is NaN", "log.level": "warn", "log.file.path": "/t.log", "host.name": "node-1", "rank": 2,
                    "labels": {"service.name": "trainer"}}
    [span] = rows(store, "span", *[name for name in records.schema("span").names if name != "event.id"])
    assert span == {"trace.id": "ab", "span.id": "cd", "parent.id": "ef", "name": "load", "service.name": "trainer", "duration_s": 0.0025,
                    "status": "error", "attributes": {"http.response.status_code": "200", "retry": "true"}, "host.name": "node-1"}
    assert readings(store) == {
        ("host", "node-1"): {"system.load.1m": 3.5},
        ("disk", "node-1/sda"): {"disk.read_bytes": 4096, "disk.reads": 2, "disk.busy_s": 1.5},
        ("service", "trainer/node-1/cpu=cpu0/state=user"): {"system.cpu.time": 12.5}}
    assert store.set_aside() == []


def test_spans_of_apm(cluster):
    """Spans and transactions of Elastic APM are spans; success is ok."""
    stream = cluster.stream("traces-apm", BEATS)
    about = {"service": {"name": "carts"}, "host": {"hostname": "node-1"}, "trace": {"id": "t"}, "transaction": {"id": "x"}}
    cluster.put(stream, [
        {"@timestamp": at(1), "processor": {"event": "transaction"}, "event": {"outcome": "success"}, **about,
         "transaction": {"id": "x", "name": "GET /", "duration": {"us": 1500}}, "labels": {"shard": "3"}},
        {"@timestamp": at(2), "processor": {"event": "span"}, "event": {"outcome": "failure"}, **about, "parent": {"id": "x"},
         "span": {"id": "s", "name": "SELECT", "duration": {"us": 700}}}])

    assert rows(opened(cluster, stream), "span", *[name for name in records.schema("span").names if name != "event.id"]) == [
        {"trace.id": "t", "span.id": "x", "name": "GET /", "service.name": "carts", "duration_s": 0.0015, "status": "ok",
         "attributes": {"shard": "3"}, "host.name": "node-1"},
        {"trace.id": "t", "span.id": "s", "parent.id": "x", "name": "SELECT", "service.name": "carts",
         "duration_s": pytest.approx(0.0007), "status": "error", "host.name": "node-1"}]


def test_events_of_kubernetes(only_new):
    """An event that says what befell a run is an event; others are none."""
    index = only_new.index("k8s-events", BEATS)
    only_new.put(index, [
        metricbeat(1, "kubernetes.event", kubernetes={"event": {"reason": "OOMKilling", "message": "Memory cgroup out of memory",
                                                                "source": {"host": "node-2"}}}),
        metricbeat(2, "kubernetes.event", kubernetes={"event": {"reason": "Pulled", "message": "Image present"}})])

    assert rows(opened(only_new, index), "event", "@timestamp", "event.action", "event.reason") == [
        {"event.action": "oom", "event.reason": "Memory cgroup out of memory"}]


def test_a_document_that_does_not_fit_is_set_aside(cluster):
    """A value of the wrong type, several where there can be one, a required field that is missing: counted, shown, and no crash."""
    stream = cluster.stream("logs-steps", {"dynamic": False, "properties": {
        "@timestamp": {"type": "date"}, "step": {"type": "keyword"}, "duration_s": {"type": "keyword"}, "rank": {"type": "keyword"}}})
    good = {"step": 1, "duration_s": 0.5, "rank": "0"}
    cluster.put(stream, [{"@timestamp": at(second), **good, **change} for second, change in enumerate([
        {}, {"duration_s": "fast"}, {"rank": "first"}, {"duration_s": [0.5, 0.6]}, {"duration_s": []}, {"rank": 1.5}, {"rank": None}])])
    store = opened(cluster, stream)

    assert rows(store, "step", "@timestamp", "step", "duration_s", "rank") == [
        {"step": 1, "duration_s": 0.5, "rank": 0}, {"step": 1, "duration_s": 0.5}]
    aside = {one.reason.partition(";")[0].partition("): ")[2]: one.records for one in store.set_aside()}
    assert aside == {"duration_s: expected a number": 1, "rank: expected a number": 1, "duration_s: expected one number, got several": 1,
                     "rank: expected a whole number": 1}
    rows(store, "step")
    assert sum(one.records for one in store.set_aside()) == 4


def test_only_the_time_asked_for(cluster):
    """Slices cover what was asked for and nothing else; every document is in one of them."""
    stream = cluster.stream("filebeat", BEATS)
    cluster.put(stream, [filebeat(60 * minute, f"line {minute}") for minute in range(100)])
    store = opened(cluster, stream)
    splits = store.splits("log", START + 600 * NS, START + 4200 * NS, records=10)

    assert len(splits) == 6 and sum(split.records for split in splits) == 60
    assert [row["message"] for row in rows(store, "log", "@timestamp", "message", start=START + 600 * NS, end=START + 4200 * NS, records=10)
            ] == [f"line {minute}" for minute in range(10, 70)]


def test_many_documents_over_pages_and_indices(only_new):
    """More documents than a page holds, in several indices and found by several patterns, come out once each."""
    for part in range(3):
        only_new.put(only_new.index(f"app-{part}", BEATS), [filebeat(number * 0.01, f"{part}-{number}") for number in range(7_500)])
    store = opened(only_new, f"app-*-{only_new.name}", f"app-0-{only_new.name}", f"app-1*-{only_new.name}")
    found = [row["message"] for row in rows(store, "log", "@timestamp", "message")]

    assert len(found) == 22_500
    assert set(found) == {f"{part}-{number}" for part in range(3) for number in range(7_500)}


def test_our_own_records_are_read_once(elastic_store, version):
    """A pattern that finds our own streams too reads nothing of them a second time, of whichever namespace."""
    own = elastic_store(version)
    own.append("log", records.batch("log", {"@timestamp": [START], "event.id": ["a"], "message": ["ours"]}), "s")
    cluster = Cluster(own.door)
    cluster.put(cluster.index("logs-theirs", BEATS), [filebeat(0, "theirs")])
    patterns = f"index=logs-*&index=.ds-logs-pinchpoint*&index=logs-theirs-{cluster.name}"
    both = ElasticStore(f"{own.url}&{patterns}", door=own.door)
    others = ElasticStore(f"{own.door.server}?namespace=none_{cluster.name}&{patterns}", door=own.door)
    mine = {row["message"] for row in rows(both, "log", "@timestamp", "message")}

    assert {"ours", "theirs"} <= mine
    assert len([1 for row in rows(both, "log", "@timestamp", "message") if row["message"] == "ours"]) == 1
    assert "ours" not in {row["message"] for row in rows(others, "log", "@timestamp", "message")}


def test_hidden_indices_are_found_only_when_asked_for(only_new):
    """As everywhere in Elasticsearch: a star finds no hidden index, a pattern that begins with a dot does."""
    name = f".hidden-app-{only_new.name}"
    only_new.door.call("PUT", f"/{name}", {"settings": {"index.hidden": True, "index.number_of_shards": 1}, "mappings": BEATS})
    only_new.put(name, [filebeat(0, "hidden")])
    only_new.put(only_new.index("app", BEATS), [filebeat(1, "open")])

    assert [row["message"] for row in rows(opened(only_new, f"*app-{only_new.name}"), "log", "@timestamp", "message")] == ["open"]
    assert [row["message"] for row in rows(opened(only_new, f".hidden-*{only_new.name}"), "log", "@timestamp", "message")] == ["hidden"]


def test_patterns_that_find_nothing_say_so(only_new):
    """One of several is shown; when none finds anything, that is an error."""
    only_new.put(only_new.index("app", BEATS), [filebeat(0, "here")])
    store = opened(only_new, f"app-{only_new.name}", f"ap-{only_new.name}*")

    assert len(rows(store, "log")) == 1
    assert [(one.path, one.records) for one in store.set_aside()] == [(f"ap-{only_new.name}*", 0)]
    with pytest.raises(StoreError, match="matches ap-"):
        opened(only_new, f"ap-{only_new.name}*").splits("log")


def test_a_time_that_is_no_date_is_said(only_new):
    """Who names an index whose time is text learns which; leaving it out works."""
    only_new.put(only_new.index("app", BEATS), [filebeat(0, "dated")])
    wrong = only_new.index("app-text", {"properties": {"@timestamp": {"type": "keyword"}, "message": {"type": "text"}}})
    only_new.put(wrong, [{"@timestamp": "yesterday", "message": "undated"}])

    with pytest.raises(StoreError, match=f"@timestamp is mapped as keyword, not as date, in {wrong}"):
        opened(only_new, f"app-*{only_new.name}").splits("log")
    assert len(rows(opened(only_new, f"app-*{only_new.name}", f"-{wrong}"), "log")) == 1


def test_times_beyond_records_are_not_read(only_new):
    """Documents from before 1970 and after 2262, which records cannot hold, harm nobody."""
    only_new.put(only_new.index("app", BEATS), [{**filebeat(0, text), "@timestamp": text} for text in (
        "1969-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z")])

    assert [row["message"] for row in rows(opened(only_new, f"app-{only_new.name}"), "log", "@timestamp", "message")] == [
        "2026-01-01T00:00:00Z"]


MAPPING = """
[fields]
"run.id" = "job"

[[entry]]
name = "our loop"
kind = "step"
when = { exists = "train.took_ms", equals = { "train.phase" = ["fit", "finetune"] } }
[entry.fields]
"@timestamp" = "event.start"
step = "train.iteration"
duration_s = { field = "train.took_ms", scale = 0.001 }
"phase.data_wait_s" = { field = ["train.loader_ms", "train.input_ms"], scale = 0.001 }
"phase.forward_s" = { sum = ["train.a_ms", "train.b_ms"], scale = 0.001 }
[entry.constants]
"run.workload" = "resnet"
world_size = 4
"""


def test_a_mapping_file_of_the_user(cluster, tmp_path):
    """Fields of any name become a record; what the file says of all entries counts for those that come with pinchpoint too."""
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    index = cluster.index("training", {"dynamic_templates": [{"k": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}}],
                                       "properties": {"event": {"properties": {"start": {"type": "date_nanos"}}}}})
    train = {"iteration": 3, "took_ms": 500, "phase": "fit", "input_ms": 100, "a_ms": 30, "b_ms": 20}
    cluster.put(index, [
        {"@timestamp": at(999), "event": {"start": at(1.000000001)}, "job": "j", "train": train},
        {"@timestamp": at(999), "event": {"start": at(2)}, "job": "j", "train": {**train, "phase": "test"}},
        {"@timestamp": at(3), "job": "j", "message": "a line", "labels": {"run_id": "other"}}])
    store = opened(cluster, index, mapping=path)
    [split] = store.splits("step")
    [step] = [row for batch in store.read(split) for row in batch.drop_columns(["event.id"]).to_pylist()]

    assert split.start == START
    assert step.pop("@timestamp").value == START + NS + 1
    assert {name: value for name, value in step.items() if value is not None} == {
        "run.id": "j", "run.workload": "resnet", "world_size": 4, "step": 3, "duration_s": 0.5, "phase.data_wait_s": 0.1,
        "phase.forward_s": 0.05}
    assert rows(store, "log", "@timestamp", "run.id", "message") == [{"run.id": "j", "message": "a line"}]


def test_a_slow_run_that_others_recorded_is_explained(service_pool, version, pinchpoint):
    """Steps and lines of Filebeat and readings of Metricbeat become an incident with its cause, through the command alone."""
    own = store_at(service_pool.get(f"elasticsearch-{version}"))
    cluster = Cluster(own.door)
    file, metric = cluster.stream("filebeat-9.2.0", BEATS), cluster.stream("metricbeat-9.2.0", BEATS)
    cluster.put(file, [{"@timestamp": at(0.6 * step), "host": {"name": "node-1"}, "labels": {"run_id": "slow-run"}, "rank": 0, "step": step,
                        "duration_s": 0.6, "phase": {"data_wait_s": 0.4, "forward_s": 0.1, "backward_s": 0.1}} for step in range(500)])
    cluster.put(file, [filebeat(second, "retrying read", labels={"run_id": "slow-run"}) for second in range(0, 300, 5)])
    cluster.put(metric, [event for second in range(0, 300, 10) for event in (
        metricbeat(second, "system.cpu", system={"cpu": {"cores": 8, "total": {"pct": 1.0}, "iowait": {"pct": 0.9}}}),
        metricbeat(second, "system.diskio", system={"diskio": {
            "name": "sda", "io": {"time": 970 * second}, "read": {"bytes": 2e8 * second, "count": 200 * second, "time": 4000 * second},
            "write": {"bytes": 0, "count": 0, "time": 0}}}))])
    store = f"{own.door.server}?namespace={own.url.partition('namespace=')[2]}"
    said = pinchpoint("analyze", "--store", store, "--since", "10000d", "--index", file, "--index", f"metricbeat-*-{cluster.name}",
                      timeout=200)
    shown = pinchpoint("incidents", "--store", store, "--run", "slow-run", "--format", "json")

    assert said.returncode == 0, said.stderr
    assert "Analysed 620 records" in said.stderr and "Set aside" not in said.stderr
    [incident] = json.loads(shown.stdout)
    assert (incident["run"], incident["hosts"]) == ("slow-run", ["node-1"])
    assert incident["causes"][0]["cause"] == "local_disk_saturated"
    empty(own)


def test_index_needs_elasticsearch(tmp_path):
    """Patterns for a lake are wrong usage, and so are a mapping alone and a pattern that cannot be one."""
    from pipelines.cli import analyze

    result = CliRunner().invoke(analyze, ["--store", str(tmp_path), "--index", "filebeat-*"])
    assert isinstance(result.exception, UsageError)
    assert "--index and --mapping are for what lies in Elasticsearch" in str(result.exception)
    for query, said in (("mapping=x.toml", "name where they lie"), ("index=a/_search", "index pattern"), ("index=_all", "index pattern")):
        with pytest.raises(UsageError, match=said):
            ElasticStore(f"http://localhost:9?{query}")
    with pytest.raises(MappingFileError, match="cannot read the mapping file"):
        ElasticStore("http://localhost:9?index=a&mapping=/nowhere.toml")


