"""What a lane asks of an output."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from shippers.items import Item

#: Waits so many seconds; raises StoppedError when the agent is to end before that.
Sleep = Callable[[float], None]


class StoppedError(Exception):
    """The agent ends while something is still on its way; nothing is lost by that."""


class Output(Protocol):
    """Takes items until each is stored or set aside for good."""

    name: str
    """What its folder and its metrics are called."""
    linger_s: float
    """How long a lane waits for more when there is nothing to send."""

    def most_bytes(self) -> int:
        """How much to take next."""

    def deliver(self, items: Sequence[Item], *, may_leave: bool = False) -> Sequence[Item]:
        """Return when every item is settled, however long that takes; with `may_leave` a few may be given back to go with the next.

        Raises: StoppedError; StoreError when it gives up because of a patience it was made with. Nothing is settled then.
        """

    def trouble(self) -> str | None:
        """Why nothing gets through just now, for people; None when all is well."""

    def counters(self) -> Mapping[str, float]:
        """What happened since the start, by name; only grows."""

    def abort(self) -> None:
        """Let a request that another thread waits for fail now."""

    def close(self) -> None:
        """Write down what is to be remembered and let go of the connection."""
