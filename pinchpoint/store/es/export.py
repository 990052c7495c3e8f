"""Read many documents: one point in time, in slices that are read side by side, page after page."""

import concurrent.futures
import contextlib
import functools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from pinchpoint.clock import Clock
from pinchpoint.errors import StoreError, StoreUnreachable
from pinchpoint.store.es.door import Door, ServerError

#: Documents of a page: the most that a server gives at once by default. Pages of 5,000 took a tenth longer (measured, 9.2.0).
PAGE = 10_000
#: Slices read at once. Two took 1.1 times as much as one from a server on two processors; more took the same (measured, 9.2.0).
SLICES = 2

_KEEP_ALIVE = "5m"
_TRIES = 6
_FIRST_DELAY_S = 0.2
_WANTED = "timed_out,_shards.failed,hits.hits._source,hits.hits.fields,hits.hits.sort"
_NAMED = f"{_WANTED},hits.hits._id,hits.hits._index,hits.hits._seq_no,hits.hits._primary_term"

T = TypeVar("T")


class Hit(msgspec.Struct, frozen=True, gc=False):
    """One document of a page, as the bytes it came in."""

    source: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="_source")
    fields: msgspec.Raw = msgspec.Raw()
    id: str | None = msgspec.field(default=None, name="_id")
    index: str | None = msgspec.field(default=None, name="_index")
    seq_no: int = msgspec.field(default=0, name="_seq_no")
    primary_term: int = msgspec.field(default=0, name="_primary_term")


class _Hits(msgspec.Struct, gc=False):
    hits: list[Hit] = []


class _Shards(msgspec.Struct, gc=False):
    failed: int = 0


class _Answer(msgspec.Struct, gc=False):
    hits: _Hits = msgspec.field(default_factory=_Hits)
    shards: _Shards = msgspec.field(default_factory=_Shards, name="_shards")
    timed_out: bool = False


_ANSWER = msgspec.json.Decoder(_Answer)
#: What a whole answer begins and ends with. Looking there alone costs nothing; anything else is decoded.
_WHOLE = b'{"timed_out":false,"_shards":{"failed":0}'
_LAST_SORT = re.compile(rb',"sort":\[(\d+)\]\}\]\}\}$')
_SORT = b',"sort":['


class Page:
    """One page of documents, in the bytes that it came in."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @functools.cached_property
    def hits(self) -> list[Hit]:
        """Its documents one by one."""
        return _ANSWER.decode(self.data).hits.hits


class ExpiredError(StoreError):
    """The point in time is gone: what is read must be read again from its start."""


def export(door: Door, target: str, search: dict[str, Any], use: Callable[[Page], T], clock: Clock, *,
           named: bool = False) -> list[T]:
    """What `use` makes of every page of the documents that a search finds; pages come in no order.

    Args:
        door: to the server.
        target: a stream or an index; one that does not exist holds nothing.
        search: `query`, and `_source` or `fields`.
        use: called from several threads; must keep nothing of a page but what it returns.
        clock: for the pauses between tries.
        named: whether hits carry `id index seq_no primary_term`.
    Raises: StoreError when a part cannot be read after several tries; never returns a part of the answer.
    """
    for attempt in range(_TRIES):
        with contextlib.suppress(ExpiredError):
            return _once(door, target, search, use, clock, named)
        _pause(clock, attempt)
    raise StoreError(f"{door.server} forgets points in time faster than {target} can be read: read shorter slices, or look at its load")


def _once(door: Door, target: str, search: dict[str, Any], use: Callable[[Page], T], clock: Clock, named: bool) -> list[T]:
    with _point_in_time(door, target, clock) as point:
        if point is None:
            return []
        part = _NAMED if named else _WANTED
        body = {**search, "seq_no_primary_term": named, "size": PAGE, "pit": {"id": point, "keep_alive": _KEEP_ALIVE},
                "sort": ["_shard_doc"], "track_total_hits": False}
        with (concurrent.futures.ThreadPoolExecutor(SLICES, "pinchpoint-use") as users,
              concurrent.futures.ThreadPoolExecutor(SLICES, "pinchpoint-fetch") as fetchers):
            slices = [fetchers.submit(_use_each, users, use, _pages(door, body, number, part, clock)) for number in range(SLICES)]
            return [made for one in slices for made in one.result()]


def _use_each(users: concurrent.futures.Executor, use: Callable[[Page], T], pages: Iterator[Page]) -> list[T]:
    """What is made of each page; while one is used the next is fetched, and no more than these two are held."""
    made: list[T] = []
    using: concurrent.futures.Future[T] | None = None
    for page in pages:
        if using is not None:
            made.append(using.result())
        using = users.submit(use, page)
    return made if using is None else [*made, using.result()]


@contextlib.contextmanager
def _point_in_time(door: Door, target: str, clock: Clock) -> Iterator[str | None]:
    # not ignore_unavailable: it passes over closed indices too, and the answer would only be shorter
    answer = _patiently(clock, lambda: door.call("POST", f"/{target}/_pit", expect=(404,), keep_alive=_KEEP_ALIVE,
                                                  allow_partial_search_results="false"))
    point = answer.get("id")
    try:
        yield point
    finally:
        if point is not None:
            with contextlib.suppress(StoreError):  # it ends by itself
                door.call("DELETE", "/_pit", {"id": point})


def _pages(door: Door, body: dict[str, Any], number: int, part: str, clock: Clock) -> Iterator[Page]:
    body = {**body, "slice": {"id": number, "max": SLICES}}
    while True:
        data = _patiently(clock, functools.partial(_page, door, body, part))
        last = _LAST_SORT.search(data[-64:])
        if last is None:
            return
        yield Page(data)
        # a document may hold this text too: then one page more is asked for, never one less
        if data.count(_SORT) < PAGE:
            return
        body = {**body, "search_after": [int(last[1])]}


def _page(door: Door, body: dict[str, Any], part: str) -> bytes:
    """An answer in which every shard took part, with documents or none."""
    try:
        # a shard that fails must fail the page: without this parameter the answer would only be shorter
        data = door.raw("POST", "/_search", body, filter_path=part, allow_partial_search_results="false")
    except ServerError as error:
        if error.status == 404 or "search_context_missing" in f"{error.kind} {error}":
            raise ExpiredError(str(error)) from error
        raise
    if data.startswith(_WHOLE) and (data.endswith(b"]}}") or data == _WHOLE + b"}"):
        return data
    try:
        answer = _ANSWER.decode(data)
    except msgspec.DecodeError as error:
        raise StoreUnreachable(f"an answer of {door.server} was cut off: {error}") from error
    if answer.shards.failed or answer.timed_out or answer.hits.hits:
        raise StoreUnreachable(f"{answer.shards.failed} shards of {door.server} did not answer a search")
    return data


def _patiently(clock: Clock, ask: Callable[[], T]) -> T:
    """Ask again what failed for a while: a node that restarts, a queue that is full, a shard that moves."""
    for attempt in range(_TRIES - 1):
        try:
            return ask()
        except StoreUnreachable:
            _pause(clock, attempt)
        except ServerError as error:
            if error.status != 429 and error.status < 500:
                raise
            _pause(clock, attempt)
    return ask()


def _pause(clock: Clock, attempt: int) -> None:
    clock.sleep(random.random() * _FIRST_DELAY_S * 4**attempt)
