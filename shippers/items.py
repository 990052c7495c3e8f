"""What travels from a source to an output: items, batches of them, and what a lane reads from."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, overload

from pinchpoint.delivery.documents import Encoded, encode


class Item(NamedTuple):
    """One record on its way."""

    kind: str
    id: str
    document: bytes


#: Around the id in the line that comes before each document of a bulk.
CREATE, CREATED = b'{"create":{"_id":"', b'"}}'


class LogItems(Encoded[Item]):
    """Records of logs as a tail makes them: the body of a bulk at once, since most of them are never looked at one by one."""

    def __init__(self, body: bytes, count: int) -> None:
        """body: for each record the action line, with an id that JSON takes as it is, and the document; count: of records."""
        self.body, self._count = body, count

    def after(self, others: Sequence[Item]) -> "LogItems":
        """These behind other records of logs."""
        return LogItems(encode(others) + self.body, len(others) + self._count)

    @functools.cached_property
    def _lines(self) -> list[bytes]:
        return self.body.split(b"\n")

    def _item(self, place: int) -> Item:
        return Item("log", self._lines[2 * place][len(CREATE):-len(CREATED)].decode(), self._lines[2 * place + 1])

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...

    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return list(map(self._item, range(*place.indices(self._count))))
        return self._item(range(self._count)[place])


class Batch(NamedTuple):
    """What is sent and settled together."""

    items: Sequence[Item]
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
