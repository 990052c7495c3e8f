"""Facts of the network between the hosts of a run: the ports, congestion, one that is worse than the others."""

import numpy as np

from models.facts.gpu import median
from models.facts.registry import Scope, fact, ratio
from models.view import Booleans, Entity

PORTS = "network metrics (nic.* or rdma.*)"
BEFORE = "steps with communication before the onset"
#: A port with less traffic than this share of the busiest one of the run carries something else.
CARRIES_RATIO = 0.1
#: A signal of congestion counts when it is this many times what it was …
RISEN = 3.0
#: … and at least this much a second: ticks of waiting for credit, congestion notifications, share of segments sent again.
LEAST = {"wait": 1000.0, "notified": 10.0, "resent": 0.005}


@fact("network.hosts", "hosts", "the host of each step")
def hosts_of_run(scope: Scope) -> float | None:
    """Hosts with ranks of the run."""
    return float(len({rank.host for rank in scope.view.ranks if rank.host})) or None


def ports(scope: Scope) -> list[Entity]:
    """Ports of the run's hosts that carry its traffic; RDMA ports where there are any, since collectives take those."""
    hosts = set(scope.view.hosts)
    for kind in ("rdma", "nic"):
        found = [one for one in scope.entities(kind) if one.host in hosts]
        traffic = {one.id: one.mean(f"{kind}.transmit_bytes", scope.inside) or 0.0 for one in found}
        most = max(traffic.values(), default=0.0)
        carrying = [one for one in found if traffic[one.id] >= CARRIES_RATIO * most]
        if most > 0 and carrying:
            return carrying
    return []


def _rate(port: Entity, names: tuple[str, ...], inside: Booleans) -> float | None:
    known = [rate for name in names if (rate := port.mean(f"{port.kind}.{name}", inside)) is not None]
    return sum(known) if known else None


def _alike(port: Entity, every: list[Entity]) -> list[Entity]:
    """The ports that do the same on other hosts; the other ports of its own where there is one host."""
    name = port.id.rpartition("/")[2]
    return [one for one in every if one is not port and one.id.rpartition("/")[2] == name] or [one for one in every if one is not port]


def _speed_loss(scope: Scope, port: Entity, every: list[Entity]) -> float | None:
    """Share of its speed that a port lacks against the same port of other hosts, or against before."""
    now = port.mean(f"{port.kind}.speed_bytes_per_s", scope.inside)
    usual = [median(one.mean(f"{one.kind}.speed_bytes_per_s", scope.inside) for one in _alike(port, every))]
    if scope.before is not None:
        usual.append(port.mean(f"{port.kind}.speed_bytes_per_s", scope.before))
    known = [value for value in usual if value]
    return None if now is None or not known else max(1 - now / max(known), 0.0)


def _more(scope: Scope, port: Entity, every: list[Entity], names: tuple[str, ...]) -> float | None:
    """A rate of a port beyond before and beyond the median of the others."""
    now = _rate(port, names, scope.inside)
    if now is None:
        return None
    before = 0.0 if scope.before is None else _rate(port, names, scope.before) or 0.0
    return max(now - max(before, median(_rate(one, names, scope.inside) for one in every if one is not port) or 0.0), 0.0)


_ERRORS = ("errors", "receive_errors", "transmit_errors")


def worst_port(scope: Scope) -> Entity | None:
    """The port that stands out from the others most: by lost speed, then by lost links, then by errors; None when all are alike."""
    every = ports(scope)

    def badness(port: Entity) -> tuple[float, float, float]:
        return (_speed_loss(scope, port, every) or 0.0, _more(scope, port, every, ("link_downs",)) or 0.0,
                _more(scope, port, every, _ERRORS) or 0.0)

    return max(every, key=badness, default=None)


@fact("port.speed_loss_ratio", "ratio", PORTS)
def speed_loss(scope: Scope) -> float | None:
    """Share of its speed that the worst port lacks against the others, or against before."""
    port = worst_port(scope)
    return None if port is None else _speed_loss(scope, port, ports(scope))


@fact("port.link_downs", "times", PORTS)
def link_downs(scope: Scope) -> float | None:
    """How often the link of the worst port went down, beyond before and beyond the others."""
    port = worst_port(scope)
    rate = None if port is None else _more(scope, port, ports(scope), ("link_downs",))
    return None if rate is None else rate * float(scope.inside.sum()) * scope.view.window_s


@fact("port.errors_per_s", "1/s", PORTS)
def errors(scope: Scope) -> float | None:
    """Errors of the worst port in a second, beyond before and beyond the others."""
    port = worst_port(scope)
    return None if port is None else _more(scope, port, ports(scope), _ERRORS)


@fact("communication.growth_ratio", "ratio", BEFORE)
def growth(scope: Scope) -> float | None:
    """Exposed communication of a step over what it was before the onset."""
    before = scope.baseline()
    if before is None or not before.steps or not scope.steps:
        return None
    return ratio(scope.seconds("communication") / scope.steps, before.seconds("communication") / before.steps)


@fact("network.congested_ratio", "ratio", f"{PORTS} or TCP retransmissions, before the onset and after")
def congested(scope: Scope) -> float | None:
    """Share of the hosts whose ports waited, were told of congestion or had to send again much more than before."""
    if scope.before is None:
        return None
    known = [value for host in scope.view.hosts if (value := _congested(scope, host, scope.before)) is not None]
    return float(np.mean(known)) if known else None


def _congested(scope: Scope, host: str, before: Booleans) -> bool | None:
    found = []
    for port in (one for one in ports(scope) if one.host == host):
        for name, signal in (("transmit_wait", "wait"), ("congestion_packets", "notified")):
            now, then = _rate(port, (name,), scope.inside), _rate(port, (name,), before)
            if now is not None and then is not None:
                found.append(now >= LEAST[signal] and now >= RISEN * then)
    for entity in (one for one in scope.entities("host") if one.host == host):
        now, then = (_resent(entity, windows) for windows in (scope.inside, before))
        if now is not None and then is not None:
            found.append(now >= LEAST["resent"] and now >= RISEN * then)
    return any(found) if found else None


def _resent(host: Entity, inside: Booleans) -> float | None:
    sent, again = host.mean("system.tcp.segments_sent", inside), host.mean("system.tcp.retransmits", inside)
    return None if not sent or again is None else again / sent


@fact("network.traffic_ratio", "ratio", f"{PORTS}, before the onset and after")
def traffic(scope: Scope) -> float | None:
    """Bytes a second that the ports of the run send over what they sent before the onset."""
    if scope.before is None:
        return None
    now, then = (sum(one.mean(f"{one.kind}.transmit_bytes", windows) or 0.0 for one in ports(scope))
                 for windows in (scope.inside, scope.before))
    return ratio(now, then)
