"""Documents on their way, and the bodies of bulk requests that are made of them."""

import json
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

#: Bytes of a bulk, at most; 10 MB brought nothing over 1 MiB to 5 MB on Elasticsearch 9.2 (measured).
MOST_BYTES = 2 << 20
#: What an action line adds to a document, about.
_ABOUT_BYTES = 64

Operation = Literal["create", "index", "delete"]


class Document(Protocol):
    """What can be sent: `Outgoing`, or anything that has the same two attributes."""

    @property
    def id(self) -> str | None:
        """Its `_id`; None leaves that to the server, as time-series streams want it."""

    @property
    def document(self) -> bytes:
        """A JSON object in one line, or nothing for a deletion."""


class Outgoing(NamedTuple):
    """One document on its way."""

    id: str | None
    document: bytes


_D = TypeVar("_D", bound=Document, covariant=True)


class Encoded(Sequence[_D]):
    """Documents whose body of a bulk request that creates them is there; each by itself is made only when it is asked for."""

    body: bytes


class Rejected(NamedTuple):
    """A document that this server will never take as it is."""

    item: Document
    status: int
    type: str
    reason: str


def cut(items: Sequence[Document], most_bytes: int) -> Iterator[Sequence[Document]]:
    """Documents in bulks of up to so many bytes; a larger one goes alone.

    >>> [len(part) for part in cut([Outgoing("a", b"x" * 60)] * 3, 250)]
    [2, 1]
    """
    if isinstance(items, Encoded) and len(items.body) <= most_bytes:
        if items:
            yield items
        return
    sizes = [len(item.document) + _ABOUT_BYTES for item in items]
    if sum(sizes) <= most_bytes:
        if items:
            yield items
        return
    begin = size = 0
    for end, more in enumerate(sizes):
        if end > begin and size + more > most_bytes:
            yield items[begin:end]
            begin, size = end, 0
        size += more
    yield items[begin:]


def encode(items: Sequence[Document], operation: Operation = "create") -> bytes:
    r"""The body of a bulk request.

    >>> encode([Outgoing("a", b'{"x":1}'), Outgoing(None, b"{}")])
    b'{"create":{"_id":"a"}}\n{"x":1}\n{"create":{}}\n{}\n'
    """
    if operation == "create" and isinstance(items, Encoded):
        return items.body
    if operation != "delete" and (ids := _plain_ids(items)) is not None:
        begin, middle = b'{"%b":{"_id":"' % operation.encode(), b'"}}\n'
        parts = [b"\n"] * (5 * len(items))
        parts[::5] = [begin] * len(items)
        parts[1::5] = ids
        parts[2::5] = [middle] * len(items)
        parts[3::5] = [item.document for item in items]
        return b"".join(parts)
    lines: list[bytes] = []
    for item in items:
        about = {} if item.id is None else {"_id": item.id}
        lines.append(json.dumps({operation: about}, separators=(",", ":")).encode())
        if operation != "delete":
            lines.append(item.document)
    lines.append(b"")
    return b"\n".join(lines)


def _plain_ids(items: Sequence[Document]) -> list[bytes] | None:
    """Ids that JSON takes as they are, looked at together: one at a time costs as much as all the rest; None for any other."""
    try:
        whole = "\n".join([item.id for item in items])  # type: ignore[misc]  # None is what the error is for
    except TypeError:
        return None
    if not whole.isascii() or '"' in whole or "\\" in whole or not whole.replace("\n", "").isprintable():
        return None
    ids = whole.encode().split(b"\n")
    return ids if len(ids) == len(items) else None
