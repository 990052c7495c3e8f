"""Read the limits of a control group, version 1 or 2, and what they cost."""

from collections.abc import Callable
from pathlib import Path

from shippers.sources.reading import ROOT, Reading, number_after, read_once

_NO_LIMIT_BYTES = 1 << 60  # version 1 writes a number near 2^63 where there is no limit
_LIMITS_EVERY = 10  # limits seldom change, and are many files


class CgroupSource:
    """Readings of the control group of a process; limits are the strictest on the way up, as the kernel applies them all."""

    def __init__(self, host: str, pid: int, *, root: Path = ROOT) -> None:
        paths = _paths(read_once(root / "proc" / str(pid) / "cgroup") or b"")
        mounts = _mounts(read_once(root / "proc" / str(pid) / "mountinfo") or b"", root)
        self._cpu = _levels("cpu", paths, mounts)
        self._memory = _levels("memory", paths, mounts)
        # One path names the group: that of version 2, else the one that limits memory, which container engines always set.
        self._id = f"{host}/{(paths.get('memory') or paths.get('cpu') or paths.get('') or '/').lstrip('/')}"
        self._readings = 0

    def read(self) -> list[Reading]:
        """One reading, or none where the process is in no group."""
        if self._readings % _LIMITS_EVERY == 0:
            self._cores, self._cpu_level = _strictest(self._cpu, _cpu_limit)
            self._bytes, self._memory_level = _strictest(self._memory, _memory_limit)
        self._readings += 1
        metrics: dict[str, float | None] = {"cgroup.cpu.limit_cores": self._cores, "cgroup.memory.limit_bytes": self._bytes}
        if self._cpu_level is not None:
            metrics.update(_cpu_metrics(self._cpu_level))
        if self._memory_level is not None:
            metrics.update(_memory_metrics(self._memory_level))
        known = {name: value for name, value in metrics.items() if value is not None}
        return [Reading("cgroup", self._id, known)] if known else []


def _paths(data: bytes) -> dict[str, str]:
    r"""The group of each controller; `` is version 2.

    >>> _paths(b"4:memory:/jobs/a\n2:cpu,cpuacct:/jobs\n0::/x")
    {'memory': '/jobs/a', 'cpu': '/jobs', 'cpuacct': '/jobs', '': '/x'}
    """
    paths = {}
    for line in data.decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _mounts(data: bytes, root: Path) -> dict[str, tuple[str, Path]]:
    """Where each controller is mounted, and which group is mounted there; `` is version 2."""
    mounts: dict[str, tuple[str, Path]] = {}
    for line in data.decode(errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, *_) = left.split(), right.split() or [""]
        if kind in ("cgroup", "cgroup2") and len(fields) >= 5:
            place = (fields[3], root / fields[4].lstrip("/"))
            for controller in [""] if kind == "cgroup2" else right.split()[-1].split(","):
                mounts.setdefault(controller, place)
    return mounts


def _levels(controller: str, paths: dict[str, str], mounts: dict[str, tuple[str, Path]]) -> list[Path]:
    """The folders of a group and of the groups above it, as far as they can be seen; of version 1 where that has the controller."""
    key = controller if controller in paths and controller in mounts else ""
    if key not in paths or key not in mounts:
        return []
    mounted, folder = mounts[key]
    path = paths[key]
    # In a container without its own name space the path is the host's, and the mount shows only the part below `mounted`.
    if mounted != "/" and (path == mounted or path.startswith(mounted + "/")):
        path = path[len(mounted) :]
    lowest = folder / path.lstrip("/")
    if not lowest.is_dir():
        lowest = folder
    levels = [lowest]
    while levels[-1] != folder and folder in levels[-1].parents:
        levels.append(levels[-1].parent)
    return levels


def _strictest(levels: list[Path], limit_of: Callable[[Path], float | None]) -> tuple[float | None, Path | None]:
    """The lowest limit and the group that has it, since use and throttling count there; without a limit the lowest group."""
    limits = [(limit, level) for level in levels if (limit := limit_of(level)) is not None]
    return min(limits, default=(None, levels[0] if levels else None))


def _cpu_metrics(level: Path) -> dict[str, float | None]:
    stat = read_once(level / "cpu.stat")
    return {
        "cgroup.cpu.periods": number_after(stat, b"nr_periods "),
        "cgroup.cpu.throttled_periods": number_after(stat, b"nr_throttled "),
        "cgroup.cpu.throttled_s": _either((stat, b"throttled_usec ", 1e6), (stat, b"throttled_time ", 1e9)),
    }


def _memory_metrics(level: Path) -> dict[str, float | None]:
    return {
        "cgroup.memory.used_bytes": _either((read_once(level / "memory.current"), b"", 1),
                                            (read_once(level / "memory.usage_in_bytes"), b"", 1)),
        "cgroup.memory.oom_kills": _either((read_once(level / "memory.events"), b"oom_kill ", 1),
                                           (read_once(level / "memory.oom_control"), b"oom_kill ", 1)),
    }


def _either(*choices: tuple[bytes | None, bytes, float]) -> float | None:
    """The first reading there is of (file, key, divisor): version 2 first, then version 1."""
    for data, key, divisor in choices:
        value = number_after(data, key)
        if value is not None:
            return value / divisor
    return None


def _cpu_limit(level: Path) -> float | None:
    both = (read_once(level / "cpu.max") or b"").split()
    if len(both) == 2:
        return None if both[0] == b"max" else int(both[0]) / int(both[1])
    quota, period = (number_after(read_once(level / name), b"") for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return quota / period if quota is not None and period and quota > 0 else None


def _memory_limit(level: Path) -> float | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        limit = number_after(read_once(level / name), b"")
        if limit is not None and limit < _NO_LIMIT_BYTES:
            return limit
    return None
