"""The stand-in for Elasticsearch that counts what was lost and what came twice, and fails as it is told to."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "shared" / "tools" / "bulk_sink"
#: All faults at once: 429 for every tenth item, 400 for some documents, 503, answers that never come.
FAULTS = ("--reject-items", "0.1", "--refuse-every", "1000", "--unavailable-every", "10", "--drop-every", "13")


def missing() -> str | None:
    """Why there is no sink here; None when there is one."""
    if not (SOURCE / "bulk_sink.c").is_file():
        return "there is no bulk_sink in ../shared/tools"
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        return "there is no C compiler to build bulk_sink with"
    return None


def build(folder: Path) -> Path:
    """The program, built in a folder."""
    program = folder / "bulk_sink"
    if not program.exists():
        subprocess.run([shutil.which("cc") or "gcc", "-O2", "-o", program, SOURCE / "bulk_sink.c", "-lz"], check=True)
    return program


class Sink:
    """One running sink."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid

    def stats(self) -> dict[str, Any]:
        """What it counted."""
        return self._call("GET", "_stats")

    def faults(self, **settings: object) -> None:
        """Change how it fails: `unavailable_every=1` is an outage."""
        query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in settings.items())
        self._call("POST", f"_faults?{query}")

    def reset(self) -> None:
        """Forget everything."""
        self._call("POST", "_reset")

    def _call(self, method: str, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", method=method), timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running(program: Path, *options: str, port: int = 0) -> Iterator[Sink]:
    """A sink that lives as long as the block."""
    with subprocess.Popen([program, "--port", str(port), "--seq-field", "rank", *options], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            yield Sink(found[0], process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
