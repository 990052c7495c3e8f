"""When everything in a trace ran, by role, and when the host asked for what ran on the device."""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shippers.formats.intervals import Floats, Intervals

#: Roles of what runs on the device.
DEVICE = ("compute", "communication", "h2d", "memcpy", "memset")

Step = tuple[int, float, float]
"""Number, start and end of a step on the host."""


class Device(NamedTuple):
    """Everything that ran on the device; times in microseconds of the trace's clock, each of shape (events,)."""

    start: Floats
    end: Floats
    launch: Floats
    """When the host asked for it; NaN where the trace does not tell."""
    computes: NDArray[np.bool_]
    """Whether it is a kernel that is no collective."""
    copies: NDArray[np.bool_]
    """Whether it is a copy, in whatever direction."""

    def where(self, mask: NDArray[np.bool_]) -> "Device":
        """What the mask selects."""
        return Device(self.start[mask], self.end[mask], self.launch[mask], self.computes[mask], self.copies[mask])


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """A whole trace; nothing in it is copied when it is asked for one role, or for the device."""

    device: Device
    sizes: tuple[int, ...]
    """How many events of each role in `DEVICE` there are; the columns of the device hold them in that order."""
    host: dict[str, Intervals]

    def of(self, *roles: str) -> Intervals:
        """Start and end of all that ran in some roles, in any order."""
        found = [self._of(role) for role in roles]
        if len(found) == 1:
            return found[0]
        return np.concatenate([start for start, _ in found]), np.concatenate([end for _, end in found])

    @property
    def kernels(self) -> Intervals:
        """Start and end of every kernel, collectives among them."""
        part = slice(sum(self.sizes[:2]))
        return self.device.start[part], self.device.end[part]

    def _of(self, role: str) -> Intervals:
        if role in DEVICE:
            place = DEVICE.index(role)
            part = slice(sum(self.sizes[:place]), sum(self.sizes[: place + 1]))
            return self.device.start[part], self.device.end[part]
        return self.host.get(role, (np.zeros(0), np.zeros(0)))


def find_launches(correlation: Floats, numbers: Floats, starts: Floats) -> Floats:
    """When each was launched; NaN where no call has its number.

    Args:
        correlation: numbers of what ran on the device; negative where there is none.
        numbers: of each call on the host.
        starts: of each call on the host.

    >>> find_launches(np.array([7.0, 9.0, -1.0]), np.array([8.0, 7.0]), np.array([0.5, 0.25]))
    array([0.25,  nan,  nan])
    """
    launch = np.full(len(correlation), np.nan)
    if len(numbers) and len(correlation):
        order = np.argsort(numbers, kind="stable")
        place = order[np.searchsorted(numbers, correlation, sorter=order).clip(max=len(numbers) - 1)]
        known = (numbers[place] == correlation) & (correlation >= 0)
        launch[known] = starts[place[known]]
    return launch
