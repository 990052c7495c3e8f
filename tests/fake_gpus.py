"""GPUs for tests: a driver library that plays a scenario, and a source that reads it."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.gpu.keeper import Pace
from shippers.gpu.source import GpuSource
from shippers.sources.reading import Reading

FOLDER = Path(__file__).parent / "fake_nvml"
HEALTHY = (FOLDER / "healthy_8gpu.conf").read_text()
QUICK = Pace(interval_s=0.05, slow_interval_s=0.1, deadline_s=0.6, skip_s=0.5)


def missing() -> str | None:
    """Why there can be no such library here."""
    return None if shutil.which("cc") else "needs a C compiler: cc"


def build(folder: Path) -> Path:
    """Compile the library; returns the folder it is in."""
    subprocess.run(["cc", "-O1", "-fvisibility=hidden", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o",
                    str(folder / "libnvidia-ml.so.1"), str(FOLDER / "fake_nvml.c"), "-lm", "-lpthread"], check=True, capture_output=True)
    return folder


class Node:
    """A scenario, its clock in our hands, and what was read of it so far."""

    def __init__(self, folder: Path, scenario: str) -> None:
        self._clock = folder / "clock"
        (folder / "scenario").write_text(scenario)
        self.at(0)
        self.calls = folder / "calls"
        self.environment = {"FAKE_NVML_SCENARIO": str(folder / "scenario"), "FAKE_NVML_CLOCK": str(self._clock),
                            "FAKE_NVML_CALLS": str(self.calls)}
        self.readings: list[Reading] = []
        self.events: list[dict[str, Any]] = []
        self.source: GpuSource | None = None

    def at(self, seconds: float) -> None:
        """Move the clock of the scenario."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{seconds}\n")
        fresh.rename(self._clock)

    def start(self, pace: Pace = QUICK) -> "Node":
        """Read from now on."""
        self.source = GpuSource("h", SYSTEM_CLOCK, pace)
        return self

    def take(self) -> None:
        """Take what was read since the last call."""
        assert self.source is not None
        self.readings += self.source.read()
        self.events += self.source.events()

    def until(self, holds: Callable[[], object], within_s: float = 20.0) -> bool:
        """Take what is read until something holds."""
        due = time.monotonic() + within_s
        while time.monotonic() < due:
            self.take()
            if holds():
                return True
            time.sleep(0.01)
        return False

    def last(self, metric: str, index: int) -> float | None:
        """The last reading of a metric of a GPU."""
        return next((reading.metrics[metric] for reading in reversed(self.readings)
                     if metric in reading.metrics and (reading.labels or {}).get("gpu.index") == str(index)), None)

    def count(self, index: int) -> int:
        """How often a GPU was read."""
        return sum("gpu.busy_ratio" in reading.metrics and (reading.labels or {}).get("gpu.index") == str(index)
                   for reading in self.readings)

    def read_again(self, *indexes: int) -> bool:
        """Whether each of these is read twice more: what is told afterwards was read after this call."""
        before = {index: self.count(index) for index in indexes}
        return self.until(lambda: all(self.count(index) >= before[index] + 2 for index in indexes))

    def listens(self, index: int, times: int = 1) -> bool:
        """Whether events of a GPU are waited for, registered so often: what comes before that is told to nobody."""
        def heard() -> bool:
            calls = self.calls.read_text().splitlines() if self.calls.exists() else []
            places = [place for place, call in enumerate(calls) if call == f"nvmlDeviceRegisterEvents {index}"]
            return len(places) >= times and "nvmlEventSetWait_v2" in calls[places[times - 1]:]

        return self.until(heard)

    def kinds(self) -> list[str]:
        """What happened, in order."""
        return [event["labels"]["error.kind"] for event in self.events]


def of(label: str, value: str) -> Callable[[Reading], bool]:
    """Readings with a label."""
    return lambda reading: (reading.labels or {}).get(label) == value


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the driver library."""
    if (why := missing()) is not None:
        pytest.skip(why)
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def node(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Node]]:
    """Makes a node of a scenario; its source is closed at the end."""
    made: list[Node] = []

    def make(scenario: str) -> Node:
        made.append(Node(tmp_path, scenario))
        for name, value in made[-1].environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
        return made[-1]

    yield make
    for one in made:
        if one.source is not None:
            one.source.close()

