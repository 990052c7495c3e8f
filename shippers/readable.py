"""Wait until something can be read, whatever the number of its descriptor: `select` knows none above 1023, and agents follow many files."""

import select


def is_readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within so many seconds, or nobody left who writes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
