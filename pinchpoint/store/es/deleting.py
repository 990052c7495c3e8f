"""Delete documents that a query finds, wherever they lie."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from pinchpoint.clock import Clock
from pinchpoint.errors import StoreRefused
from pinchpoint.store.es.documents import SEGMENT
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.export import Page, export

_AT_ONCE = 1000


class _Doomed(NamedTuple):
    index_name: str
    id: str
    seq_no: int
    primary_term: int
    segment: str


def refresh(door: Door, target: str) -> None:
    """Let searches see what was written; a key that may only read sees it within the refresh interval of the index, a second."""
    with contextlib.suppress(StoreRefused):
        door.call("POST", f"/{target}/_refresh", expect=(404,))


def delete(door: Door, target: str, query: dict[str, Any], clock: Clock) -> set[str]:
    """Delete what a query finds, but for documents that are written anew meanwhile; returns the segments they were of.

    One by one by id, not by query: that works in the backing indices of a data stream, and says for each what became of it.

    Raises: StoreRefused when the server does not let them be deleted.
    """
    refresh(door, target)
    segments: set[str] = set()
    for page in export(door, target, {"query": query, "_source": [SEGMENT]}, _doomed, clock, named=True):
        for start in range(0, len(page), _AT_ONCE):
            _delete(door, page[start:start + _AT_ONCE])
        segments.update(one.segment for one in page)
    if segments:
        refresh(door, target)
    return segments


def _doomed(page: Page) -> list[_Doomed]:
    return [_Doomed(hit.index or "", hit.id or "", hit.seq_no, hit.primary_term, str(msgspec.json.decode(hit.source).get(SEGMENT)))
            for hit in page.hits]


def _delete(door: Door, doomed: Sequence[_Doomed]) -> None:
    lines = [msgspec.json.encode({"delete": {"_index": one.index_name, "_id": one.id, "if_seq_no": one.seq_no,
                                             "if_primary_term": one.primary_term}}) for one in doomed]
    answer = door.call("POST", "/_bulk", b"\n".join([*lines, b""]), filter_path="items.*.status,items.*.error.reason")
    for item in answer.get("items", ()):
        status = item["delete"]["status"]
        # 404: gone already; 409: written anew meanwhile, so it is not the one that was to go
        if status >= 300 and status not in (404, 409):
            reason = item["delete"].get("error", {}).get("reason")
            raise StoreRefused(f"{door.server} does not let documents be deleted ({status}: {reason}). "
                               "The key needs the privilege delete: pinchpoint setup elasticsearch")
