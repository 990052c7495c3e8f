"""Facts of the phases of a step, on the critical path."""

import numpy as np

from models.facts.registry import Scope, fact, ratio
from models.scores.periodic import period

PHASES_NEEDED = "phases of each step (run.phase, or a profiler trace)"


def _share(phase: str) -> None:
    def measure(scope: Scope) -> float | None:
        return ratio(scope.seconds(phase), scope.wall_s)

    measure.__doc__ = f"Share of wall time in {phase}."
    fact(f"{phase}.share", "ratio", PHASES_NEEDED)(measure)


for _phase in ("data_wait", "h2d", "communication", "checkpoint", "evaluation", "compile", "gc", "gap", "optimizer"):
    _share(_phase)


@fact("compute.share", "ratio", PHASES_NEEDED)
def compute_share(scope: Scope) -> float | None:
    """Share of wall time in forward, backward and optimizer."""
    return ratio(float(scope.view.compute()[scope.inside].sum()), scope.wall_s)



def _per_occurrence(phase: str) -> None:
    def seconds(scope: Scope) -> float | None:
        return ratio(scope.seconds(phase), scope.total(f"phase_steps.{phase}"))

    seconds.__doc__ = f"Seconds of one {phase}."
    fact(f"{phase}.each_s", "s", PHASES_NEEDED)(seconds)

    def interval(scope: Scope) -> float | None:
        return ratio(scope.steps, scope.total(f"phase_steps.{phase}"))

    interval.__doc__ = f"Steps from one {phase} to the next."
    fact(f"{phase}.interval_steps", "steps", PHASES_NEEDED)(interval)

    def steps_ratio(scope: Scope) -> float | None:
        return ratio(scope.total(f"phase_steps.{phase}"), scope.steps)

    steps_ratio.__doc__ = f"Share of steps with a {phase}."
    fact(f"{phase}.steps_ratio", "ratio", PHASES_NEEDED)(steps_ratio)

    def count(scope: Scope) -> float | None:
        return scope.total(f"phase_steps.{phase}") if scope.steps else None

    count.__doc__ = f"Steps with a {phase}."
    fact(f"{phase}.count", "steps", PHASES_NEEDED)(count)


for _phase in ("checkpoint", "evaluation", "compile", "gc"):
    _per_occurrence(_phase)


@fact("data_wait.burst_ratio", "ratio", PHASES_NEEDED)
def data_wait_bursts(scope: Scope) -> float | None:
    """Share of the wait for data that falls into single slow steps, above the usual wait."""
    return ratio(scope.total("spike.data_wait_s"), scope.seconds("data_wait"))


@fact("data_wait.spike_steps_ratio", "ratio", PHASES_NEEDED)
def data_wait_spikes(scope: Scope) -> float | None:
    """Share of the steps with a long wait for data, several times the usual one."""
    return ratio(scope.total("spike_steps.data_wait"), scope.steps)


@fact("data_wait.spike_interval_steps", "steps", PHASES_NEEDED)
def data_wait_interval(scope: Scope) -> float | None:
    """Steps from one long wait for data to the next."""
    return ratio(scope.steps, scope.total("spike_steps.data_wait"))


@fact("data_wait.period_steps", "steps", PHASES_NEEDED)
def data_wait_period(scope: Scope) -> float | None:
    """Period in steps at which long waits for data come back; absent when they come at random."""
    windows = np.flatnonzero(scope.inside)
    slow = [step for step in scope.view.slow_steps if scope.inside[step.window] and step.phase == "data_wait"]
    if not slow or not len(windows):
        return None
    numbers = np.array(sorted({step.step for step in slow}))
    found = period(numbers, int(numbers.max() - numbers.min()) + 1)
    return None if found is None else float(found.steps)
