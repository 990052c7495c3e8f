"""How much room a folder of this machine has, and whether it can be written to."""

import dataclasses
import os
from pathlib import Path

from pinchpoint.human import size

#: Below this much a disk counts as full, below ten times as much as filling.
FULL_BYTES = 100_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """What can be said of the disk of a folder without writing to it."""

    free_bytes: int
    writable: bool

    @property
    def is_full(self) -> bool:
        """Whether the next write may fail."""
        return self.free_bytes < FULL_BYTES

    @property
    def is_filling(self) -> bool:
        """Whether it may be full soon."""
        return self.free_bytes < 10 * FULL_BYTES

    def __str__(self) -> str:
        return f"{size(self.free_bytes)} free" + ("" if self.writable else ", and may not be written to")


def room(folder: Path) -> Room:
    """Room of a folder, or of the nearest one above that is there. Raises: OSError."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    about = os.statvfs(there)
    return Room(about.f_bavail * about.f_frsize, os.access(there, os.W_OK | os.X_OK) and not about.f_flag & os.ST_RDONLY)
