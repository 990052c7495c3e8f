"""What the reading process tells the agent: lines of JSON, each a list that begins with what it is."""

import json
import os
import threading
from typing import Any

_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps would make an encoder each time

#: Line by line: what it is, and what follows.
STATE = "state"
"""reason, text, count: why there is nothing to read, and the process ends; or `reading`, the driver's version, and how many GPUs it has."""
DEVICE = "device"
"""index, UUID, labels: a GPU or MIG instance is read from now on."""
READ = "read"
"""time_ns, UUID, metrics."""
PROCESSES = "processes"
"""time_ns, UUID, list of (pid, bytes)."""
EVENT = "event"
"""time_ns, UUID, kind, number: what the driver told."""
LOST = "lost"
"""time_ns, index, UUID or null, text: the GPU is lost where the text is empty, else why the driver does not give it out."""
ALIVE = "alive"
"""The process still runs, whatever the GPUs do."""
HANG = "hang"
"""index or null, call, seconds: a call has not returned."""
LEARNT = "learnt"
"""index, what cannot be read by reading with the reason, microseconds of a fast and of a slow round."""

#: The call that waits for events: when it hangs, only events are left alone.
EVENT_WAIT = "nvmlEventSetWait"
#: In the place of a GPU's index, in orders and among what is left alone: events.
EVENTS = -1


class Teller:
    """Writes lines, each whole, from whichever thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def tell(self, *words: Any) -> None:
        """Write one line. Raises: OSError when nobody reads any more."""
        data = _ENCODE(words).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data):]


def parse(line: bytes) -> list[Any] | None:
    """The words of a line; None for one that is torn.

    >>> parse(b'["state","no_gpu",""]'), parse(b'["rea')
    (['state', 'no_gpu', ''], None)
    """
    try:
        words = json.loads(line)
    except ValueError:
        return None
    return words if isinstance(words, list) and words else None
