"""Faults of a real Elasticsearch while 200,000 documents are written to it: what is lost, what comes twice, what doctor says of it.

    python benchmarks/elastic_faults.py [--documents 200000] [--only kill queue …]

Four writers append segments of 5,000 log lines and, like every writer, append a segment again under the same id when that failed. At
the end the ids that are read back are compared with those that were written; documents that the server rejected must stand in the
failure store or in the dead-letter file.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from services.servers import ElasticsearchServer

from pinchpoint import records
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.delivery.counters import Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.errors import StoreError
from pinchpoint.store.elastic import ElasticStore
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.templates import install
from pinchpoint.store.es.writing import delivery_files

START = 1_767_225_600 * NS
SEGMENT = 5_000
WRITERS = 4
STREAM = "logs-pinchpoint.log-faults"
#: One document in so many does not fit the mapping, where a row says so.
UNFIT_EVERY = 1000


@dataclasses.dataclass
class Bench:
    """One server with one fault, and the writers' way to it."""

    server: ElasticsearchServer
    folder: Path
    documents: int
    access: Access = dataclasses.field(default_factory=Access)
    unfit: bool = False
    written: int = 0
    errors: set[str] = dataclasses.field(default_factory=set)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def admin(self) -> Door:
        """As the superuser."""
        if not self.server.secure:
            return Door(self.server.url, Access())
        return Door(self.server.url, Access(basic=(self.server.user, self.server.password), ca_file=str(self.server.ca_file)))

    def store(self) -> ElasticStore:
        """As a writer sees it."""
        return ElasticStore(f"{self.server.url}?namespace=faults", door=Door(self.server.url, self.access))

    def write(self) -> None:
        """All segments, each as often as it takes."""
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            for done in [pool.submit(self._segment, start) for start in range(0, self.documents, SEGMENT)]:
                done.result()

    def _segment(self, start: int) -> None:
        batch = lines(np.arange(start, min(start + SEGMENT, self.documents)), self.unfit)
        while True:
            try:
                self.store().append("log", batch, f"load-{start}")
            except StoreError as error:
                with self.lock:
                    self.errors.add(type(error).__name__)
                time.sleep(0.2)  # of a writer that tries again; no test waits for this
                continue
            with self.lock:
                self.written += batch.num_rows
            return


def lines(numbers: np.ndarray, unfit: bool) -> records.pa.RecordBatch:
    """Log lines with ids; where asked, one of each `UNFIT_EVERY` names a host that the mapping of the row does not take."""
    return records.batch("log", {
        "@timestamp": START + numbers * (NS // 1000), "event.id": [f"f-{number:012x}" for number in numbers],
        "run.id": ["faults"] * len(numbers),
        "host.name": ["not an address" if unfit and number % UNFIT_EVERY == 7 else "10.0.0.7" for number in numbers],
        "message": [f"step {number} loss {1 / (number + 1):.6f} grad norm {number % 97 / 7:.4f} tokens 524288 took 412 ms"
                    for number in numbers]})


# What is done to the server while it is written to


def kill(bench: Bench) -> None:
    """`kill -9` in mid-bulk and a restart on the same data, twice."""
    for share in (0.2, 0.6):
        wait_for(lambda share=share: bench.written > share * bench.documents)
        bench.server.kill()
        bench.server.start()


def expire(bench: Bench) -> None:
    """The writers' API key is invalidated; later a person gives them a new one."""
    wait_for(lambda: bench.written > 0.3 * bench.documents)
    bench.admin().call("DELETE", "/_security/api_key", {"name": "writer"})
    wait_for(lambda: "DeliveryRefused" in bench.errors)
    bench.access = new_key(bench)


def fill_disk(bench: Bench) -> None:
    """The disk of the dead-letter file is full until somebody makes room."""
    filler = bench.folder / "state" / "filler"
    wait_for(lambda: "DeadLetterError" in bench.errors)
    filler.unlink()


def nothing(bench: Bench) -> None:
    """The fault lies in the settings."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Look each tenth of a second, five minutes long."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise SystemExit("what the row waits for did not happen")


def new_key(bench: Bench) -> Access:
    """A key that may write and no more."""
    made = bench.admin().call("POST", "/_security/api_key", {"name": "writer", "role_descriptors": {"writer": {"indices": [
        {"names": ["logs-pinchpoint.*"], "privileges": ["create_doc", "auto_configure"]}]}}})
    return Access(api_key=made["encoded"], ca_file=str(bench.server.ca_file))


@dataclasses.dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    title: str
    during: Callable[[Bench], None] = nothing
    settings: tuple[tuple[str, object], ...] = ()
    secure: bool = False
    unfit: bool = False
    failure_store: bool = True
    small_disk: bool = False
    sign: tuple[str, ...] = ()
    """What the ledger must hold afterwards, one of these at least."""


ROWS = (
    Row("none", "none"),
    Row("kill", "`kill -9` in mid-bulk and restart, twice", during=kill, sign=("unanswered", "unavailable")),
    Row("queue", "write queue of one: 429", settings=(("node.processors", 1), ("thread_pool.write.queue_size", 1)),
        sign=("busy_items", "busy")),
    Row("pressure", "indexing pressure of 4 MB: 429 as a whole", settings=(("indexing_pressure.memory.limit", "4mb"),),
        sign=("busy", "busy_items")),
    Row("size", "requests over 256 KB: 413", settings=(("http.max_content_length", "256kb"),), sign=("too_large",)),
    Row("mapping", "mapping errors, failure store on", unfit=True, sign=("failure_store",)),
    Row("rejected", "mapping errors, no failure store", unfit=True, failure_store=False, sign=("rejected",)),
    Row("key", "the key is invalidated, a new one comes later", during=expire, secure=True, sign=("refused",)),
    Row("disk", "mapping errors and a full dead-letter disk", during=fill_disk, unfit=True, failure_store=False, small_disk=True,
        sign=("dead_letter_full", "rejected")),
)


def measure(row: Row, documents: int) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as name, state_folder(Path(name), row.small_disk) as state:
        os.environ["XDG_STATE_HOME"] = str(state)
        server = ElasticsearchServer(Path(name) / "elasticsearch", secure=row.secure, settings=dict(row.settings))
        server.start()
        try:
            bench = Bench(server, Path(name), documents, unfit=row.unfit)
            if row.unfit:
                custom = {"mappings": {"properties": {"host.name": {"type": "ip"}}}}
                custom |= {} if row.failure_store else {"data_stream_options": {"failure_store": {"enabled": False}}}
                bench.admin().call("PUT", "/_component_template/pinchpoint.log@custom", {"template": custom})
            install(bench.admin(), "faults", Config().retention.days)
            if row.secure:
                bench.access = new_key(bench)
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                doing = pool.submit(row.during, bench)
                bench.write()
                doing.result()
            return verdict(row, bench, time.monotonic() - begin)
        finally:
            server.remove()


@contextlib.contextmanager
def state_folder(folder: Path, small: bool) -> Iterator[Path]:
    """Where counts and dead letters go; where asked, a file system of 1 MB that is full already."""
    state = folder / "state"
    state.mkdir()
    if not small:
        yield state
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", state], check=True)
    try:
        with contextlib.suppress(OSError), (state / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        yield state
    finally:
        subprocess.run(["umount", state], check=True)


def verdict(row: Row, bench: Bench, seconds: float) -> str:
    """Count what is there, and ask doctor."""
    door = bench.admin()
    store = ElasticStore(f"{bench.server.url}?namespace=faults", door=door)
    ids = [name for split in store.splits("log") for batch in store.read(split, ["event.id"]) for name in batch.column(0).to_pylist()]
    stored = door.call("POST", f"/{STREAM}/_count")["count"]
    failed = 0
    if row.unfit and row.failure_store:
        door.call("POST", f"/{STREAM}::failures/_refresh")
        failed = door.call("POST", f"/{STREAM}::failures/_count")["count"]
    counts, dead = delivery_files(bench.server.url, "faults")
    letters = {one["id"] for one in DeadLetters(dead, SYSTEM_CLOCK).read()}
    lost = bench.documents - len(set(ids)) - failed - len(letters)
    seen = Ledger(counts).read()
    faults = ", ".join(f"{name} {count.number:,}" for name, count in seen.items() if count.last)
    said = doctor(bench) if row.sign else ""
    shown = all_right(row, set(seen), said)
    aside = f"{failed} in the failure store" if failed else f"{len(letters)} dead letters" if letters else "–"
    return (f"| {row.title} | {lost} | {len(ids) - len(set(ids))} | {stored - len(set(ids))} | {aside} | {faults or '–'} | {shown} "
            f"| {seconds:.0f} s |")


def all_right(row: Row, seen: set[str], said: str) -> str:
    """Whether the fault of a row is seen in doctor's answer."""
    if not row.sign:
        return "–"
    return "yes" if seen & set(row.sign) and any(name in said for name in row.sign) else "NO"


def doctor(bench: Bench) -> str:
    """What `pinchpoint doctor` prints, as JSON."""
    environment = dict(os.environ)
    if bench.server.secure:
        environment |= {"PINCHPOINT_ES_USERNAME": bench.server.user, "PINCHPOINT_ES_PASSWORD": bench.server.password,
                        "PINCHPOINT_ES_CA_FILE": str(bench.server.ca_file)}
    command = [str(Path(sys.executable).parent / "pinchpoint"), "doctor", "--store", f"{bench.server.url}?namespace=faults",
               "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return json.dumps(json.loads(done.stdout))


def main() -> None:
    """Each fault in turn, as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS])
    options = parser.parse_args()
    print("| fault | lost | read twice | stored twice | set aside | counted | doctor shows it | took |\n"
          "|---|---|---|---|---|---|---|---|", flush=True)
    for row in ROWS:
        if not options.only or row.name in options.only:
            print(measure(row, options.documents), flush=True)


if __name__ == "__main__":
    main()
