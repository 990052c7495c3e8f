"""Facts of processors and memory: of the host, of the run's processes, of their control group."""

from collections.abc import Callable

import numpy as np

from models.facts.registry import Scope, fact, ratio
from models.view import Entity, Floats

HOST = "host metrics (pinchpoint watch)"
PROCESSES = "process metrics (pinchpoint watch)"
CGROUPS = "control group metrics (pinchpoint watch)"


def _worst(scope: Scope, measure: Callable[[Entity], float | None]) -> float | None:
    values = [measure(host) for host in scope.entities("host")]
    return max((value for value in values if value is not None), default=None)


def _rank_processes(scope: Scope) -> list[Entity]:
    ranks = {rank.labels.get("process.pid") for rank in scope.view.ranks} - {None}
    return [one for one in scope.entities("process", role="run") if one.labels.get("process.pid") in ranks]


@fact("host.cpu_ratio", "ratio", HOST)
def cpu(scope: Scope) -> float | None:
    """Share of the host's processors in use."""
    return _worst(scope, lambda host: _over(host.mean("system.cpu.busy_s", scope.inside), host.mean("system.cpu.count", scope.inside)))


@fact("host.other_cpu_ratio", "ratio", f"{HOST} and {PROCESSES}")
def other_cpu(scope: Scope) -> float | None:
    """Share of the host's processors used by processes that do not belong to the run."""
    values = []
    for host in scope.entities("host"):
        own = [one.series["process.cpu_s"][scope.inside] for one in scope.entities("process", role="run")
               if one.host == host.host and "process.cpu_s" in one.series]
        count = host.mean("system.cpu.count", scope.inside)
        if not own or not count or "system.cpu.busy_s" not in host.series:
            continue
        # what the hypervisor took is nobody's on this host
        stolen = np.nan_to_num(host.series.get("system.cpu.steal_s", np.zeros(len(scope.inside)))[scope.inside])
        busy = host.series["system.cpu.busy_s"][scope.inside] - stolen
        # only windows in which processes were read: in the others the run would seem to use nothing
        known = ~np.isnan(busy) & (~np.isnan(own)).any(axis=0)
        if known.any():
            values.append(max(float((busy - np.nansum(own, axis=0))[known].mean()), 0.0) / count)
    return max(values, default=None)


@fact("run.cpu_delay_ratio", "ratio", PROCESSES)
def run_delay(scope: Scope) -> float | None:
    """Share of the time in which the training processes were ready and waited for a processor."""
    values = [one.mean("process.run_delay_s", scope.inside) for one in _rank_processes(scope)]
    known = [value for value in values if value is not None]
    return min(max(known), 1.0) if known else None


@fact("cgroup.throttled_ratio", "ratio", CGROUPS)
def throttled(scope: Scope) -> float | None:
    """Share of the enforcement periods in which the control group had used up its CPU quota."""
    values = []
    for group in scope.entities("cgroup"):
        periods = group.mean("cgroup.cpu.periods", scope.inside)
        held = group.mean("cgroup.cpu.throttled_periods", scope.inside)
        if periods is not None and held is not None:
            values.append(ratio(held, periods) or 0.0)
    return max(values, default=None)


@fact("cgroup.cpu_limit_cores", "cores", CGROUPS)
def quota(scope: Scope) -> float | None:
    """CPU quota of the control group."""
    values = [group.mean("cgroup.cpu.limit_cores", scope.inside) for group in scope.entities("cgroup")]
    return min((value for value in values if value is not None), default=None)


@fact("memory.used_ratio", "ratio", HOST)
def memory_used(scope: Scope) -> float | None:
    """Share of memory in use, of the host or of the control group's limit, whichever is nearer to full."""
    values = [1 - available / total for host in scope.entities("host")
              if (available := host.mean("system.memory.available_bytes", scope.inside)) is not None
              and (total := host.mean("system.memory.total_bytes", scope.inside))]
    values += [used / limit for group in scope.entities("cgroup")
               if (used := group.mean("cgroup.memory.used_bytes", scope.inside)) is not None
               and (limit := group.mean("cgroup.memory.limit_bytes", scope.inside))]
    return max(values, default=None)


@fact("memory.pressure_ratio", "ratio", "pressure stall information (Linux 4.20 and later)")
def memory_pressure(scope: Scope) -> float | None:
    """Share of the time in which some task waited for memory."""
    return _worst(scope, lambda host: host.mean("system.pressure.memory.some_s", scope.inside))


@fact("memory.swap_pages_per_s", "1/s", HOST)
def swapping(scope: Scope) -> float | None:
    """Pages swapped in or out a second."""
    return _worst(scope, lambda host: host.mean("system.paging.swap_pages", scope.inside))


@fact("memory.growth_bytes", "bytes", PROCESSES)
def growth(scope: Scope) -> float | None:
    """How much the resident memory of one training process grew, after its first tenth."""
    return max((last - first for first, last, _ in _memory(scope)), default=None)


@fact("memory.growth_ratio", "ratio", PROCESSES)
def growth_ratio(scope: Scope) -> float | None:
    """Growth of the resident memory of one training process over what it began with."""
    return max(((last - first) / first for first, last, _ in _memory(scope) if first > 0), default=None)


@fact("memory.rising_ratio", "ratio", PROCESSES)
def rising(scope: Scope) -> float | None:
    """Share of ten stretches of the run in which the memory of a training process grew: 1 = it never stopped growing."""
    found = _memory(scope)
    return max(found, key=lambda one: one[1] - one[0])[2] if found else None


def _memory(scope: Scope) -> list[tuple[float, float, float]]:
    """(first, last, share of ten stretches that rise) of the resident memory of each training process."""
    found = []
    for process in _rank_processes(scope) or scope.entities("process", role="run"):
        values: Floats = process.series.get("process.memory.rss_bytes", np.zeros(0))
        values = values[scope.inside] if len(values) else values
        values = values[~np.isnan(values)]
        values = values[len(values) // 10:]
        if len(values) >= 8:
            levels = np.array([np.median(part) for part in np.array_split(values, min(11, len(values)))])
            found.append((float(levels[0]), float(levels[-1]), float((np.diff(levels) > 0.002 * levels[0]).mean())))
    return found


def _over(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
