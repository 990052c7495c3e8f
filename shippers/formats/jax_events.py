"""Events of traces of JAX and XLA's profiler, out of `*.trace.json.gz` and `*.xplane.pb` alike."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from pinchpoint.errors import InputError
from shippers.formats.base import Reading
from shippers.formats.lines import read_chunks
from shippers.formats.trace_about import About
from shippers.formats.trace_events import read_events
from shippers.wire_types import Fields, message_type

#: What the profiler writes into one file; more is held in memory for nothing.
_MOST_XPLANE_BYTES = 512 << 20
_STEP, _OP = "step_num", "hlo_op"
_SCHEMA: dict[str, Fields] = {
    "Space": (("planes", 1, "*Plane"),),
    "Plane": (("name", 2, "string"), ("lines", 3, "*Line"), ("event_names", 4, "*NameEntry"), ("stat_names", 5, "*NameEntry")),
    "NameEntry": (("key", 1, "int64"), ("value", 2, "Name")),
    "Name": (("name", 2, "string"), ("display_name", 4, "string")),
    "Line": (("name", 2, "string"), ("timestamp_ns", 3, "int64"), ("events", 4, "*Event"), ("display_name", 11, "string")),
    "Event": (("metadata_id", 1, "int64"), ("offset_ps", 2, "int64"), ("duration_ps", 3, "int64"), ("stats", 4, "*Stat")),
    "Stat": (("metadata_id", 1, "int64"), ("uint64_value", 3, "uint64"), ("int64_value", 4, "int64"), ("str_value", 5, "bytes")),
}
_SPACE: Any = message_type(_SCHEMA, "Space")
#: The first plane, with or without a number before its name.
_FIRST_PLANE = re.compile(
    rb"\x0a[\x80-\xff]{0,9}[\0-\x7f](?:\x08[\x80-\xff]{0,9}[\0-\x7f])?\x12[\1-\x7f](?:/host:|/device:|Task Environment)")


class JaxEvent(NamedTuple):
    """One event."""

    plane: str
    """`/host:CPU`, `/device:GPU:0`."""
    line: str
    """`python`, `XLA Ops`, `Steps`, the name of a thread or a stream."""
    name: str
    start_us: float
    lasts_us: float
    step: int | None
    """Number of the step that it is."""
    is_op: bool
    """Whether it is an operation of XLA."""


class _Args(msgspec.Struct, gc=False):
    name: str | None = None
    step_num: str | int | None = None
    hlo_op: str | None = None


class _Event(msgspec.Struct, gc=False):
    ph: str = ""
    name: str = ""
    pid: int = 0
    tid: int = 0
    ts: float = 0.0
    dur: float = 0.0
    args: _Args | None = None


def is_json(head: bytes) -> bool:
    """Whether it is a chrome trace that begins with the names of JAX's planes."""
    begin = head[:65536]
    return b'"traceEvents"' in begin and b'"process_name"' in begin and (b'"/host:CPU' in begin or b'"/device:' in begin)


def is_xplane(head: bytes) -> bool:
    """Whether it is a message whose first plane has a name of such a trace."""
    return _FIRST_PLANE.match(head) is not None


def from_json(path: Path, reading: Reading) -> Iterator[JaxEvent]:
    """The events of a chrome trace; names of planes and lines come before what is in them.

    Raises: InputError when there is no event to be had.
    """
    planes: dict[int, str] = {}
    lines: dict[tuple[int, int], str] = {}
    for events in read_events(path, reading, About(), _Event):
        for event in events:
            args = event.args
            if event.ph == "M":
                if event.name == "process_name" and args is not None and args.name:
                    planes[event.pid] = args.name
                elif event.name == "thread_name" and args is not None and args.name:
                    lines[event.pid, event.tid] = args.name
            elif event.ph == "X":
                yield JaxEvent(planes.get(event.pid, ""), lines.get((event.pid, event.tid), ""), event.name, event.ts, event.dur,
                               _number(args.step_num) if args is not None else None, args is not None and args.hlo_op is not None)


def from_xplane(path: Path, reading: Reading) -> Iterator[JaxEvent]:
    """The events of a message of XLA's profiler.

    Raises: InputError when it is too large, or no such message.
    """
    data = bytearray()
    for chunk in read_chunks(path):
        data += chunk
        if len(data) > _MOST_XPLANE_BYTES:
            raise InputError(f"{path}: longer than {_MOST_XPLANE_BYTES >> 20} MiB; record fewer steps")
    try:
        space = _SPACE.FromString(bytes(data))
    except DecodeError as error:
        raise InputError(f"{path}: no XSpace of XLA's profiler: {error}") from error
    del data
    for plane in space.planes:
        names = {entry.key: entry.value.display_name or entry.value.name for entry in plane.event_names}
        stats = {entry.key: entry.value.name for entry in plane.stat_names}
        steps = {key for key, name in stats.items() if name == _STEP}
        operations = {key for key, name in stats.items() if name == _OP}
        for line in plane.lines:
            line_name = line.display_name or line.name
            for event in line.events:
                step, is_op = None, False
                for stat in event.stats:
                    if stat.metadata_id in steps:
                        step = _number(stat.str_value or stat.int64_value or stat.uint64_value)
                    is_op = is_op or stat.metadata_id in operations
                yield JaxEvent(plane.name, line_name, names.get(event.metadata_id, ""), line.timestamp_ns / 1e3 + event.offset_ps / 1e6,
                               event.duration_ps / 1e6, step, is_op)


def _number(value: str | bytes | int | None) -> int | None:
    """A step's number, however it is written; None for what is none."""
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode("ascii", "replace")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
    return value if value is not None and 0 <= value < 1 << 53 else None
