"""Documents out of a real Elasticsearch into Arrow: our reader beside a bare sliced export of the same documents in the same run.

    python benchmarks/elastic_export.py [--documents 1000000] [--grow 5] [--runs 3]

The bare export asks for the same documents page by page and throws the bytes away; the best of several ways to ask is what we are held
against. With `--grow` the same reader then reads so many times as many documents, and its memory is compared.
"""

import argparse
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import urllib3

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from services.servers import ElasticsearchServer

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.config import Config
from pinchpoint.store import open_store
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.templates import install

START = 1_767_225_600 * NS
SEGMENT = 50_000
SLICE_RECORDS = 250_000
STREAM = "logs-pinchpoint.log-bench"
SORT = re.compile(rb'"sort":\[(\d+)\]')


def main() -> None:
    """Load, export both ways in turn, print rates and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--grow", type=int, default=0, help="then read so many times as many")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read_whole(options.read)
        return
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        os.environ |= {"ES_BENCH": "1", "XDG_STATE_HOME": folder}
        server = ElasticsearchServer(Path(folder) / "elasticsearch", heap="1g")
        server.start()
        try:
            measure(server.url, options)
        finally:
            server.remove()


def measure(url: str, options: argparse.Namespace) -> None:
    """Everything that is printed."""
    install(Door(url, Access()), "bench", Config().retention.days)
    load(url, 0, options.documents)
    bare(url, 2, 5_000)  # warms the server up
    ways = [(slices, page) for slices in (1, 2, 4) for page in (5_000, 10_000)]
    best = max(ways, key=lambda way: options.documents / bare(url, *way))
    ratios = []
    for _ in range(options.runs):
        bare_s = bare(url, *best)
        ours = in_process_of_its_own(url)
        ratios.append(bare_s / ours["seconds"])
        print(f"bare export ({best[0]} slices, {best[1]:,} a page) {options.documents / bare_s:9,.0f} documents/s   "
              f"into Arrow {ours['documents'] / ours['seconds']:9,.0f} documents/s   {ratios[-1]:.2f} of it   "
              f"{ours['cpu_seconds'] / ours['documents'] * 1e6:.1f} CPU-s a million, {ours['rss_mb']:.0f} MB", flush=True)
    print(f"median {statistics.median(ratios):.2f} of the bare export's rate")
    if options.grow:
        load(url, options.documents, options.documents * options.grow)
        more = in_process_of_its_own(url)
        print(f"{more['documents']:,} documents: {more['documents'] / more['seconds']:,.0f} documents/s, {more['rss_mb']:.0f} MB "
              f"(with {options.documents:,}: {ours['rss_mb']:.0f} MB)")


def load(url: str, first: int, last: int) -> None:
    """Write log lines of about 330 bytes, a second for each thousand."""
    store = open_store(f"{url}?namespace=bench")
    for start in range(first, last, SEGMENT):
        numbers = np.arange(start, min(start + SEGMENT, last))
        store.append("log", records.batch("log", {
            "@timestamp": START + numbers * (NS // 1000), "event.id": [f"{number // 100_000:x}-{number:012x}" for number in numbers],
            "run.id": ["bench"] * len(numbers), "host.name": [f"node-{number % 64}" for number in numbers], "rank": numbers % 512,
            "message": [f"step {number} loss {1 / (number + 1):.6f} grad norm {number % 97 / 7:.4f} lr 3e-4 tokens 524288 took 412 ms"
                        for number in numbers],
            "log.level": ["info"] * len(numbers), "log.file.path": ["/var/log/train/rank.log"] * len(numbers), "log.offset": numbers * 97,
        }), f"load-{start}")


def bare(url: str, slices: int, page: int) -> float:
    """Seconds to fetch every document and throw it away."""
    pool = urllib3.PoolManager(maxsize=slices)
    point = json.loads(pool.request("POST", f"{url}/{STREAM}/_pit?keep_alive=5m").data)["id"]
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(slices) as threads:
        found = sum(threads.map(lambda number: _bare_slice(pool, url, point, number, slices, page), range(slices)))
    seconds = time.perf_counter() - begin
    pool.request("DELETE", f"{url}/_pit", json={"id": point})
    assert found >= 1
    return seconds


def _bare_slice(pool: urllib3.PoolManager, url: str, point: str, number: int, slices: int, page: int) -> int:
    body = {"size": page, "pit": {"id": point, "keep_alive": "5m"}, "sort": ["_shard_doc"], "track_total_hits": False}
    if slices > 1:
        body["slice"] = {"id": number, "max": slices}
    found = 0
    while True:
        data = pool.request("POST", f"{url}/_search", json=body).data
        last = SORT.findall(data[-200:])
        if not last:
            return found
        found += 1
        body["search_after"] = [int(last[-1])]


def in_process_of_its_own(url: str) -> dict[str, float]:
    """What `read_whole` measured."""
    done = subprocess.run([sys.executable, __file__, "--read", url], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def read_whole(url: str) -> None:
    """Read every log record slice by slice as the analysis does, keep none, print what it took."""
    import resource

    store = open_store(f"{url}?namespace=bench")
    splits = store.splits("log", records=SLICE_RECORDS)
    begin, cpu = time.perf_counter(), time.process_time()
    documents = sum(batch.num_rows for split in splits for batch in store.read(split))
    print(json.dumps({"documents": documents, "seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu,
                      "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
