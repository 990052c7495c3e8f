"""How many spans a second the OTLP receiver takes on one core, over HTTP as protobuf.

    python benchmarks/otlp_speed.py --requests 200 --format json

Spans have nine attributes, two of them different in each span; requests have 512 spans, as the SDKs send. The client is a process of
its own, and only the receiver's CPU time counts. The loop beside it tells how busy the machine was: compare runs with a like one.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.items import Item
from shippers.redact import Redactor
from shippers.sources.otlp import OtlpReceiver

BAR = 30_000
SPANS = 512
SAME = {"http.method": "GET", "http.route": "/v1/items", "net.peer.name": "10.0.0.3", "user_agent.original": "curl/8.0 (x86_64)",
        "http.scheme": "http"}


def request(seed: int) -> bytes:
    """One request of an instrumented service."""
    source = random.Random(seed)
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    for key, value in (("service.name", "trainer"), ("k8s.pod.name", "train-0"), ("run.id", "r1"), ("rank", "3")):
        group.resource.attributes.add(key=key).value.string_value = value
    spans = group.scope_spans.add().spans
    for number in range(SPANS):
        start_ns = 1_790_000_000_000_000_000 + number * 1_000_003
        span = spans.add(trace_id=source.randbytes(16), span_id=source.randbytes(8), parent_span_id=source.randbytes(8),
                         name="GET /v1/items",
                         kind=2, start_time_unix_nano=start_ns, end_time_unix_nano=start_ns + 5_000_000)
        for key, value in SAME.items():
            span.attributes.add(key=key).value.string_value = value
        for key, count in (("http.status_code", 200), ("net.peer.port", 8080), ("batch", source.getrandbits(40)),
                           ("request.id", source.getrandbits(60))):
            span.attributes.add(key=key).value.int_value = count
    return made.SerializeToString()


def send(port: int, requests: int) -> None:
    """The client: all requests are made before the first is sent."""
    bodies = [request(seed) for seed in range(min(requests, 100))]
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port)
    for number in range(requests):
        answer = pool.request("POST", "/v1/traces", body=bodies[number % len(bodies)], headers={"Content-Type": "application/x-protobuf"})
        assert answer.status == 200, answer.data


def loop_ms() -> float:
    """A fixed piece of work, best of ten."""
    def once() -> float:
        began = time.process_time()
        for _ in range(300_000):
            pass
        return time.process_time() - began

    return min(once() for _ in range(10)) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--client", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        send(options.client, options.requests)
        return 0
    began: list[float] = []
    taken = 0

    def push(items: list[Item]) -> None:
        nonlocal taken
        if not began:
            began.append(time.process_time())  # after the first request, which loads and warms
        else:
            taken += len(items)

    receiver = OtlpReceiver("127.0.0.1:0", push=push, is_full=lambda: False, redact=Redactor(), host="h", clock=SYSTEM_CLOCK)
    subprocess.run([sys.executable, __file__, "--client", str(receiver.port), "--requests", str(options.requests)], check=True)
    cpu_s = time.process_time() - began[0]
    receiver.close()
    result = {"spans": taken, "spans_per_core_s": round(taken / cpu_s), "bar": BAR, "us_per_span": round(cpu_s / taken * 1e6, 1),
              "loop_ms": round(loop_ms(), 1)}
    print(json.dumps(result) if options.format == "json" else
          f"{result['spans_per_core_s']:,} spans a second on one core (bar {BAR:,}), {result['us_per_span']} µs each; "
          f"loop {result['loop_ms']} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
