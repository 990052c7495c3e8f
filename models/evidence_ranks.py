"""Of all the ranks of a run, those that are kept one by one."""

from collections.abc import Iterator

import numpy as np

from models.facts.ranks import own_times
from models.facts.registry import Scope
from models.view import PARTS, Entity, Floats, RunView

#: Ranks kept one by one: so many of the worst, and so many spread evenly over the others.
WORST = 32
EVEN = 32
#: Ranks whose phases are kept: of the worst, and of those in the middle.
PHASED_WORST = 4
PHASED_MIDDLE = 4


def choose(scope: Scope) -> tuple[list[int], list[int]]:
    """Places (in the view's ranks) of the ranks that are kept, and of those among them whose phases are kept too.

    The worst take most time of their own in the scope; the others are spread evenly over the rest, in the order of their numbers.
    """
    order = np.argsort(-np.nan_to_num(own_times(scope)), kind="stable")
    rest = np.sort(order[WORST:])
    even = rest[np.unique(np.linspace(0, len(rest) - 1, EVEN).round().astype(int))] if len(rest) else rest
    kept = {*order[:WORST].tolist(), *even.tolist()}
    ranked = [place for place in order.tolist() if place in kept]
    others = ranked[PHASED_WORST:]
    begin = max((len(others) - PHASED_MIDDLE) // 2, 0)
    return sorted(kept), sorted([*ranked[:PHASED_WORST], *others[begin:begin + PHASED_MIDDLE]])


def own_matrix(view: RunView) -> tuple[Floats, Floats]:
    """Steps, and seconds of their own, of each rank in each window, each of shape (ranks, windows)."""
    nothing = np.full(len(view.starts), np.nan)
    steps = np.stack([rank.series.get("steps", nothing) for rank in view.ranks])
    own = np.stack([rank.series.get("own_s", nothing) for rank in view.ranks])
    return steps, own


def phases_of(rank: Entity, windows: int) -> Iterator[tuple[str, Floats]]:
    """Seconds of each part of the step that occurs in a rank, shape (windows,)."""
    for part in PARTS:
        values = rank.series.get(f"phase.{part}_s", np.zeros(windows))
        if np.nan_to_num(values).any():
            yield part, values
