"""Numbers that an input states itself: sums it printed, what its benchmark measures, results of a simulation over it.

They are metrics of the entity kind `told`. Beside the shares that follow from steps, they keep the meaning the input gives them: phases
that a log prints for one rank overlap and hold waiting, and the evaluations of a benchmark are prescribed. So they are shown, and
only the causes that name them hold them against the run.
"""

import numpy as np

from models.view import RunView

KIND = "told"
_PREFIX = "told."
#: Seconds of initialisation before the first step; every other number is a share or a ratio.
INIT = "init_s"


def numbers(view: RunView) -> dict[str, float]:
    """What the inputs of a run state, by name without `told.`; the mean where several ranks state it."""
    found: dict[str, list[float]] = {}
    for one in view.others.get(KIND, []):
        for name, values in one.series.items():
            if name.startswith(_PREFIX) and (~np.isnan(values)).any():
                found.setdefault(name.removeprefix(_PREFIX), []).append(float(np.nanmean(values)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def with_init(shares: dict[str, float], wall_s: float, told: dict[str, float]) -> tuple[dict[str, float], float]:
    """Shares and wall time with initialisation counted in, where the input tells how long it took."""
    init_s = told.get(INIT, 0.0)
    if init_s <= 0:
        return shares, wall_s
    whole = wall_s + init_s
    return {name: share * wall_s / whole for name, share in shares.items()} | {"init": init_s / whole}, whole
