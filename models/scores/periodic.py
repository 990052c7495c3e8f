"""Whether slow steps come back every so many steps."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from models.scores.arrays import Integers

#: At least so many slow steps are needed to speak of a period.
FEWEST = 5
#: Share of the slow steps that must lie on the beat.
LEAST_REGULAR = 0.8
#: A beat that random positions would keep as well more often than this is none.
MOST_CHANCE = 1e-3


@dataclasses.dataclass(frozen=True, slots=True)
class Period:
    """A beat that slow steps keep."""

    steps: int
    """Steps from one slow step to the next."""
    regular: float
    """Share of the slow steps that lie on the beat, 0..1."""


def period(indices: ArrayLike, steps: int) -> Period | None:
    """The largest beat that nearly all slow steps keep; missed beats are tolerated.

    Args:
        indices: numbers of the slow steps, shape (slow,).
        steps: how many steps there were in all.
    Returns: None for fewer than five slow steps, or when random positions would keep the beat as well.

    >>> period([3, 11, 19, 35, 43, 51], 60)
    Period(steps=8, regular=1.0)
    """
    slow: Integers = np.unique(np.asarray(indices, np.int64))
    if len(slow) < FEWEST or steps <= len(slow):
        return None
    candidates = sorted({int(one) for one in np.diff(slow) if one > 1}, reverse=True)
    for candidate in candidates:
        counts = np.bincount(slow % candidate, minlength=candidate)
        kept = int(counts.max())
        regular = kept / len(slow)
        # as many random positions fall on the best of `candidate` beats with about this chance
        log_chance = (math.log(candidate * len(candidates)) - (kept - 1) * math.log(candidate)
                      + math.log(math.comb(len(slow), kept)))
        if regular >= LEAST_REGULAR and log_chance < math.log(MOST_CHANCE):
            return Period(candidate, regular)
    return None
