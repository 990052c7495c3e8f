"""Turn samples of Prometheus into readings of the things they are about, under the names that metrics have here."""

import math
from collections.abc import Iterator, Mapping

from shippers.sources.entities import entity_of
from shippers.sources.exposition import Sample
from shippers.sources.reading import Reading
from shippers.sources.scrape_gpu_names import DCGM_SENTINELS
from shippers.sources.scrape_names import NAMES

#: What is known by its host, not by the exporter that tells of it.
_OF_A_MACHINE = ("host", "disk", "nic", "filesystem", "gpu")

#: A thing, the labels that are left, and when: what one reading is of.
_Key = tuple[str, str, tuple[tuple[str, str], ...], int | None]


class Naming:
    """Readings in the making: samples of one thing, with the same labels and at the same time, are one."""

    def __init__(self) -> None:
        self._found: dict[_Key, dict[str, float]] = {}

    def put(self, kind: str, identity: str, metric: str, value: float) -> None:
        """A value that no sample tells of."""
        self._found.setdefault((kind, identity, (), None), {})[metric] = value

    def add(self, sample: Sample, instance: str, machine: str) -> None:
        """Take in a sample; one without a finite value is none.

        Args:
            sample: one line of an exporter, or one point of a series.
            instance: the exporter, under which its services are known.
            machine: its host, under which what is part of a host is known.
        """
        value = sample.value
        if not math.isfinite(value) or (value in DCGM_SENTINELS and sample.name.startswith("DCGM_")):
            return
        names = NAMES.get(sample.name)
        if names is None:
            self._put(sample, sample.labels, sample.name, None, value, instance)
            return
        for name in names:
            if name.only is None or sample.labels.get(name.only[0]) in name.only[1]:
                labels = sample.labels
                if name.adds_up:
                    labels = {key: text for key, text in labels.items() if key not in name.adds_up}
                self._put(sample, labels, name.metric, name.entity, name.value(value),
                          machine if name.entity in _OF_A_MACHINE else instance, adds=name.adds_up is not None)

    def readings(self) -> Iterator[Reading]:
        """What was found, in the order of its first sample."""
        for (kind, identity, left, time_ns), metrics in self._found.items():
            yield Reading(kind, identity, metrics, labels=dict(left) or None, time_ns=time_ns)

    def _put(self, sample: Sample, labels: Mapping[str, str], metric: str, entity: str | None, value: float, instance: str, *,
             adds: bool = False) -> None:
        kind, identity, left = entity_of(labels, instance, entity)
        if machine := left.pop("Hostname", "") or (left.pop("hostname", "") if kind == "gpu" else ""):
            left["host.name"] = machine
        metrics = self._found.setdefault((kind, identity, tuple(sorted(left.items())), sample.time_ns), {})
        metrics[metric] = metrics.get(metric, 0.0) + value if adds else value
