"""Where the wall time of a run went, and how much of it was lost."""

import numpy as np

from models.view import PARTS, RunView

#: A run has settled at the first window from which on the step time stays below this many times its median.
SETTLED_RATIO = 1.5
#: Warm-up is at most this share of the windows: what lasts longer is no warm-up.
WARM_UP_MOST = 0.25


def shares(view: RunView) -> dict[str, float]:
    """Shares of wall time on the critical path; together they are 1. Empty when no step was seen.

    `compute` is forward, backward and optimizer; `idle` the gaps between steps.
    """
    wall = float(view.wall.sum())
    if wall <= 0:
        return {}
    parts = {name: float(view.phase(name).sum()) / wall for name in PARTS}
    compute = sum(parts.pop(name) for name in ("forward", "backward", "optimizer", "compute"))
    named = {"data_wait": parts.pop("data_wait"), "compute": compute, "communication_exposed": parts.pop("communication"),
             "h2d": parts.pop("h2d"), "idle": parts.pop("gap")}
    return named | parts


def step_time(view: RunView) -> np.ndarray:
    """Mean step time of each window, gaps included, in seconds; NaN where no step began."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(view.steps > 0, view.wall / view.steps, np.nan)


def warm_up_windows(view: RunView) -> int:
    """How many windows at the beginning are warm-up: slower than the run is once it has settled."""
    series = step_time(view)
    known = np.flatnonzero(~np.isnan(series))
    if len(known) < 8:
        return 0
    usual = np.median(series[known])
    most = known[: max(int(len(known) * WARM_UP_MOST), 1)]
    settled = next((place for place in most if series[place] <= SETTLED_RATIO * usual), None)
    # still slow after a quarter of the run: that is how the run is, not how it began
    return 0 if settled is None else int(settled)


def warm_up_seconds(view: RunView) -> float:
    """Seconds the first steps took beyond the usual step time, compilation among them."""
    first = warm_up_windows(view)
    if not first:
        return 0.0
    usual = float(np.nanmedian(step_time(view)[first:]))
    return max(float(view.wall[:first].sum() - view.steps[:first].sum() * usual), 0.0)
