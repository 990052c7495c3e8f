"""Readings and events of the GPUs of this host, as the agent and `watch` take them."""

import collections
from pathlib import Path
from typing import Any

from pinchpoint.clock import Clock
from shippers.gpu import protocol
from shippers.gpu.keeper import Keeper, Pace
from shippers.gpu.news import News
from shippers.gpu.places import ProcessPlaces
from shippers.gpu.states import GpuState
from shippers.readable import is_readable
from shippers.sources.reading import ROOT, Reading

_PARENT = "gpu.parent.uuid"


class GpuSource:
    """Starts reading when it is first asked; asking waits for nothing.

    Readings carry the time at which they were made, in the reading process; `read` hands out those since the last call.
    """

    def __init__(self, host: str, clock: Clock, pace: Pace, *, root: Path = ROOT) -> None:
        self._host, self._clock = host, clock
        self._keeper = Keeper(clock, pace)
        self._news = News(host)
        self._places = ProcessPlaces(root)
        self._slow_interval_s = pace.slow_interval_s
        self._labels: dict[str, dict[str, str]] = {}
        self._uuids: dict[int, str] = {}
        self._lost: set[int] = set()
        self._readings: list[Reading] = []
        self._repeat_s = 0.0
        self._told: collections.Counter[int] = collections.Counter()
        self.learnt: dict[int, list[Any]] = {}
        """By index of the GPU: why metrics cannot be read, by name; and what a fast and a slow round cost, in µs."""

    @property
    def state(self) -> GpuState:
        return self._keeper.state

    @property
    def driver(self) -> str:
        """The version of the driver; empty before it was opened."""
        return next((labels["gpu.driver_version"] for labels in self._labels.values()), "")

    def rounds_learnt(self) -> int:
        """How often each GPU told what it cannot: the second time it knows it of rates too."""
        return min((self._told.get(index, 0) for index in self._uuids), default=0)

    @property
    def pid(self) -> int | None:
        """Of the process that reads."""
        return None if self._keeper.process is None else self._keeper.process.pid

    @property
    def problem(self) -> str | None:
        """What is wrong, in a sentence; None where nothing is."""
        said = []
        if not self.state.is_normal:
            said.append(self.state.value + (f" ({self._keeper.text})" if self._keeper.text else ""))
        if waiting := self._keeper.skips.waiting():
            said.append(f"the driver does not answer for GPU {', '.join(map(str, waiting))}, which is left alone for a while")
        if self._keeper.is_deaf:
            said.append("waiting for events of the driver did not return: they are not listened to for a while")
        if held := self._keeper.held():
            said.append(f"process {', '.join(map(str, held))} was killed and does not end: the driver holds it in a call")
        return "; ".join(said) or None

    def read(self) -> list[Reading]:
        """The readings since the last call."""
        self._keeper.lines(self._take)
        self._repeat()
        readings, self._readings = self._readings, []
        return readings

    def events(self) -> list[dict[str, Any]]:
        """What happened since the last call, as records of the kind `event`."""
        return self._news.take()

    def counters(self) -> dict[str, float]:
        """Starts of the reading process, and events held back because they came too often."""
        return {"gpu.starts": float(self._keeper.starts), "gpu.held_back": float(self._news.held_back)}

    def settle(self, within_s: float) -> None:
        """Wait until each GPU was read for the first time, or until it is known that there is none."""
        due_s = self._clock.monotonic_s() + within_s
        taken: list[Reading] = []
        while (left_s := due_s - self._clock.monotonic_s()) > 0:
            taken += self.read()
            process = self._keeper.process
            # what was learnt is told behind the first readings
            if process is None or (self.state is GpuState.READING and len(self.learnt.keys() | self._lost) >= self._keeper.devices):
                break
            is_readable(process.fileno(), min(left_s, 0.2))
        self._readings = taken + self._readings

    def close(self) -> None:
        """End the reading process."""
        self._keeper.close()

    def _take(self, words: list[Any]) -> None:
        match words:
            case [protocol.READ, int(time_ns), str(uuid), dict(metrics)]:
                self._take_reading(time_ns, uuid, metrics)
            case [protocol.PROCESSES, int(time_ns), str(uuid), list(found)]:
                self._take_processes(time_ns, uuid, found)
            case [protocol.DEVICE, int(index), str(uuid), dict(labels)]:
                self._labels[uuid] = labels
                if _PARENT not in labels:
                    self._uuids[index] = uuid
                    if index in self._lost:
                        self._lost.remove(index)
                        self._tell(index, "gpu_returned")
            case [protocol.EVENT, int(time_ns), str(uuid), str(kind), int(number)]:
                self._news.tell(time_ns, uuid, self._of(uuid), kind, number)
            case [protocol.LOST, int(_), int(index), _, str(why)]:
                self._take_lost(index, why)
            case [protocol.HANG, int(index), str(call), float() | int() as seconds]:
                self._tell(index, "gpu_unresponsive", f"{call} has not returned for {seconds:.1f} s")
                self._flag(index, "gpu.unresponsive", 1.0)
            case [protocol.HANG, None, protocol.EVENT_WAIT, *_]:
                self._news.tell(self._clock.now_ns(), "", {}, "events_unresponsive")
            case [protocol.HANG, None, str(call), float() | int() as seconds]:
                self._news.tell(self._clock.now_ns(), "", {}, "gpu_unresponsive", more=f"{call} has not returned for {seconds:.1f} s")
            case [protocol.LEARNT, int(index), dict(missing), int(fast_us), int(slow_us)]:
                slowest = max(slow_us, self.learnt[index][2] if index in self.learnt else 0)
                self.learnt[index] = [missing, fast_us, slowest]
                self._told[index] += 1

    def _take_reading(self, time_ns: int, uuid: str, metrics: dict[str, float]) -> None:
        labels = self._of(uuid)
        index = int(labels.get("gpu.index", -1))
        if _PARENT not in labels and self._keeper.skips.answered(index, self._clock.monotonic_s()):
            self._tell(index, "gpu_recovered")
            metrics["gpu.unresponsive"] = 0.0
        self._news.compare(time_ns, uuid, labels, metrics)
        self._readings.append(Reading("gpu", uuid, metrics, labels=self._labels.get(uuid), time_ns=time_ns))

    def _take_processes(self, time_ns: int, uuid: str, found: list[list[int]]) -> None:
        for pid, size in found:
            labels = {"gpu.uuid": uuid, **self._places.of(pid)}
            metrics = {"process.gpu.memory_bytes": float(size)}
            self._readings.append(Reading("process", f"{self._host}/{pid}", metrics, pid, labels, time_ns))

    def _take_lost(self, index: int, why: str) -> None:
        if index not in self._lost:
            self._lost.add(index)
            self._tell(index, "gpu_unavailable" if why else "gpu_lost", why)
        if not why:
            self._flag(index, "gpu.lost", 1.0)

    def _repeat(self) -> None:
        """A GPU that is left alone is not read; that it is unresponsive is told all the same."""
        now_s = self._clock.monotonic_s()
        if now_s < self._repeat_s:
            return
        self._repeat_s = now_s + self._slow_interval_s
        for index in self._keeper.skips.waiting():
            self._flag(index, "gpu.unresponsive", 1.0)

    def _flag(self, index: int, metric: str, value: float) -> None:
        uuid = self._uuids.get(index)
        labels = self._labels.get(uuid or "", {"gpu.index": str(index)})
        self._readings.append(Reading("gpu", uuid or f"{self._host}/{index}", {metric: value}, labels=labels, time_ns=self._clock.now_ns()))

    def _tell(self, index: int, kind: str, more: str = "") -> None:
        uuid = self._uuids.get(index)
        labels = {"gpu.index": str(index)} if uuid is None else self._of(uuid)
        self._news.tell(self._clock.now_ns(), uuid or f"{self._host}/{index}", labels, kind, more=more)

    def _of(self, uuid: str) -> dict[str, str]:
        """What events say of a GPU."""
        known = self._labels.get(uuid, {})
        return {"gpu.uuid": uuid} | {name: known[name] for name in ("gpu.index", "gpu.pci.address", _PARENT) if name in known}
