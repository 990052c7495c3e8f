"""Read what the requests to NFS servers cost."""

import re
from collections.abc import Iterator
from pathlib import Path

from shippers.sources.filesystem import unescape
from shippers.sources.reading import ROOT, Reading

_MOST_BYTES = 4 << 20
_DEVICE = re.compile(r"device (.+) mounted on (.+) with fstype (nfs4?) statvers=")
_OPERATION = re.compile(r"\s+([A-Z_0-9]+): ((?:\d+ ?){8,})")
_GROUPS = {"READ": "read", "WRITE": "write", "COMMIT": "write"}
#: The columns after the name of an operation, in milliseconds and bytes.
_OPS, _SENDS, _TIMEOUTS, _SENT, _RECEIVED, _QUEUE_MS, _RTT_MS, _EXECUTE_MS = range(8)


class NfsSource:
    """Readings of each NFS mount: requests, bytes and times of reads, of writes, and of everything else together.

    The kernel keeps these numbers itself, so that a server that hangs does not hang who reads them.
    """

    def __init__(self, host: str, *, root: Path = ROOT) -> None:
        self._host = host
        self._mountstats = root / "proc/self/mountstats"

    def read(self) -> list[Reading]:
        """One reading of each mount; none where there is no NFS."""
        try:
            with self._mountstats.open(errors="replace") as file:
                text = file.read(_MOST_BYTES)
        except OSError:
            return []
        return list(self._readings(text))

    def _readings(self, text: str) -> Iterator[Reading]:
        seen: set[tuple[str, str]] = set()
        for part in re.split(r"^(?=device )", text, flags=re.MULTILINE):
            device = _DEVICE.match(part)
            # mounts of the same export share their connection and all of its numbers: told once
            same = (device.group(1) if device else "", part.partition("\n")[2].strip())
            if same in seen:
                continue
            seen.add(same)
            operations = [(found.group(1), [int(word) for word in found.group(2).split()])
                          for line in part.splitlines() if (found := _OPERATION.fullmatch(line))]
            if device and operations:
                yield Reading("nfs", f"{self._host}{unescape(device.group(2))}", _metrics(operations),
                              labels={"device": unescape(device.group(1)), "fstype": device.group(3)})


def _metrics(operations: list[tuple[str, list[int]]]) -> dict[str, float]:
    metrics = {"nfs.retransmissions": 0.0, "nfs.timeouts": 0.0}
    for name, columns in operations:
        group = f"nfs.{_GROUPS.get(name, 'metadata')}"
        # requests that are on their way are sent already and not done yet, which is no retransmission
        metrics["nfs.retransmissions"] += max(columns[_SENDS] - columns[_OPS], 0)
        metrics["nfs.timeouts"] += columns[_TIMEOUTS]
        for what, column, divisor in (("requests", _OPS, 1), ("sent_bytes", _SENT, 1), ("received_bytes", _RECEIVED, 1),
                                      ("queue_s", _QUEUE_MS, 1000), ("rtt_s", _RTT_MS, 1000), ("execute_s", _EXECUTE_MS, 1000)):
            metrics[f"{group}.{what}"] = metrics.get(f"{group}.{what}", 0.0) + columns[column] / divisor
    return metrics
