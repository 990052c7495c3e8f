"""What hooks leave behind in the training thread: a note of what happened, with its time, and no more.

A step of some milliseconds has driven our code out of the processor's caches: what runs within it costs ten times what it costs in a
loop. So hooks only note; the writing thread makes steps of the notes (`pinchpoint.auto.loop`).
"""

from __future__ import annotations

import gc
from collections import deque
from threading import get_ident
from time import perf_counter_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a note can say, and what stands in it behind the time.
(
    WAIT,  # thread's processor time or None, which pass over which loader, whether gradients are on
    WAITED,  # thread's processor time or None, which pass over which loader, samples
    STOPS,  # which pass over which loader
    STARTS,  # whether gradients are on: a loader is started
    STARTED,
    FORWARD,  # whether in training mode, whether gradients are on
    FORWARDED,
    BACKWARD,
    BACKWARDED,
    OPTIMIZER,
    OPTIMIZED,  # which optimizer
    ENTER,  # phase
    LEAVE,  # phase
    EXPOSED,  # nanoseconds: so much of the last step's backward pass was spent waiting for other ranks
    PAST,  # phase, nanoseconds: so much of the time up to now was spent in it
    MARK,  # action, reason, details
    BEGINS,  # a framework says that a step begins
    STEPPED,  # and that it has ended
) = range(18)

#: More notes than a second of the quickest steps leaves; the oldest are dropped when nobody reads them, as before anything has trained.
_MOST = 20_000


class State:
    """Whose notes are taken, and how.

    `owner` is the thread that trains, 0 before anything trains and where nothing is to be noted. `writes` is whether a thread writes.
    `times_waits` is whether waits for batches matter: only then is the processor time in them asked for, which costs the most of all.
    """

    __slots__ = ("add", "notes", "owner", "times_waits", "writes")

    def __init__(self) -> None:
        self.owner = 0
        self.writes = False
        self.times_waits = True
        self.notes: deque[tuple[Any, ...]] = deque(maxlen=_MOST)
        self.add = self.notes.append


STATE = State()


def note(code: int, *rest: Any) -> bool:
    """Leave a note if the calling thread is the one that trains; whether it is."""
    if get_ident() != STATE.owner:
        return False
    STATE.add((code, perf_counter_ns(), *rest))
    return True


def mark(action: str, reason: str | None = None, **details: Any) -> None:
    """Note that something happened; from any thread."""
    if STATE.owner:
        STATE.add((MARK, perf_counter_ns(), action, reason, details))


def _collecting(state: str, _: object) -> None:
    if get_ident() == STATE.owner:
        STATE.add((ENTER if state == "start" else LEAVE, perf_counter_ns(), "gc"))


def begin(owner: int) -> None:
    """Take notes of a thread."""
    STATE.owner = owner
    STATE.times_waits = True
    if _collecting not in gc.callbacks:
        gc.callbacks.append(_collecting)


def end() -> None:
    """Take none any more."""
    STATE.owner = 0
    STATE.writes = False
    if _collecting in gc.callbacks:
        gc.callbacks.remove(_collecting)
