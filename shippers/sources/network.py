"""Read the network cards of the host."""

import os
from pathlib import Path

from shippers.sources.reading import ROOT, KernelFile, Reading, number_after, read_once

_QUIET_EVERY = 10
_SPEED_EVERY = 60
_MEGABIT_BYTES = 125_000


class NetworkSource:
    """Readings of each network card in use; of a quiet one each tenth time only, since its counters stand still.

    Cards are devices and bonds. A host without any, such as a container, is read by its virtual ones, which elsewhere are one for
    each container and show the same traffic again.
    """

    def __init__(self, host: str, *, root: Path = ROOT) -> None:
        self._host = host
        self._devices = KernelFile(root / "proc/net/dev")
        self._cards = root / "sys/class/net"
        self._lines: dict[bytes, bytes] = {}
        self._speeds: dict[bytes, float | None] = {}
        self._is_card: dict[bytes, bool] = {}
        self._readings = 0

    def read(self) -> list[Reading]:
        """One reading of each card that ever carried a packet, without the loopback."""
        if self._readings % _SPEED_EVERY == 0:
            self._speeds.clear()
            self._is_card.clear()
        found = []
        for line in (self._devices.read() or b"").splitlines():
            name, colon, counters = line.partition(b":")
            name, words = name.strip(), counters.split()
            if colon and len(words) >= 12 and name != b"lo" and all(word.isdigit() for word in words) and not words[1] == words[9] == b"0":
                found.append((name, counters, words))
        readings = []
        for name, counters, words in [each for each in found if self._carries(each[0])] or found:
            if self._lines.get(name) == counters and self._readings % _QUIET_EVERY:
                continue
            self._lines[name] = counters
            readings.append(Reading("nic", f"{self._host}/{os.fsdecode(name)}", self._metrics(name, words)))
        self._readings += 1
        return readings

    def close(self) -> None:
        self._devices.close()

    def _carries(self, name: bytes) -> bool:
        if name not in self._is_card:
            folder = self._cards / os.fsdecode(name)
            self._is_card[name] = (folder / "device").exists() or (folder / "bonding").exists()
        return self._is_card[name]

    def _metrics(self, name: bytes, words: list[bytes]) -> dict[str, float]:
        metrics = {}
        for way, first in (("receive", 0), ("transmit", 8)):
            for offset, what in enumerate(("bytes", "packets", "errors", "drops")):
                metrics[f"nic.{way}_{what}"] = float(words[first + offset])
        if name not in self._speeds:
            megabits = number_after(read_once(self._cards / os.fsdecode(name) / "speed"), b"")
            # -1 and 4294967295 are what cards without a link or without a speed say
            self._speeds[name] = megabits * _MEGABIT_BYTES if megabits is not None and 0 < megabits < 1 << 31 else None
        if (speed := self._speeds[name]) is not None:
            metrics["nic.speed_bytes_per_s"] = speed
        if (downs := number_after(read_once(self._cards / os.fsdecode(name) / "carrier_down_count"), b"")) is not None:
            metrics["nic.link_downs"] = downs
        return metrics
