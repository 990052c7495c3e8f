"""Name the thing at fault: kind and id for the answer, a description for people."""

import dataclasses
from collections.abc import Callable

from models.facts.collectives import last_rank
from models.facts.gpu import suspect
from models.facts.gpu_health import strangers_on
from models.facts.gpu_links import worst_nvlink
from models.facts.gpu_lost import lost_gpu
from models.facts.network import worst_port
from models.facts.ranks import slowest
from models.facts.registry import Scope
from models.facts.storage import busiest
from models.facts.versions import FACETS, split
from models.view import Entity


@dataclasses.dataclass(frozen=True, slots=True)
class Suspect:
    """The thing at fault."""

    kind: str
    id: str
    about: str
    """What people know it by: "rank 3, GPU 1 of host node-2 (NVIDIA A100, GPU-5f…)"."""


def _rank(scope: Scope) -> Suspect | None:
    place = 0 if len(scope.view.ranks) == 1 else slowest(scope)
    if place is None:
        return None
    rank, one = scope.view.ranks[place], suspect(scope)
    about = f"rank {rank.rank}" if rank.host is None else f"rank {rank.rank} on host {rank.host}"
    return Suspect("rank", str(rank.rank), about if one is None else f"rank {rank.rank}, {gpu_text(one.gpu)}")


def _gpu(scope: Scope) -> Suspect | None:
    one = suspect(scope)
    if one is None:
        return _rank(scope)
    rank = f"rank {one.rank.rank}, " if len(scope.view.ranks) > 1 else ""
    return Suspect("gpu", one.gpu.id, rank + gpu_text(one.gpu))


def _shared_gpu(scope: Scope) -> Suspect | None:
    found, one = _gpu(scope), suspect(scope)
    strangers = [] if one is None else strangers_on(scope, one.gpu)
    if found is None or not strangers:
        return found
    names = ", ".join(f"{each.labels.get('process.name', '?')} (pid {each.labels.get('process.pid', '?')})" for each in strangers[:3])
    return dataclasses.replace(found, about=f"{found.about}, beside {names}")


def _nvlink_gpu(scope: Scope) -> Suspect | None:
    gpu = worst_nvlink(scope)
    return None if gpu is None else Suspect("gpu", gpu.id, gpu_text(gpu))


def _lost_gpu(scope: Scope) -> Suspect | None:
    gpu = lost_gpu(scope)
    return None if gpu is None else Suspect("gpu", gpu.id, gpu_text(gpu))


def _port(scope: Scope) -> Suspect | None:
    port = worst_port(scope)
    return None if port is None else Suspect(port.kind, port.id, f"port {port.id.rpartition('/')[2]} of host {port.host}")


def _version(scope: Scope) -> Suspect | None:
    one = split(scope)
    if one is None:
        return None
    hosts = ", ".join(one.slow_hosts)
    return Suspect("host", one.slow_hosts[0], f"{FACETS[one.facet]} {one.slow} on {hosts}, {', '.join(one.rest)} on the other hosts")


def _late_rank(scope: Scope) -> Suspect | None:
    trace = last_rank(scope)
    return None if trace is None else Suspect("rank", str(trace.rank), f"rank {trace.rank}")


def _disk(scope: Scope) -> Suspect | None:
    disk = busiest(scope)
    return None if disk is None else Suspect("disk", disk.id, f"disk {disk.id}")


def _host(scope: Scope) -> Suspect | None:
    hosts = scope.view.hosts
    return Suspect("host", hosts[0], f"host {hosts[0]}") if hosts else None


#: By what a cause names as `entity`: how to find it.
SUSPECTS: dict[str, Callable[[Scope], Suspect | None]] = {
    "rank": _rank, "disk": _disk, "host": _host, "gpu": _gpu, "shared_gpu": _shared_gpu, "nvlink_gpu": _nvlink_gpu, "lost_gpu": _lost_gpu,
    "late_rank": _late_rank, "port": _port, "version": _version,
}


def gpu_text(gpu: Entity) -> str:
    """A GPU as people find it: its number on its host, its model, its UUID.

    >>> gpu_text(Entity("gpu", "GPU-1", "node-2", None, {"gpu.index": "3", "gpu.name": "NVIDIA A100"}, {}))
    'GPU 3 of host node-2 (NVIDIA A100, GPU-1)'
    """
    index, host = gpu.labels.get("gpu.index"), f" of host {gpu.host}" if gpu.host else ""
    name = f"{gpu.labels['gpu.name']}, " if "gpu.name" in gpu.labels else ""
    return f"GPU{f' {index}' if index is not None else ''}{host} ({name}{gpu.id})"


def find(entity: str, scope: Scope) -> Suspect | None:
    """The thing at fault, by what the cause says it is; None where it cannot be told."""
    return SUSPECTS[entity](scope) if entity in SUSPECTS else None
