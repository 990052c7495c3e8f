"""Facts of the processes that load data."""

import numpy as np

from models.facts.registry import Scope, fact, ratio
from models.view import Entity

PROCESSES = "process metrics (pinchpoint watch)"


def workers(scope: Scope) -> list[Entity] | None:
    """Processes started by a rank; None when no process was measured."""
    processes = scope.entities("process", role="run")
    if not processes:
        return None
    ranks = {rank.labels.get("process.pid") for rank in scope.view.ranks} - {None}
    return [one for one in processes if one.labels.get("process.parent.pid") in ranks
            and one.labels.get("process.pid") not in ranks and one.mean("process.cpu_s", scope.inside) is not None]


@fact("data_wait.cpu_ratio", "ratio", "steps timed by the SDK")
def data_wait_cpu(scope: Scope) -> float | None:
    """Share of the wait for data in which the training thread itself was computing."""
    used = scope.rank_total("data_wait_cpu_s")
    waited = scope.rank_total("phase.data_wait_s")
    known = ~np.isnan(used)
    if not known.any():
        return None
    share = ratio(float(used[known].sum()), float(waited[known].sum()))
    return None if share is None else min(share, 1.0)


@fact("loader.processes", "processes", PROCESSES)
def loader_processes(scope: Scope) -> float | None:
    """Worker processes of one rank."""
    found = workers(scope)
    if found is None:
        return None
    seen = [int((~np.isnan(one.series["process.cpu_s"][scope.inside])).sum()) for one in found]
    # one that was there for less than half the time loads nothing to speak of
    return sum(count >= 0.5 * max(seen) for count in seen) / max(len(scope.view.ranks), 1)


@fact("loader.cpu_ratio", "ratio", PROCESSES)
def loader_cpu(scope: Scope) -> float | None:
    """Processors that one worker process used, or was ready to use and did not get, 1 = always."""
    found = workers(scope)
    if not found:
        return None
    used = [(one.mean("process.cpu_s", scope.inside) or 0.0) + (one.mean("process.run_delay_s", scope.inside) or 0.0)
            for one in found]
    return min(float(np.mean(used)), 1.0)


@fact("loader.cpu_free_ratio", "ratio", PROCESSES)
def loader_free(scope: Scope) -> float | None:
    """Processors of the host, per worker process, that nobody used."""
    found = workers(scope)
    if not found:
        return None
    idle = [(host.mean("system.cpu.count", scope.inside), host.mean("system.cpu.busy_s", scope.inside)) for host in scope.entities("host")]
    free = sum(count - busy for count, busy in idle if count is not None and busy is not None)
    return free / len(found) if idle else None
