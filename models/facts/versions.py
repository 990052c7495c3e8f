"""Facts of versions: whether the slow nodes run another driver or firmware than the fast ones."""

import dataclasses

import numpy as np

from models.facts.ranks import own_times
from models.facts.registry import Scope, fact
from models.view import Floats

VERSIONS = "driver versions of the GPUs of at least two hosts (label gpu.driver_version)"
#: What is compared, with how it is called.
FACETS = {"gpu.driver_version": "driver", "gpu.vbios": "firmware"}
#: A rank of the slow group is slower than one of the other group by at least this.
SLOWER = 1.03


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """The ranks of a run by version: those of the slowest version against the rest."""

    facet: str
    slow: str
    rest: tuple[str, ...]
    slow_hosts: tuple[str, ...]
    slow_times: Floats
    rest_times: Floats


def split(scope: Scope) -> Split | None:
    """The version that separates slow ranks from fast ones best; None with one host or one version."""
    own = own_times(scope)
    times = {rank.id: time for rank, time in zip(scope.view.ranks, own, strict=True) if not np.isnan(time)}
    if len({one.gpu.host for one in scope.view.placed}) < 2:
        return None
    found = []
    for facet in FACETS:
        groups: dict[str, list[float]] = {}
        hosts: dict[str, set[str]] = {}
        for one in scope.view.placed:
            version = one.gpu.labels.get(facet)
            if version and one.rank.id in times:
                groups.setdefault(version, []).append(times[one.rank.id])
                hosts.setdefault(version, set()).add(one.gpu.host or "")
        if len(groups) < 2:
            continue
        slow = max(groups, key=lambda version: float(np.median(groups[version])))
        rest = tuple(sorted(version for version in groups if version != slow))
        found.append(Split(facet, slow, rest, tuple(sorted(hosts[slow])), np.array(groups[slow]),
                           np.concatenate([groups[version] for version in rest])))
    return max(found, key=_separation, default=None)


def _separation(one: Split) -> float:
    """Share of the pairs of a slow and another rank of which the slow one is slower."""
    return float((one.slow_times[:, None] > SLOWER * one.rest_times[None, :]).mean())


@fact("version.separation_ratio", "ratio", VERSIONS)
def separation(scope: Scope) -> float | None:
    """Share of the pairs of ranks with different versions of which the one with the slower version is slower."""
    one = split(scope)
    return None if one is None else _separation(one)


@fact("version.slow_ratio", "ratio", VERSIONS)
def slow_ratio(scope: Scope) -> float | None:
    """Own step time of the ranks with the slower version over that of the others."""
    one = split(scope)
    return None if one is None else float(np.median(one.slow_times) / np.median(one.rest_times))
