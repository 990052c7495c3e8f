"""What travels from a source to an output: items, batches of them, and what a lane reads from."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """One record on its way."""

    kind: str
    id: str
    document: bytes


class Batch(NamedTuple):
    """What is sent and settled together."""

    items: list[Item]
    token: object
    """Opaque to the sender; given back to the input when every item is settled."""


class Input(Protocol):
    """What a lane reads from, one for each output."""

    def take(self, most_bytes: int) -> Batch | None:
        """The next items, documents of up to about so many bytes together; None when there is nothing now."""

    def settled(self, token: object) -> None:
        """Every item of the batch is settled: progress may be made durable."""

    def counters(self) -> Mapping[str, float]:
        """Cumulative, under the names of the self-metrics."""

    def close(self) -> None:
        """Let go of files; what was not settled will be handed out again."""
