"""The agent on a bad network: slow, cut, reset, silent, narrow. Each line arrives once all the same."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from bulk_sink import Sink
from test_ship import Agent, agent, complete, eventually, lines, needs_sink, program, sink  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent
NETNS = ROOT / "tests" / "services" / "netns-run.sh"

pytestmark = needs_sink


class Proxy:
    """A toxiproxy between the agent and the sink."""

    def __init__(self, api: str, upstream: str) -> None:
        self._api, self.name = api, uuid4().hex[:8]
        made = self._post("/proxies", {"name": self.name, "listen": "127.0.0.1:0", "upstream": upstream.removeprefix("http://")})
        self.url = f"http://{made['listen']}"

    def sicken(self, kind: str, stream: str = "upstream", **attributes: int) -> None:
        """Add a toxic."""
        self._post(f"/proxies/{self.name}/toxics", {"name": kind, "type": kind, "stream": stream, "attributes": attributes})

    def heal(self, kind: str) -> None:
        """Take a toxic away."""
        urllib.request.urlopen(urllib.request.Request(f"{self._api}/proxies/{self.name}/toxics/{kind}", method="DELETE"), timeout=10)

    def enable(self, on: bool) -> None:
        """Let connections in, or end those there are and refuse more."""
        self._post(f"/proxies/{self.name}", {"enabled": on})

    def remove(self) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self._api}/proxies/{self.name}", method="DELETE"), timeout=10)

    def _post(self, path: str, body: dict[str, object]) -> dict[str, str]:
        request = urllib.request.Request(self._api + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture
def proxy(toxiproxy, sink) -> Iterator[Proxy]:  # noqa: F811
    one = Proxy(toxiproxy.url, sink.url)
    yield one
    one.remove()


#: What happens to connections, one after the other, and whether the agent has to notice.
FAULTS = {
    "delayed": ([("latency", "downstream", {"latency": 300, "jitter": 200})], False),
    "sliced": ([("slicer", "upstream", {"average_size": 700, "size_variation": 300, "delay": 100})], False),
    "reset": ([("reset_peer", "upstream", {"timeout": 50}), ("reset_peer", "downstream", {"timeout": 50})], True),
    "cut in the middle": ([("limit_data", "upstream", {"bytes": 30_000}), ("limit_data", "downstream", {"bytes": 200})], True),
    "swallowed, then closed": ([("timeout", "upstream", {"timeout": 2000})], True),
}


def troubles(one: Agent) -> int:
    """How often the agent told of trouble."""
    return sum("works again" not in line for line in one.log.read_text().splitlines())


class Writer:
    """Goes on writing a log until something is seen."""

    def __init__(self, log: Path) -> None:
        self.log, self.written = log, 0

    def until(self, holds: Callable[[], object], within_s: float = 60.0) -> bool:
        def goes_on() -> object:
            with self.log.open("a") as file:
                file.write(lines(self.written, self.written + 50))
            self.written += 50
            return holds()

        return eventually(goes_on, within_s)


def suffer(one: Agent, writer: Writer, sink: Sink, proxy: Proxy, toxic: tuple[str, str, dict[str, int]], noticed: bool) -> None:  # noqa: F811
    """Let a fault be felt, and pass."""
    kind, stream, attributes = toxic
    known, requests = troubles(one), sink.stats()["requests"]
    proxy.sicken(kind, stream, **attributes)
    assert writer.until(lambda: troubles(one) > known if noticed else sink.stats()["requests"] > requests + 2), one.log.read_text()
    proxy.heal(kind)
    assert writer.until(lambda: "works again" in one.log.read_text().splitlines()[-1] or not noticed)


@pytest.mark.service
@pytest.mark.parametrize("fault", FAULTS)
def test_each_line_arrives_once_whatever_the_network_does(tmp_path, sink, proxy, fault):  # noqa: F811
    """Lines are written before, during and after each fault; the sink has each of them once, however often it was sent."""
    toxics, noticed = FAULTS[fault]
    writer = Writer(tmp_path / "app.log")
    with agent(tmp_path, "--store", proxy.url, tmp_path / "app.log*") as one:
        assert writer.until(lambda: sink.stats()["unique"] > 0)
        for toxic in toxics:
            suffer(one, writer, sink, proxy, toxic, noticed)
        assert eventually(lambda: complete(sink, writer.written), 90), (one.log.read_text(), sink.stats())
        assert one.end() == 0
    assert stored_once(sink, writer.written)


@pytest.mark.service
def test_a_connection_that_is_refused(tmp_path, sink, proxy):  # noqa: F811
    """While nobody listens the agent says so once, and delivers all of it afterwards."""
    writer = Writer(tmp_path / "app.log")
    with agent(tmp_path, "--store", proxy.url, tmp_path / "app.log*") as one:
        assert writer.until(lambda: sink.stats()["unique"] > 0)
        known = troubles(one)
        proxy.enable(False)
        assert writer.until(lambda: troubles(one) > known), one.log.read_text()
        proxy.enable(True)
        assert eventually(lambda: complete(sink, writer.written), 90), (one.log.read_text(), sink.stats())
        assert (one.end(), troubles(one)) == (0, known + 1)
    assert stored_once(sink, writer.written)


def stored_once(sink: Sink, number: int) -> bool:  # noqa: F811
    found = sink.stats()
    assert (found["unique"], found["missing"], found["refused"]) == (number, 0, 0), found
    return True


@pytest.mark.parametrize("kbit", [8000, 1000])
def test_a_narrow_link(tmp_path, program, kbit):  # noqa: F811
    """Over a link that takes seconds for a batch all arrives, nothing is sent twice."""
    probe = subprocess.run([NETNS, "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8mbit", "burst", "16kb", "latency", "1s"],
                           capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no network of one's own with a narrow link here: {probe.stderr.strip()}")
    log = tmp_path / "app.log"
    log.write_text(lines(0, 2500))
    done = subprocess.run([NETNS, sys.executable, ROOT / "tests" / "narrow_link.py", program, log, tmp_path / "state", str(kbit)],
                          capture_output=True, text=True, timeout=110)
    found = json.loads(done.stdout)

    assert (found["status"], found["unique"], found["missing"], found["duplicates"]) == (0, 2500, 0, 0), found
