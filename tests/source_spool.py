"""What sources push to in tests: items kept in memory, each of which must be a record of ours."""

import json
from typing import Any

from pinchpoint.rows import parse_row
from shippers.items import Item


class Spool:
    """Keeps items; can be full, and can be broken."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.full = False
        self.broken = False

    def push(self, items: list[Item]) -> None:
        if self.broken:
            raise OSError("no space left on device")
        for item in items:
            as_row(item)
        self.items += items

    def documents(self, kind: str = "") -> list[dict[str, Any]]:
        """The documents of a kind, or all of them."""
        return [json.loads(item.document) for item in self.items if kind in ("", item.kind)]

    def messages(self) -> list[str]:
        """What the logs say."""
        return [document["message"] for document in self.documents("log")]


def as_row(item: Item) -> Any:
    """The item as a store reads it.

    Raises: ValueError when it is no record.
    """
    return parse_row(b'{"kind":"' + item.kind.encode() + b'",' + item.document[1:])
