"""Facts that the collectives in the traces of several ranks tell, when their clocks are in line."""

import numpy as np

from models.facts.registry import Scope, fact
from models.view import Entity

COLLECTIVES = "profiler traces of several ranks"


def last_rank(scope: Scope) -> Entity | None:
    """The trace of the rank that most often comes last to a collective; None without traces of several ranks."""
    known = [(share, trace) for trace in scope.entities("trace") if (share := trace.mean("trace.last_ratio", scope.inside)) is not None]
    return max(known, key=lambda one: one[0])[1] if len(known) > 1 else None


@fact("collective.last_ratio", "ratio", COLLECTIVES)
def last_ratio(scope: Scope) -> float | None:
    """Share of the collectives to which the rank that most often comes last comes last."""
    trace = last_rank(scope)
    return None if trace is None else trace.mean("trace.last_ratio", scope.inside)


@fact("collective.wait_ratio", "ratio", COLLECTIVES)
def wait_ratio(scope: Scope) -> float | None:
    """Share of their time that the other ranks wait inside of collectives for the last one; the median of them."""
    last = last_rank(scope)
    waits = [trace.mean("trace.collective_wait_ratio", scope.inside) for trace in scope.entities("trace") if trace is not last]
    known = [wait for wait in waits if wait is not None]
    return float(np.median(known)) if last is not None and known else None


@fact("collective.transfer_ratio", "ratio", COLLECTIVES)
def transfer_ratio(scope: Scope) -> float | None:
    """Share of time in collectives once all ranks are there; the median rank."""
    known = [share for trace in scope.entities("trace")
             if (share := trace.mean("trace.collective_transfer_ratio", scope.inside)) is not None]
    return float(np.median(known)) if len(known) > 1 else None


@fact("collective.bus_bytes_per_s", "bytes/s", "profiler traces that tell the sizes of collectives (PyTorch 2.3 and later)")
def bus_bytes_per_s(scope: Scope) -> float | None:
    """What a link carried while large collectives ran, waiting for other ranks included; the median rank."""
    rates = [trace.mean("trace.collective_bus_bytes_per_s", scope.inside) for trace in scope.entities("trace")]
    known = [rate for rate in rates if rate is not None]
    return float(np.median(known)) if known else None
