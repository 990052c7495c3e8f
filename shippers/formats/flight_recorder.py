"""Dumps of PyTorch's NCCL flight recorder, one file for each rank: what the rank was waiting in when the dump was written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.flight_entries import Dump, reduce_dump
from shippers.formats.lines import read_chunks
from shippers.formats.plain_pickle import load_plain

#: A dump of the largest buffer (20,000 collectives with stacks) takes about a tenth of this.
MOST_BYTES = 256 << 20
_KEYS = (b"pg_config", b"pg_status", b"nccl_version", b"entries")
_RANK = re.compile(r"(\d{1,7})(?:\.(?:json|pkl|pickle|bin))?(?:\.gz)?$")


def recognises(head: bytes) -> bool:
    """Whether it begins like a pickle or an object, with the keys that a dump has."""
    start = head.lstrip()[:1]
    if head[:1] != b"\x80" and start != b"{":
        return False
    # traces of the profiler hold the groups of ranks too
    if b"traceEvents" in head or b"distributedInfo" in head:
        return False
    # entries may be long: the other keys stand before them, or did not fit
    return sum(key in head for key in _KEYS) >= 2 or (b"entries" in head and b"profiling_name" in head)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One event `collectives` with what the rank waited in.

    Raises: InputError when it cannot be read, or is a pickle of more than plain data.
    """
    document = _load(path)
    if not isinstance(document, dict) or not isinstance(document.get("entries", []), list):
        raise InputError(f"{path}: no dump of a flight recorder: its entries are no list")
    dump = reduce_dump(document, reading)
    rank = _rank(path.name, dump, reading)
    if rank is None:
        raise InputError(f"{path}: the dump does not tell its rank; end the file's name with it, as in nccl_trace_rank_12")
    time_ns = dump.last_ns if dump.last_ns else int(path.stat().st_mtime) * NS
    state = json.dumps({"rank": rank, "groups": dump.groups})
    yield "event", records.batch("event", {
        "@timestamp": [time_ns], "event.id": [records.content_id("flight recorder", rank, state)], "event.action": ["collectives"],
        "event.reason": [dump.sentence(rank)], "rank": [rank], "labels": [[("flight_recorder", state)]],
    })


def _load(path: Path) -> Any:
    parts, size = [], 0
    for chunk in read_chunks(path):
        size += len(chunk)
        if size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES >> 20} MiB, which no flight recorder writes")
        parts.append(chunk)
    data = b"".join(parts)
    try:
        return load_plain(data) if data[:1] == b"\x80" else msgspec.json.decode(data)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: {error}") from error


def _rank(name: str, dump: Dump, reading: Reading) -> int | None:
    """The rank by the file's name, as PyTorch's own tools take it; else the only one that is in all groups of the dump."""
    common = set.intersection(*dump.members) if dump.members else set()
    match = _RANK.search(name)
    if match is not None and (not common or int(match[1]) in common):
        return int(match[1])
    if len(common) == 1:
        return common.pop()
    if match is not None:
        reading.notes.append(f"rank {match[1]} by its name is in none of its groups")
        return int(match[1])
    return None


FORMAT = Format("flight_recorder", recognises, read)
