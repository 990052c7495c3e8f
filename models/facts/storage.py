"""Facts of disks and of what the run reads and writes."""

from models.facts.registry import Scope, fact, ratio
from models.view import Entity

DISKS = "disk metrics (pinchpoint watch)"


def busiest(scope: Scope) -> Entity | None:
    """The disk with the most time in requests."""
    disks = [disk for disk in scope.entities("disk") if disk.mean("disk.busy_s", scope.inside) is not None]
    return max(disks, key=lambda disk: disk.mean("disk.busy_s", scope.inside) or 0.0, default=None)


def _rate(scope: Scope, name: str) -> float | None:
    disk = busiest(scope)
    return None if disk is None else disk.mean(name, scope.inside)


@fact("storage.reads_per_s", "1/s", DISKS)
def reads(scope: Scope) -> float | None:
    """Read requests a second of the busiest disk."""
    return _rate(scope, "disk.reads")


@fact("storage.read_size_bytes", "bytes", DISKS)
def read_size(scope: Scope) -> float | None:
    """Mean size of a read request of the busiest disk."""
    count, size = _rate(scope, "disk.reads"), _rate(scope, "disk.read_bytes")
    return None if not count or size is None else ratio(size, count)


@fact("storage.read_bytes_per_s", "bytes/s", DISKS)
def read_rate(scope: Scope) -> float | None:
    """Bytes a second read from the busiest disk."""
    return _rate(scope, "disk.read_bytes")


@fact("storage.read_s", "s", DISKS)
def read_latency(scope: Scope) -> float | None:
    """Mean time of a read request of the busiest disk."""
    count, time = _rate(scope, "disk.reads"), _rate(scope, "disk.read_s")
    return None if not count or time is None else ratio(time, count)


@fact("storage.busy_ratio", "ratio", DISKS)
def busy(scope: Scope) -> float | None:
    """Share of the time in which the busiest disk had a request in flight."""
    share = _rate(scope, "disk.busy_s")
    return None if share is None else min(share, 1.0)


@fact("storage.write_s", "s", DISKS)
def write_latency(scope: Scope) -> float | None:
    """Mean time of a write request of the busiest disk."""
    count, time = _rate(scope, "disk.writes"), _rate(scope, "disk.write_s")
    return None if not count or time is None else ratio(time, count)


@fact("storage.pressure_ratio", "ratio", "pressure stall information (Linux 4.20 and later)")
def pressure(scope: Scope) -> float | None:
    """Share of the time in which some task waited for a disk."""
    values = [host.mean("system.pressure.io.some_s", scope.inside) for host in scope.entities("host")]
    known = [value for value in values if value is not None]
    return max(known) if known else None
