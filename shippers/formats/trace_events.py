"""Events of a chrome trace, a few megabytes at a time, however large the file is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar, get_args, get_type_hints

import msgspec

from pinchpoint.errors import InputError
from shippers.formats.base import Reading
from shippers.formats.lines import read_until_damaged
from shippers.formats.trace_about import About

_DECODE_BYTES = 4 << 20
#: One event is never longer; what is, is no trace.
_MOST_PENDING = 64 << 20
_AFTER_BYTES = _NEAR_BYTES = 1 << 16
#: A file in which that many items are no event, and none is one, is not read to its end.
_MOST_REJECTED = 100_000
_BOUNDARY = re.compile(rb"\}\s*,\s*(?=\{)")
# where an event begins, and hardly anything else does
_EVENT_BOUNDARY = re.compile(rb'\}\s*,\s*(?=\{\s*"(?:ph|name|cat|pid|tid|ts|dur|id|bp|s|args)"\s*:)')
_END = re.compile(rb"\}\s*\]")
_ARRAY = re.compile(rb'"traceEvents"\s*:\s*\[')
_BARE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?=[{\]]|$)")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
#: Not JSON, yet some profilers write it for numbers they do not have.
_NO_NUMBER = re.compile(rb"([:,\[]\s*)-?(?:NaN|nan|Infinity|inf)(?=\s*[,}\]])")


class Args(msgspec.Struct, gc=False, rename={"group": "Process Group Name", "ranks": "Process Group Ranks", "own_rank": "Rank",
                                          "elements": "In msg nelems", "dimensions": "Input Dims",
                                          "collective": "Collective name",
                                          "group_size": "Group size"}):
    """What is read of the arguments of an event."""

    correlation: int | None = None
    """The same number on a kernel and on the call that launched it."""
    direction: str | None = None
    """Where a copy goes, on devices that do not say so in its name."""
    group: str | None = None
    """Whose collective it is, of PyTorch 2.3 and later."""
    ranks: str | None = None
    """The ranks of that group."""
    own_rank: int | None = None
    """Of the process, on calls of a collective."""
    elements: int | None = None
    """How many it sends."""
    collective: str | None = None
    """What a call of a collective does."""
    dtype: str | None = None
    """Of its elements."""
    group_size: int | None = None
    """How many ranks take part."""
    dimensions: msgspec.Raw = msgspec.Raw(b"")
    """Of what an operator is given, as it stands there."""


class Event(msgspec.Struct, gc=False):
    """What is read of an event."""

    ph: str = ""
    name: str = ""
    cat: str = ""
    ts: float = 0.0
    """Start in microseconds."""
    dur: float = 0.0
    """Duration in microseconds."""
    args: Args | None = None


_ANY = msgspec.json.Decoder(list[object])

Kind = TypeVar("Kind", bound=msgspec.Struct)
"""What is read of an event; its `args` are a struct or None."""


def recognises(head: bytes) -> bool:
    """Whether this begins like a chrome trace: an object with traceEvents, or a list of events."""
    if _ARRAY.search(head) or (b'"schemaVersion"' in head and b'"deviceProperties"' in head):
        return True
    return bool(_BARE.match(head)) and b'"ph"' in head[:65_536]


def read_events(path: Path, reading: Reading, about: About, kind: type[Kind]) -> Iterator[list[Kind]]:
    """Lists of events in the order of the file; what is no event is counted as rejected.

    Raises: InputError when there is no event to be had.
    """
    chunks = read_until_damaged(path, reading.notes)
    pending = _begin(path, chunks, about)
    parser = _Parser(reading, kind)
    seen = 0
    enough = _DECODE_BYTES
    for chunk in chunks:
        pending += chunk
        if len(pending) < enough:
            continue
        events = parser.take(pending)
        if events is None and len(pending) >= _MOST_PENDING:
            events = parser.salvage(pending)
            if not events:
                raise InputError(f"{path}: more than {_MOST_PENDING >> 20} MB without an event after {seen} events: "
                                 "this is no profiler trace, or a damaged one. Record it again.")
        if events is None:
            enough = min(2 * len(pending), _MOST_PENDING)
            continue
        enough = _DECODE_BYTES
        seen += len(events)
        yield events
        if parser.ended:
            break
        if not seen and reading.rejected > _MOST_REJECTED:
            raise InputError(f"{path}: the first {reading.rejected} items of its list are no events: this is no profiler trace")
    if not parser.ended:
        events = parser.take_rest(pending)
        seen += len(events)
        yield events
    if parser.ended:
        _look_behind(pending, chunks, reading, about)
    else:
        reading.notes.append(f"truncated after {seen} events")
    if not seen:
        why = "; ".join(reading.notes) or (f"{reading.rejected} items are none" if reading.rejected else "its list is empty")
        raise InputError(f"{path}: no event in it can be read ({why}). Record the trace again.")


def _begin(path: Path, chunks: Iterator[bytes], about: About) -> bytearray:
    """What of the first chunks belongs to the list of events; what stands before it is looked at."""
    head = bytearray()
    for chunk in chunks:
        fresh = max(len(head) - 100, 0)
        head += chunk
        found = _ARRAY.search(head, fresh) or (_BARE.match(head) if len(head) > 100 else None)
        if found:
            break
        if len(head) > _MOST_PENDING:
            raise InputError(f"{path}: no traceEvents in its first {len(head) >> 20} MB: this is no profiler trace")
    found = _ARRAY.search(head) or _BARE.match(head)
    if not found:
        raise InputError(f"{path}: no traceEvents in it: this is no profiler trace. Write one with prof.export_chrome_trace(FILE)")
    about.look(bytes(head[: found.start()]))
    return head[found.end() :]


def _look_behind(rest: bytearray, chunks: Iterator[bytes], reading: Reading, about: About) -> None:
    """Take what a trace says of itself behind its events, and say when there are more events."""
    first, last = bytes(rest[:_AFTER_BYTES]), bytes(rest[-_AFTER_BYTES:])
    for chunk in chunks:
        if len(first) < _AFTER_BYTES:
            first += chunk[:_AFTER_BYTES]
        last = (last + chunk)[-_AFTER_BYTES:]
    about.look(first)
    about.look(last)
    if re.search(rb'"ph"\s*:', first):
        reading.notes.append("events behind the end of the list of events were not read")


class _Parser(Generic[Kind]):
    """Cuts a list of events where one ends, without knowing where strings and nested lists end, and decodes the pieces."""

    def __init__(self, reading: Reading, kind: type[Kind]) -> None:
        self._reading, self._kind = reading, kind
        self._decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        arguments = next(one for one in get_args(get_type_hints(kind)["args"]) if one is not type(None))
        #: Types that each argument may have; what is kept as it stands is of no use once it was decoded.
        self._wanted = {one.encode_name: get_args(one.type) for one in msgspec.structs.fields(arguments) if one.type is not msgspec.Raw}
        #: Whether the end of the list was seen; what follows it is left in the text.
        self.ended = False

    def take(self, text: bytearray) -> list[Kind] | None:
        """The events up to a boundary between two of them, which leave the text; None when it holds no whole one."""
        for begin, end in _cuts(text):
            try:
                events, used = self._decode(bytes(text[:begin]))
            except _Truncated:
                continue  # a boundary inside an event
            except _Malformed:
                events, used = self._piecewise(bytes(text[:begin])), None
            del text[: end if used is None else used]
            return events
        return None

    def take_rest(self, text: bytearray) -> list[Kind]:
        """The events of the end of a file, as far as they go where it was cut off."""
        try:
            events, used = self._decode(bytes(text))
        except _Truncated:
            return self.take(text) or []
        except _Malformed:
            ends = list(_END.finditer(text, max(len(text) - _AFTER_BYTES, 0)))
            behind = bytearray()
            if ends and not _BOUNDARY.search(text, ends[-1].end()):
                self.ended = True
                behind = text[ends[-1].end() :]
                del text[ends[-1].start() + 1 :]
            events = self.salvage(text)
            text += behind
            return events
        del text[: len(text) if used is None else used]
        return events

    def salvage(self, text: bytearray) -> list[Kind]:
        """Every event that can be read for itself; the text is used up."""
        whole = bytes(text)
        text.clear()
        return self._piecewise(whole)

    def _decode(self, text: bytes) -> tuple[list[Kind], int | None]:
        """The events of a list without its brackets, and where in the text the list ends; None when it goes on.

        Raises: _Truncated when an event is not complete, _Malformed when it is no JSON.
        """
        whole = b"[" + text + b"]"
        try:
            return self._items(whole), None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            ended = _TRAILING.search(str(error))
            if ended:
                self.ended = True
                # msgspec counts from 1 what it stumbled over
                used = whole.rindex(b"]", 0, int(ended[1]) - 1) + 1
                return self._items(whole[:used]), used - 1
            if str(error) == "Input data was truncated":
                raise _Truncated from error
            raise _Malformed from error

    def _items(self, whole: bytes) -> list[Kind]:
        try:
            return self._decoder.decode(whole)
        except msgspec.ValidationError:
            items = _ANY.decode(whole)
        # some have values of a wrong type
        return [event for item in items if (event := self._event(item)) is not None]

    def _event(self, item: object) -> Kind | None:
        if isinstance(item, dict):
            args = item.get("args")
            item["args"] = {name: args[name] for name, wanted in self._wanted.items()
                            if name in args and isinstance(args[name], wanted)} if isinstance(args, dict) else None
            if item.get("cat") is None:
                item.pop("cat", None)
        try:
            return msgspec.convert(item, self._kind)
        except (msgspec.ValidationError, RecursionError) as error:
            self._reading.reject(repr(item)[:1000].encode("utf-8", "replace"), str(error))
            return None

    def _piecewise(self, text: bytes) -> list[Kind]:
        """The events of a text in which some are no JSON: halved until each piece is one or is rejected."""
        pieces, events = [text], []
        while pieces:
            piece = pieces.pop()
            reason = ""
            if len(piece) <= _DECODE_BYTES:
                try:
                    events += self._items(b"[" + _mended(piece) + b"]")
                    continue
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    reason = str(error)
            cut = _EVENT_BOUNDARY.search(piece, len(piece) // 2) or _EVENT_BOUNDARY.search(piece)
            if cut is None:
                self._reading.reject(piece, reason or f"longer than {_DECODE_BYTES} bytes, and among events that are no JSON")
            else:
                pieces += [piece[cut.end() :], piece[: cut.start() + 1]]
        return events


class _Truncated(Exception):
    """The text ends inside an event."""


class _Malformed(Exception):
    """The text is no JSON, wherever it is cut."""


def _cuts(text: bytearray) -> Iterator[tuple[int, int]]:
    """Boundaries to try, as end of one event and begin of the next: the last ones, then from further and further before them."""
    near = [(found.start() + 1, found.end()) for found in _BOUNDARY.finditer(text, max(len(text) - _NEAR_BYTES, 0))]
    yield from reversed(near[-4:])
    # four boundaries inside one event: it is a long one
    back = _NEAR_BYTES
    while back < 2 * len(text):
        found = _BOUNDARY.search(text, max(len(text) - back, 0))
        if found:
            yield found.start() + 1, found.end()
        back *= 2


def _mended(text: bytes) -> bytes:
    return _NO_NUMBER.sub(rb"\1null", text.decode("utf-8", "replace").encode())
