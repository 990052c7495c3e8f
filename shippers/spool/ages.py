"""How long the oldest items have been waiting: times noted at places of the spool."""

from collections import deque

from shippers.spool.position import Position

_EVERY_S = 1.0
#: Notes that are kept; of more, every other one goes, so that old ones stand farther apart.
_MOST = 128


class Ages:
    """When what stands before a place was pushed, exact to a second, and to some percent where it waits for long."""

    def __init__(self) -> None:
        self._notes: deque[tuple[Position, float]] = deque()

    def note(self, end: Position, now_s: float) -> None:
        """Something was pushed, up to a place."""
        if self._notes and now_s - self._notes[-1][1] < _EVERY_S:
            # what is pushed within the same second counts as old as the first of it
            self._notes[-1] = end, self._notes[-1][1]
            return
        self._notes.append((end, now_s))
        if len(self._notes) > _MOST:
            self._notes = deque(list(self._notes)[::2])

    def waited_s(self, position: Position, now_s: float) -> float:
        """Seconds that the first item behind a place has been waiting; 0 when nothing is behind it."""
        return next((max(now_s - pushed_s, 0.0) for end, pushed_s in self._notes if end > position), 0.0)

    def forget(self, position: Position) -> None:
        """Nobody asks for what stands before this place any more."""
        while self._notes and self._notes[0][0] <= position:
            self._notes.popleft()
