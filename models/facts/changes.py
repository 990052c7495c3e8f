"""Facts of change: what happened near the onset, how the step time went, how the run began."""

import numpy as np

from models.facts.registry import Scope, fact, ratio
from models.view import Event

#: Events that are a change somebody made.
CHANGES = ("deploy", "config", "scale")
#: A change explains an onset at most this many windows away.
NEAR_WINDOWS = 2


def change_near(scope: Scope) -> Event | None:
    """The change event nearest to the onset, at most two windows away; None without an onset or such an event."""
    if scope.before is None or not scope.inside.any():
        return None
    onset = int(scope.view.starts[np.flatnonzero(scope.inside)[0]])
    reach = NEAR_WINDOWS * scope.view.window_s * 1e9
    near = [event for event in scope.view.events if event.action in CHANGES and -reach <= event.time_ns - onset <= reach + 1e9]
    return min(near, key=lambda event: abs(event.time_ns - onset), default=None)


@fact("change.near", "flag", "change events (pinchpoint event, run.mark)")
def change_is_near(scope: Scope) -> float | None:
    """A change event within two windows of the onset."""
    return 1.0 if change_near(scope) is not None else 0.0


@fact("onset.ratio", "ratio", "steps before and after the onset")
def onset_ratio(scope: Scope) -> float | None:
    """Step time after the onset over the step time before."""
    before = scope.baseline()
    if before is None or not before.steps or not scope.steps:
        return None
    return ratio(scope.wall_s / scope.steps, before.wall_s / before.steps)


@fact("warm_up.share", "ratio", "step records")
def warm_up_share(scope: Scope) -> float | None:
    """Share of the wall time that the first steps took beyond the usual step time."""
    from models.accounting import warm_up_seconds

    return ratio(warm_up_seconds(scope.view), float(scope.view.wall.sum()))
