"""What travels from a source to an output: items, batches of them, and what a lane reads from."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """One record on its way."""

    kind: str
    """Of `fields.SHIPPED`."""
    id: str
    """Its `event.id`; in Elasticsearch the `_id` too."""
    document: bytes
    """A JSON object in one line, without `kind`."""


class Batch(NamedTuple):
    """What is sent and settled together."""

    items: list[Item]
    token: object
    """Given back to the input once every item is settled; means nothing to anybody else."""


class Input(Protocol):
    """What a lane reads from, one for each output: files, or the spool."""

    def take(self, most_bytes: int) -> Batch | None:
        """The next items, up to about so many bytes of documents; None when there is nothing now."""

    def settled(self, token: object) -> None:
        """Every item of a batch is stored, or set aside for good: progress may be made durable."""

    def close(self) -> None:
        """Let go of everything; what was not settled is taken again by the next one."""

    def counters(self) -> Mapping[str, float]:
        """What happened so far, by name; only grows."""
