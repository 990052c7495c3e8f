"""Slowdowns really provoked, analysed in a lake and in Elasticsearch of both versions: the same bytes must come out.

python -m benchmarks.elastic_same [--only "tiny files" …]
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from services.servers import ElasticsearchServer

from benchmarks.faults.cases import CASES
from pinchpoint import fields
from pinchpoint.config import Config
from pinchpoint.store import open_store
from pinchpoint.store.es.address import Access
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.templates import install

ROOT = Path(__file__).resolve().parents[1]
PINCHPOINT = str(Path(sys.executable).parent / "pinchpoint")
VERSIONS = ("9.2.0", "8.19.5")


def main() -> None:
    """Provoke, copy, analyse, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[case.name for case in CASES])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        watched = f"{folder}/watched"
        for case in CASES:
            if not options.only or case.name in options.only:
                provoke(watched, case.name, case.arguments, folder)
        answers = {"lake": answer(copied(watched, f"{folder}/lake"))}
        for version in VERSIONS:
            server = ElasticsearchServer(Path(folder) / version, version=version)
            server.start()
            try:
                install(Door(server.url, Access()), "same", Config().retention.days)
                answers[f"Elasticsearch {version}"] = answer(copied(watched, f"{server.url}?namespace=same"))
            finally:
                server.remove()
    for name, text in answers.items():
        same = "the same bytes as the lake" if text == answers["lake"] else "DIFFERENT"
        print(f"{name:<24} {len(json.loads(text)):>3} incidents, {len(text):>8,} bytes of JSON  {same}")
    sys.exit(len(set(answers.values())) > 1)


def provoke(store: str, name: str, arguments: str, folder: str) -> None:
    """Run one case under watch."""
    hogs = None
    if "cpu-hog" in arguments:
        hogs = subprocess.Popen([sys.executable, str(ROOT / "examples" / "hogs.py"), f"{folder}/neighbour"])
    ended = subprocess.run([PINCHPOINT, "watch", "--store", store, "--", sys.executable, str(ROOT / "examples" / "train.py"),
                            *shlex.split(arguments), "--seed", "1", "--neighbour", f"{folder}/neighbour"], capture_output=True, text=True)
    if hogs is not None:
        hogs.terminate()
        hogs.wait()
    print(f"{name}: {'provoked' if ended.returncode == 0 else (ended.stderr.strip().splitlines() or ['?'])[0]}", flush=True)


def copied(source: str, url: str) -> str:
    """What was shipped into one store, in another."""
    read, write = open_store(source), open_store(url)
    for kind in fields.SHIPPED:
        for number, split in enumerate(read.splits(kind)):
            for part, batch in enumerate(read.read(split)):
                write.append(kind, batch, f"copied-{number}-{part}")
    return url


def answer(url: str) -> str:
    """All incidents after an analysis, as the command prints them."""
    subprocess.run([PINCHPOINT, "analyze", "--store", url], check=True, capture_output=True)
    return subprocess.run([PINCHPOINT, "incidents", "--store", url, "--format", "json", "--limit", "1000"], check=True, capture_output=True,
                          text=True).stdout


if __name__ == "__main__":
    main()
