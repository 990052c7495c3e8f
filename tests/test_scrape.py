"""Scraping: what exporters show, what becomes of it, and what a wrong page or a dead exporter does."""

import contextlib
import gzip
import http.server
import math
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import tls
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.errors import ConfigError
from pinchpoint.metrics import METRICS
from shippers.http_connection import Response, Route
from shippers.http_server import HttpServer
from shippers.sources.exposition import Page, Sample
from shippers.sources.reading import Reading
from shippers.sources.scrape import ScrapeSource
from shippers.sources.scrape_names import NAMES

TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_GPU = 'gpu="0",UUID="GPU-a",device="nvidia0",modelName="H100"'
_POD = f'{{{_GPU},Hostname="node-1",pod="train-0",namespace="ml"}}'
DCGM = f"""\
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{_POD} 85
DCGM_FI_DEV_FB_USED{_POD} 40000
DCGM_FI_DEV_POWER_VIOLATION{_POD} 5e9
DCGM_FI_DEV_MEMORY_TEMP{_POD} 9223372036854775794
DCGM_FI_PROF_SM_ACTIVE{_POD} 140737488355328
DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{_GPU},GPU_I_PROFILE="1g.10gb",GPU_I_ID="7",Hostname="node-1"}} 0.5
"""

VLLM = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.75
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="llama"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="llama"} 4.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="llama"} 4.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="llama"} 1.5
vllm:request_success_total{engine="0",finished_reason="stop",model_name="llama"} 5.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="llama"} 2.0
"""


@contextlib.contextmanager
def exporter(body: bytes | str, content_type: str = TEXT, status: int = 200, **headers: str) -> Iterator[str]:
    data = body.encode() if isinstance(body, str) else body
    answer = Response(status, data, content_type, {name.replace("_", "-"): value for name, value in headers.items()})
    server = HttpServer("127.0.0.1:0", {("GET", "/metrics"): Route(lambda _: answer)}, clock=SYSTEM_CLOCK)
    try:
        yield f"http://127.0.0.1:{server.port}/metrics"
    finally:
        server.close()


def scrape(body: bytes | str, content_type: str = TEXT, **headers: str) -> tuple[list[Reading], ScrapeSource]:
    """The readings without `up`, and what made them."""
    with exporter(body, content_type, **headers) as url:
        source = ScrapeSource(url, "h")
        try:
            exported, *others = source.read()
            assert exported.metrics.pop("up") == 1.0
            return ([exported] if exported.metrics else []) + others, source
        finally:
            source.close()


def samples(text: str, *, is_openmetrics: bool = False) -> list[Sample]:
    return list(Page(text, is_openmetrics=is_openmetrics))


def test_dcgm_becomes_readings_of_gpus_in_our_units() -> None:
    """Percent become shares, MiB bytes, ns seconds; blank values are none, and a MIG instance is a thing of its own."""
    readings, _ = scrape(DCGM)

    whole, instance = readings
    labels = {"gpu": "0", "device": "nvidia0", "modelName": "H100", "host.name": "node-1"}
    assert whole == Reading("gpu", "GPU-a", {
        "gpu.busy_ratio": 0.85, "gpu.memory.used_bytes": 40000 * 2.0**20, "gpu.throttled.power_s": 5.0},
        labels={**labels, "pod": "train-0", "namespace": "ml"})
    assert instance == Reading("gpu", "GPU-a/7", {"gpu.graphics.active_ratio": 0.5}, labels={**labels, "GPU_I_PROFILE": "1g.10gb"})


def test_vllm_becomes_readings_of_a_service() -> None:
    """What is counted apart and belongs together is added up; buckets keep their bound as a label."""
    with exporter(VLLM) as url:
        readings = ScrapeSource(url, "h").read()
    port = url.split(":")[2].split("/")[0]

    by_bound = {(reading.labels or {}).get("le", ""): reading for reading in readings[1:]}
    assert by_bound[""] == Reading("service", f"h:{port}/llama/0", {
        "serving.requests_running": 3.0, "serving.kv_cache_ratio": 0.75, "serving.first_tokens": 4.0, "serving.first_token_s": 1.5,
        "serving.requests_done": 7.0})
    assert by_bound["0.1"].metrics == {"vllm:time_to_first_token_seconds_bucket": 2.0}
    assert readings[0] == Reading("service", f"h:{port}", {"up": 1.0})


def test_node_exporter_adds_up_what_it_splits() -> None:
    """Processor time is of the host, disks and network cards are things of their own."""
    readings, _ = scrape('node_cpu_seconds_total{cpu="0",mode="user"} 3\nnode_cpu_seconds_total{cpu="1",mode="steal"} 2\n'
                         'node_cpu_seconds_total{cpu="1",mode="iowait"} 5\nnode_cpu_seconds_total{cpu="1",mode="idle"} 50\n'
                         'node_disk_read_bytes_total{device="vda"} 7\nnode_network_receive_drop_total{device="eth0"} 1\n'
                         'node_memory_SwapFree_bytes 40\nnode_memory_SwapTotal_bytes 100\n'
                         'node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/data"} 9\n')

    assert readings == [
        Reading("host", "h", {"system.cpu.busy_s": 5.0, "system.cpu.steal_s": 2.0, "system.cpu.iowait_s": 5.0,
                              "system.swap.used_bytes": 60.0}),
        Reading("disk", "h/vda", {"disk.read_bytes": 7.0}), Reading("nic", "h/eth0", {"nic.receive_drops": 1.0}),
        Reading("filesystem", "h/data", {"filesystem.available_bytes": 9.0}, labels={"device": "/dev/vda", "fstype": "ext4"})]


def test_names_that_are_mapped_are_in_the_table_of_metrics() -> None:
    """Every name has its unit and meaning, and is a reading of the entity the table says."""
    for exposed, names in NAMES.items():
        for name in names:
            assert (exposed, METRICS[name.metric].entity) == (exposed, name.entity)


@pytest.mark.parametrize(("line", "expected"), [
    ("a 1", Sample("a", {}, 1.0, None)),
    ("a{} 1 1500", Sample("a", {}, 1.0, 1_500_000_000)),
    ("a\t{b=\"c\" , d = \"\",}\t-1.5e3 -2", Sample("a", {"b": "c", "d": ""}, -1500.0, -2_000_000)),
    ('a:b_c{x="},\\"=\\\\{\\n#"} +Inf', Sample("a:b_c", {"x": '},"=\\{\n#'}, math.inf, None)),
    ('{"a.b","c.d"="e"} 2', Sample("a.b", {"c.d": "e"}, 2.0, None)),
    ('a_bucket{le="1"} 3 # {trace_id="x"} 0.5 12.5', Sample("a_bucket", {"le": "1"}, 3.0, None)),
    ('a_total 3 4 # {trace_id="x y"} 0.5', Sample("a_total", {}, 3.0, 4_000_000)),
    ("a 1\r", Sample("a", {}, 1.0, None)),
])
def test_a_line_is_read_as_the_format_says(line: str, expected: Sample) -> None:
    """Escapes, spaces, times, names in quotes, exemplars."""
    assert samples(line) == [expected]


@pytest.mark.parametrize("line", [
    "a", "a1", "1a 2", "a b", "a 1_0", "a 0x", "a{ 1", 'a{b="c} 1', "a{b=c} 1", 'a{b="1" c="2"} 1', 'a{b="1",b="2"} 1', 'a{="1"} 1',
    'a{b="1"}', 'a{"x"} 1', '{b="1"} 1', "{} 1", "a 1 2 3", "a 1 x", "é 1", 'a{b="1"}{c="2"} 1', 'a{""="1"} 2',
])
def test_a_bad_line_is_counted_and_its_neighbours_are_kept(line: str) -> None:
    """One exporter's fault in one line costs that line."""
    page = Page(f"x 1\n{line}\ny 2\n", is_openmetrics=False)

    assert ([sample.name for sample in page], page.bad_lines) == (["x", "y"], 1)


def test_a_hostile_line_costs_linear_time() -> None:
    """Megabytes of quotes, braces and escapes are refused as fast as they are long."""
    for evil in ('a{b="' + '\\"' * 500_000, "a{" * 500_000, 'a{b="1",' * 200_000, "a" * 1_000_000, "a" + " " * 1_000_000 + "{",
                 'a{"x' * 300_000, "a 1 # {" + "{" * 500_000):
        began = time.process_time()
        assert samples(evil) == []
        assert time.process_time() - began < 2.0


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True), _TEXT, max_size=4), st.floats())
def test_lines_are_read_as_prometheus_reads_them(labels: dict[str, str], value: float) -> None:
    """Whatever labels and value a client writes come out as they went in, and as prometheus_client reads them."""
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    line = f"a{{{','.join(f'{key}={quoted(text)}' for key, text in labels.items())}}} {value!r}\n"
    (sample,) = samples(line)
    (theirs,) = next(iter(parse_text(line))).samples

    assert (sample.name, sample.labels) == ("a", labels) == (theirs.name, theirs.labels)
    assert sample.value == theirs.value or (math.isnan(sample.value) and math.isnan(value))


def test_openmetrics_has_seconds_created_times_and_an_end() -> None:
    """Times are in seconds, the time since when a counter counts is no reading, and a page without its end is known."""
    text = ('# TYPE a counter\n# UNIT a seconds\na_total{x="y"} 3.0 1790000000.25 # {trace_id="t"} 1.0\na_created{x="y"} 1.7e9\n'
            '# TYPE b gauge\nb_created 5\n# EOF\nafter 1\n')
    page = Page(text, is_openmetrics=True)

    assert list(page) == [Sample("a_total", {"x": "y"}, 3.0, 1_790_000_000_250_000_000), Sample("b_created", {}, 5.0, None)]
    assert page.complete
    cut = Page(text.replace("# EOF", "# E"), is_openmetrics=True)
    assert len(list(cut)) == 3
    assert not cut.complete


def test_a_time_in_the_page_is_the_time_of_the_reading() -> None:
    """What an exporter measured earlier keeps its own time, apart from the rest."""
    readings, _ = scrape("a 1 1500\nb 2\nc NaN\n")

    assert [(reading.metrics, reading.time_ns) for reading in readings] == [({"b": 2.0}, None), ({"a": 1.0}, 1_500_000_000)]


def test_a_page_may_come_compressed() -> None:
    """A compressed page is asked for, and is bounded by what it inflates to."""
    readings, _ = scrape(gzip.compress(b"a 1\n"), Content_Encoding="gzip")
    assert [reading.metrics for reading in readings] == [{"a": 1.0}]

    with exporter(gzip.compress(b"# " + b"x" * 3_000_000), Content_Encoding="gzip") as url:
        source = ScrapeSource(url, "h", most_bytes=1_000_000)
        assert [reading.metrics for reading in source.read()] == [{"up": 0.0}]
    assert source.problem == "a page of more than 1000000 bytes"


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_an_exporter_without_a_page_is_down(status: int) -> None:
    """Down is a reading with a reason, not an exception; a redirect is not followed."""
    with exporter("a 1\n", status=status, Location="/elsewhere") as url:
        source = ScrapeSource(url, "h")
        assert [reading.metrics for reading in source.read()] == [{"up": 0.0}]

    assert source.problem == f"answered {status}"
    assert [reading.metrics for reading in source.read()] == [{"up": 0.0}]  # nobody listens any more
    assert source.counters() == {"scrape.bad_lines": 0.0, "scrape.failed": 2.0}


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_exporter_that_drips_is_given_up_in_time(head: bytes) -> None:
    """A byte now and then, in the header or in the page, does not hold up the others."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener, listener.accept()[0] as connection:
            connection.sendall(head)
            while not stop.wait(0.02):
                connection.sendall(b"x")

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=drip, args=(listener,), daemon=True)
    thread.start()
    source = ScrapeSource(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics", "h", timeout_s=0.4)
    began = time.monotonic()
    try:
        first = [reading.metrics for reading in source.read()]
        second_began = time.monotonic()
        second = [reading.metrics for reading in source.read()]
    finally:
        ended = time.monotonic()
        stop.set()
        thread.join(5)

    assert first == second == [{"up": 0.0}]
    assert source.problem == "TimeoutError"
    assert second_began - began < 3
    assert ended - second_began < 0.35  # the call that hangs is not waited for again


def test_a_url_that_is_none_is_refused_at_the_door() -> None:
    """The setting is named, and a password in the URL is not shown by the errors of a reading."""
    with pytest.raises(ConfigError, match=r"ship\.scrape\.url"):
        ScrapeSource("127.0.0.1:9400", "h")
    source = ScrapeSource("http://user:hunter2@127.0.0.1:1/metrics", "h")
    source.read()
    assert "hunter2" not in source.problem


def test_an_exporter_that_wants_a_token_over_tls(tmp_path: Path, certificates: Path) -> None:
    """The token is read anew each time, the authority is the one that was named, and no token shows in a problem."""
    token = tmp_path / "token"
    asked = []

    class Exporter(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            good = asked[-1] == "Bearer second"
            self.send_response(200 if good else 401)
            self.end_headers()
            self.wfile.write(b"a 1\n" if good else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    server.socket = tls(certificates).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_port}/metrics"
    source = ScrapeSource(url, "h", token_file=token, ca_file=certificates / "ca.crt")
    problems = []
    for content in (None, "first\n", "second\n"):
        if content is not None:
            token.write_text(content)
        source.read()
        problems.append(source.problem)
    stranger = ScrapeSource(url, "h", token_file=token)
    stranger.read()
    server.shutdown()
    server.server_close()

    assert asked == ["Bearer first", "Bearer second"]
    assert problems == [f"cannot read {token}: No such file or directory", "answered 401", ""]
    assert stranger.problem == "SSLError"


def test_an_authority_that_is_none_is_refused_at_the_door(tmp_path: Path) -> None:
    """The setting and the file are named."""
    (tmp_path / "ca").write_text("no certificate")
    for name in ("ca", "absent"):
        with pytest.raises(ConfigError, match=rf"ship\.scrape\.ca_file: cannot use .*{name}"):
            ScrapeSource("https://localhost/metrics", "h", ca_file=tmp_path / name)


@pytest.fixture(scope="module")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None:
        pytest.skip("no node_exporter here (on Debian: apt install prometheus-node-exporter)")
    port = free_port()
    folder = tmp_path_factory.mktemp("textfile")
    (folder / "ours.prom").write_text('our_jobs{queue="a\\"b"} 4\n')
    process = subprocess.Popen([program, f"--web.listen-address=127.0.0.1:{port}", f"--collector.textfile.directory={folder}"],
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/metrics")
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(url: str) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < deadline, f"{url} did not answer in time"
            time.sleep(0.05)


def test_a_real_node_exporter_is_read_whole(node_exporter: str) -> None:
    """Every sample is what prometheus_client reads, and the readings of this host are among them."""
    text = wait_for(node_exporter).decode()
    theirs = {(each.name, *sorted(each.labels.items())): each.value for family in parse_text(text) for each in family.samples}
    page = Page(text, is_openmetrics=False)
    ours = {(each.name, *sorted(each.labels.items())): each.value for each in page}
    assert page.bad_lines == 0
    assert ours.keys() == theirs.keys()
    assert all(ours[key] == value or math.isnan(value) for key, value in theirs.items())

    source = ScrapeSource(node_exporter, "h")
    readings = source.read()
    host = next(reading.metrics for reading in readings if reading.entity_kind == "host")
    kernel = Path("/proc/meminfo").read_text().split()
    assert host["system.memory.total_bytes"] == int(kernel[1]) * 1024
    assert {"system.cpu.busy_s", "system.tcp.retransmits", "system.load.1m"} < host.keys()
    assert {"disk", "nic", "filesystem"} & {reading.entity_kind for reading in readings}
    assert (source.bad_lines, source.problem) == (0, "")
    assert any(reading.labels == {"queue": 'a"b'} for reading in readings)


def test_a_real_prometheus_is_read_whole(node_exporter: str, tmp_path: Path) -> None:
    """Its own metrics as OpenMetrics, and the federation of what it scraped, which carries times."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus here (on Debian: apt install prometheus)")
    port = free_port()
    target = node_exporter.split("/")[2]
    (tmp_path / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: node, static_configs: [{{targets: ['{target}']}}]}}]\n")
    process = subprocess.Popen([program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                                f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/-/ready")
        own = ScrapeSource(f"http://127.0.0.1:{port}/metrics", "h")
        assert len(own.read()) > 10
        assert (own.bad_lines, own.problem) == (0, "")
        federation = ScrapeSource(f"http://127.0.0.1:{port}/federate?match[]=node_memory_MemTotal_bytes", "h")
        deadline = time.monotonic() + 30
        while len(readings := federation.read()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()

    (_, memory) = readings
    assert memory.metrics.keys() == {"system.memory.total_bytes"}
    assert abs((memory.time_ns or 0) - SYSTEM_CLOCK.now_ns()) < 60 * 10**9
    assert federation.bad_lines == 0


def test_openmetrics_of_the_python_client_is_read_as_it_reads_it() -> None:
    """Exemplars, info, state sets and histograms of the format's own library."""
    from prometheus_client import CollectorRegistry, Counter, Enum, Histogram, Info
    from prometheus_client.openmetrics.exposition import generate_latest

    registry = CollectorRegistry()
    Counter("requests", "with \\ and\nlines", ["path"], registry=registry).labels('/"x\n').inc(2, {"trace_id": "abc"})
    Histogram("latency", "h", buckets=(0.1, 1), registry=registry).observe(0.5, {"trace_id": "abc"})
    Info("build", "i", registry=registry).info({"version": "1"})
    Enum("state", "s", states=["up", "down"], registry=registry).state("down")
    text = generate_latest(registry).decode()
    page = Page(text, is_openmetrics=True)
    ours = {(each.name, *sorted(each.labels.items())): each.value for each in page}
    theirs = {(each.name, *sorted(each.labels.items())): each.value for family in parse_openmetrics(text) for each in family.samples
              if not each.name.endswith("_created")}

    assert ours == theirs
    assert (page.bad_lines, page.complete) == (0, True)
