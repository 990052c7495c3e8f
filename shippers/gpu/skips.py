"""GPUs that are left alone for a while, since a call for them did not return."""

import dataclasses

_FIRST_S, _LONGEST_S = 60.0, 3600.0
_FORGOTTEN_S = 600.0


@dataclasses.dataclass(slots=True)
class _Skip:
    until_s: float
    length_s: float
    again_s: float | None = None
    """Since when it is read again; None while it is left alone."""


class Skips:
    """The longer, the oftener it happened; forgotten when a GPU has answered for ten minutes."""

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self._skips: dict[int, _Skip] = {}

    def add(self, index: int, now_s: float) -> float:
        """Leave a GPU alone from now on; returns for how long."""
        known = self._skips.get(index)
        length_s = self._first_s if known is None else min(known.length_s * 2, _LONGEST_S)
        self._skips[index] = _Skip(now_s + length_s, length_s)
        return length_s

    def skipped(self, now_s: float) -> tuple[int, ...]:
        """Those to be left alone now."""
        return tuple(sorted(index for index, skip in self._skips.items() if skip.again_s is None and now_s < skip.until_s))

    def waiting(self) -> tuple[int, ...]:
        """Those that have not answered since."""
        return tuple(sorted(index for index, skip in self._skips.items() if skip.again_s is None))

    def over(self, now_s: float) -> list[int]:
        """Those that are to be tried again now; each is told once a trial."""
        due = [index for index, skip in self._skips.items() if skip.again_s is None and now_s >= skip.until_s]
        for index in due:
            self._skips[index].until_s = float("inf")  # until it answers or hangs again
        return due

    def answered(self, index: int, now_s: float) -> bool:
        """A GPU was read; whether it had been left alone until then."""
        skip = self._skips.get(index)
        if skip is None:
            return False
        if skip.again_s is None:
            skip.again_s = now_s
            return True
        if now_s - skip.again_s > _FORGOTTEN_S:
            del self._skips[index]
        return False
