"""Read the ports of InfiniBand and RoCE cards."""

from pathlib import Path

from shippers.sources.reading import ROOT, Reading, number_after, read_once

#: The card's firmware answers for each counter, so each fifth time must do.
_EVERY = 5
#: Devices come and go rarely: look for them each so many readings.
_LOOK_EVERY = 12
#: `port_xmit_data` and `port_rcv_data` count words of four bytes (InfiniBand specification 16.1.3.5).
_WORD_BYTES = 4
_GIGABIT_BYTES = 125_000_000

_COUNTERS = {"rdma.transmit_bytes": ("counters/port_xmit_data",), "rdma.receive_bytes": ("counters/port_rcv_data",),
             "rdma.link_downs": ("counters/link_downed",), "rdma.transmit_wait": ("counters/port_xmit_wait",),
             "rdma.errors": ("counters/symbol_error", "counters/port_rcv_errors", "counters/local_link_integrity_errors"),
             "rdma.congestion_packets": ("hw_counters/np_cnp_sent",)}


class InfinibandSource:
    """Readings of each port that is or was up; nothing where there is no such card, which is normal."""

    def __init__(self, host: str, *, root: Path = ROOT) -> None:
        self._host = host
        self._devices = root / "sys/class/infiniband"
        self._ports: dict[str, Path] = {}
        self._readings = 0

    def read(self) -> list[Reading]:
        """One reading of each port, each fifth time."""
        self._readings += 1
        if (self._readings - 1) % _EVERY:
            return []
        if (self._readings - 1) % (_EVERY * _LOOK_EVERY) == 0:
            self._look()
        return [Reading("rdma", f"{self._host}/{name}", metrics) for name, folder in self._ports.items() if (metrics := _metrics(folder))]

    def _look(self) -> None:
        """Find ports; one that was up once stays, since its falling away is what matters."""
        known, self._ports = self._ports, {}
        for folder in sorted(self._devices.glob("*/ports/*")):
            name = f"{folder.parent.parent.name}:{folder.name}"
            if name in known or b"ACTIVE" in (read_once(folder / "state") or b""):
                self._ports[name] = folder


def _metrics(folder: Path) -> dict[str, float]:
    metrics = {}
    for name, files in _COUNTERS.items():
        known = [value for file in files if (value := number_after(read_once(folder / file), b"")) is not None]
        if known:
            metrics[name] = sum(known) * (_WORD_BYTES if name.endswith("_bytes") else 1)
    # "400 Gb/sec (4X NDR)"; a port that is down still has a rate
    rate = number_after(read_once(folder / "rate"), b"")
    if rate and b"ACTIVE" in (read_once(folder / "state") or b""):
        metrics["rdma.speed_bytes_per_s"] = rate * _GIGABIT_BYTES
    return metrics
