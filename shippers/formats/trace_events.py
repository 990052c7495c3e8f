"""Events of a chrome trace, a few megabytes at a time, however large the file is."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pinchpoint.errors import InputError
from shippers.formats.base import Reading
from shippers.formats.lines import read_chunks

_DECODE_BYTES = 4 << 20
#: One event is never longer; what is, is no trace.
_MOST_PENDING = 64 << 20
_TRIES = 50
_BOUNDARY = re.compile(rb"\}\s*,\s*(?=\{)")
_END = re.compile(rb"\}\s*\]")
_ARRAY = re.compile(rb'"traceEvents"\s*:\s*\[')
_RANK = re.compile(rb'"rank"\s*:\s*(\d{1,9})')
_WORLD = re.compile(rb'"world_size"\s*:\s*(\d{1,9})')
_BASE = re.compile(rb'"baseTimeNanoseconds"\s*:\s*(\d{1,19})')


class Event(msgspec.Struct):
    """What is read of an event."""

    ph: str = ""
    name: str = ""
    cat: str = ""
    ts: float = 0.0
    """Start in microseconds."""
    dur: float = 0.0
    """Duration in microseconds."""


class About:
    """What a trace says of itself beside its events."""

    def __init__(self) -> None:
        self.rank: int | None = None
        self.world_size: int | None = None
        self.base_ns = 0

    def look(self, text: bytes) -> None:
        """Take what stands in the text around the events."""
        for name, pattern in (("rank", _RANK), ("world_size", _WORLD), ("base_ns", _BASE)):
            found = pattern.search(text)
            if found:
                setattr(self, name, int(found[1]))


_EVENTS = msgspec.json.Decoder(list[Event])
_ANY = msgspec.json.Decoder(list[object])


def recognises(head: bytes) -> bool:
    """Whether this begins like a chrome trace: an object with traceEvents, or a list of events."""
    if _ARRAY.search(head):
        return True
    return bool(re.match(rb"\s*\[\s*\{", head)) and b'"ph"' in head[:65_536]


def read_events(path: Path, reading: Reading, about: About) -> Iterator[list[Event]]:
    """Lists of events in the order of the file; what is no event is counted as rejected.

    Raises: InputError when there is no event to be had.
    """
    chunks = _until_damaged(path, reading)
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        begin = _ARRAY.search(pending)
        if begin or re.match(rb"\s*\[", pending[:1000]):
            break
        if len(pending) > _MOST_PENDING:
            raise InputError(f"{path}: no traceEvents in its first {len(pending) >> 20} MB: this is no profiler trace")
    begin = _ARRAY.search(pending)
    about.look(bytes(pending[: begin.start() if begin else 0]))
    start = begin.end() if begin else pending.find(b"[") + 1
    if not start:
        raise InputError(f"{path}: no traceEvents in it: this is no profiler trace")
    del pending[:start]
    seen = 0
    for chunk in chunks:
        pending += chunk
        if len(pending) < _DECODE_BYTES:
            continue
        events, used = _decode(bytes(pending), reading)
        if used:
            seen += len(events)
            yield events
            del pending[:used]
        elif len(pending) > _MOST_PENDING:
            raise InputError(f"{path}: one event of more than {_MOST_PENDING >> 20} MB, or no JSON, after {seen} events")
    events = _rest(bytes(pending), reading, seen)
    about.look(bytes(pending[-65_536:]))
    seen += len(events)
    yield events
    if not seen:
        raise InputError(f"{path}: there is no event in it that could be read"
                         + (f" ({'; '.join(reading.notes)})" if reading.notes else "") + ". Record the trace again.")


def _until_damaged(path: Path, reading: Reading) -> Iterator[bytes]:
    """The chunks of a file; a damaged one ends early, with a note."""
    chunks = read_chunks(path)
    while True:
        try:
            yield next(chunks)
        except StopIteration:
            return
        except InputError as error:
            reading.notes.append(str(error).removeprefix(f"{path}: "))
            return


def _decode(text: bytes, reading: Reading) -> tuple[list[Event], int]:
    """Events up to a boundary between two of them, from the end backwards, and how many bytes they took."""
    window = max(len(text) - (1 << 16), 0)
    found = [match.end() for match in _BOUNDARY.finditer(text, window)] or [match.end() for match in _BOUNDARY.finditer(text)]
    for end in reversed(found[-_TRIES:]):
        # the comma goes, what is left is a list; a boundary inside an event or a text is no valid list and is tried no further
        events = _events(text[: text.rindex(b",", 0, end)], reading)
        if events is not None:
            return events, end
    return [], 0


def _rest(text: bytes, reading: Reading, seen: int) -> list[Event]:
    """Events of the end of the file: up to the end of the list, or as far as they go where the file was cut off."""
    for match in reversed(list(_END.finditer(text))[-_TRIES:]):
        events = _events(text[: match.start() + 1], reading)
        if events is not None:
            return events
    if not text.strip(b" \r\n\t],}"):
        return []
    events, _ = _decode(text, reading)
    reading.notes.append(f"truncated after {seen + len(events)} events")
    return events


def _events(text: bytes, reading: Reading) -> list[Event] | None:
    """The events of a list without its brackets; None when it is no list."""
    whole = b"[" + text + b"]"
    try:
        return _EVENTS.decode(whole)
    except msgspec.ValidationError:
        return _loosely(whole, reading)
    except (msgspec.DecodeError, RecursionError):
        return None


def _loosely(whole: bytes, reading: Reading) -> list[Event] | None:
    """Events one by one, where some have values of a wrong type."""
    try:
        items = _ANY.decode(whole)
    except (msgspec.DecodeError, RecursionError):
        return None
    events = []
    for item in items:
        try:
            events.append(msgspec.convert(item, Event))
        except (msgspec.ValidationError, RecursionError) as error:
            reading.reject(repr(item)[:1000].encode("utf-8", "replace"), str(error))
    return events
