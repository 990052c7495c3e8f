"""What can be read of the GPUs of this host, what it costs, and which causes cannot be told apart, for `pinchpoint doctor`."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint.clock import Clock
from pinchpoint.doctor.check import Check, Subject, some
from pinchpoint.metrics import METRICS
from shippers.gpu.keeper import Pace
from shippers.gpu.needs import cannot_tell, lacks
from shippers.gpu.source import GpuSource
from shippers.gpu.states import GpuState

#: What is learnt is told after three rounds, for the second one is the first to have rates.
_PACE = Pace(interval_s=0.25, slow_interval_s=1.0, deadline_s=2.0)
_LEARN_S = 10.0


def look(subject: Subject) -> list[Check]:
    """The checks of the GPUs of this host; one that says why, where there are none."""
    settings = subject.config.ship.gpu
    if settings is None:
        return [Check("gpu", "ok", "GPUs are left out: ship.gpu is false.")]
    source = GpuSource(socket.gethostname(), subject.clock, _PACE)
    try:
        rounds_s = _learn(source, subject.clock)
        return list(_checks(source, settings.interval_s, settings.slow_interval_s, rounds_s))
    finally:
        source.close()


def _learn(source: GpuSource, clock: Clock) -> float:
    """Read until all GPUs have told what they cannot."""
    began_s = clock.monotonic_s()
    source.settle(_LEARN_S)
    while source.pid is not None and clock.monotonic_s() - began_s < _LEARN_S and source.rounds_learnt() < 2:
        clock.sleep(0.05)
        source.read()
    return clock.monotonic_s() - began_s


def _checks(source: GpuSource, interval_s: float, slow_interval_s: float, took_s: float) -> Iterator[Check]:
    state = source.state
    if not source.learnt:
        if state.is_normal and state is not GpuState.STARTING:
            yield Check("gpu", "ok", f"{state.value}.")
        else:
            yield Check("gpu", "fault", f"{source.problem or state.value}; nothing was read within {took_s:.0f} s.",
                        next_step="look at: nvidia-smi, and the kernel log: dmesg | grep -i -e nvrm -e amdgpu")
        return
    if source.problem is not None:
        yield Check("gpu", "fault", f"{source.problem}.",
                    next_step="look at the kernel log; a GPU that stays like this needs a reset, or its node a restart")
    missing = {index: learnt[0] for index, learnt in source.learnt.items()}
    fast_us, slow_us = (sum(learnt[place] for learnt in source.learnt.values()) for place in (1, 2))
    share = fast_us / 1e6 / interval_s + slow_us / 1e6 / slow_interval_s
    cost = f"{fast_us / 1e3:.1f} ms each {interval_s:g} s, and {slow_us / 1e3:.1f} ms more each {slow_interval_s:g} s"
    yield Check("gpu", "ok", f"{len(source.learnt)} GPUs are read, driver {source.driver}. A round of all takes {cost}: "
                f"{share:.2%} of a core.")
    yield _readings(missing)
    yield _causes(missing)


def _readings(missing: Mapping[int, Mapping[str, str]]) -> Check:
    reasons = {(metric, why) for one in missing.values() for metric, why in one.items()}
    lines = [f"{metric}: {why}{_which(metric, why, missing)}" for metric, why in sorted(reasons)]
    known = sum(metric.entity == "gpu" for metric in METRICS.values())
    if not lines:
        return Check("gpu readings", "ok", "every reading that is asked for is there.")
    return Check("gpu readings", "ok", f"{len({metric for metric, _ in reasons})} of {known} metrics cannot be read here.",
                 some(lines, 20))


def _which(metric: str, why: str, missing: Mapping[int, Mapping[str, str]]) -> str:
    found = [index for index, one in sorted(missing.items()) if one.get(metric) == why]
    return "" if len(found) == len(missing) else f", GPU {', '.join(map(str, found))}"


def _causes(missing: Mapping[int, Mapping[str, str]]) -> Check:
    told: dict[str, Any] = {}
    for one in missing.values():
        for need in cannot_tell(one):
            told.setdefault(need.cause, f"{need.cause} {need.name} would be taken for {need.else_taken_for}: lacks {lacks(need, one)}")
    if not told:
        return Check("gpu causes", "ok", "all causes that GPUs can be to blame for can be told apart.")
    needs_root = any("needs root" in line for line in told.values())
    return Check("gpu causes", "warning", f"{len(told)} causes cannot be told from others.", tuple(told[cause] for cause in sorted(told)),
                 "run the agent as root" if needs_root else "a newer driver may have more readings; an exporter such as dcgm-exporter too")
