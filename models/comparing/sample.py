"""What is compared of a run: its steps one by one, and what is known of how it was set up."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from models.scores.arrays import Floats

#: Steps at the beginning are warm-up while they take this many times the median, at most this share of them.
_SETTLED_RATIO, _WARM_UP_MOST = 1.5, 0.25
_FEWEST_TO_SETTLE = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One run."""

    name: str
    """What the user called it."""
    run: str | None
    """None where there are no steps."""
    wall: Floats
    """Seconds of each step along the critical path, in order of time, shape (steps,)."""
    parts: Mapping[str, Floats]
    """Seconds of each phase of each step, shape (steps,) each; together they are `wall`."""
    ranks: int
    shares: Mapping[str, float]
    """What traces and the inputs themselves tell beside the steps: shares of the time of the device, printed timers."""
    families: Mapping[str, float]
    """Seconds of a step that each family of operations ran, over all streams of the device."""
    settings: Mapping[str, str]
    """How it was set up: versions, sizes, arguments."""


def settled(sample: Sample) -> Sample:
    """The same without the slow steps at its beginning.

    >>> one = Sample("a", "a", np.array([9.0, *[1.0] * 15]), {"other": np.array([9.0, *[1.0] * 15])}, 1, {}, {}, {})
    >>> len(settled(one).wall)
    15
    """
    wall = sample.wall
    if len(wall) < _FEWEST_TO_SETTLE:
        return sample
    most = max(int(len(wall) * _WARM_UP_MOST), 1)
    usual = float(np.median(wall))
    calm = np.flatnonzero(wall[: most + 1] <= _SETTLED_RATIO * usual)
    # still slow after a quarter: that is how it is, not how it began
    first = int(calm[0]) if len(calm) else 0
    return dataclasses.replace(sample, wall=wall[first:], parts={name: values[first:] for name, values in sample.parts.items()})
