"""Timelines of pipeline-parallel jobs (chrome traces for Perfetto): the operations of an operation_table, by process and thread."""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.intervals import Floats
from shippers.formats.operation_table import MOST_KINDS, MOST_OPERATIONS, records_of
from shippers.formats.trace_about import About
from shippers.formats.trace_events import read_events

_OPERATION = re.compile(rb'"(?:forward|backward)-compute"')
_STAGE = re.compile(r"PP rank (\d{1,5})\b")
_TENSOR = re.compile(r"TP rank (\d{1,5})\b")
_DATA = re.compile(r"DP rank (\d{1,5})\b")
_MOST_THREADS = 1_000_000


class _Args(msgspec.Struct, gc=False):
    name: str | None = None
    step: int | None = None
    model_chunk: int | None = None
    mb_id: int | None = None


class _Event(msgspec.Struct, gc=False):
    ph: str = ""
    name: str = ""
    pid: int = 0
    tid: int = 0
    ts: float = 0.0
    dur: float = 0.0
    args: _Args | None = None


def recognises(head: bytes) -> bool:
    """Whether it is a chrome trace of passes, each with its step and microbatch."""
    begin = head[:65536]
    return b'"ph"' in begin and b'"mb_id"' in begin and b'"step"' in begin and _OPERATION.search(begin) is not None


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """What an operation_table of the same operations gives. Processes are the data-parallel ranks; names of threads tell the stage.

    Raises: InputError when nothing can be read, or it is more than can be held.
    """
    kinds: dict[str, int] = {}
    processes: dict[int, int] = {}
    threads: dict[tuple[int, int], tuple[int, int]] = {}
    places: dict[tuple[int, int], int] = {}
    place, kind, step, microbatch, chunk = (array("q") for _ in range(5))
    start, duration = array("d"), array("d")
    for events in read_events(path, reading, About(), _Event):
        for event in events:
            args = event.args
            if event.ph == "M":
                _name(event, processes, threads)
            elif event.ph != "X" or args is None or args.step is None:
                continue
            elif not 0 <= args.step < 1 << 53 or (len(kinds) >= MOST_KINDS and event.name not in kinds):
                reading.reject(event.name[:200].encode("utf-8", "replace"), "no operation of a step, or of too many kinds")
            else:
                place.append(places.setdefault((event.pid, event.tid), len(places)))
                kind.append(kinds.setdefault(event.name[:80], len(kinds)))
                step.append(args.step)
                microbatch.append(_small(args.mb_id))
                chunk.append(_small(args.model_chunk))
                start.append(event.ts / 1e6)
                duration.append(event.dur / 1e6)
        if len(step) > MOST_OPERATIONS or len(places) > _MOST_THREADS:
            raise InputError(f"{path}: more than {MOST_OPERATIONS} operations; take fewer steps")
    where = _where(places, processes, threads)
    columns: dict[str, Floats] = {
        "dp_rank": where[place, 0], "stage": where[place, 1], "optype": np.array(kind, float), "step": np.array(step, float),
        "start_ts": np.array(start), "duration": np.array(duration), "mb_id": np.array(microbatch, float), "mc": np.array(chunk, float)}
    good = (columns["stage"] >= 0) & np.isfinite(columns["start_ts"]) & np.isfinite(columns["duration"]) & (columns["duration"] >= 0)
    if not good.all():
        reading.notes.append(f"{int((~good).sum())} operations are left out: on threads whose names tell no stage (PP rank), "
                             "of other tensor-parallel ranks than the first, or without a length")
    yield from records_of({name: values[good] for name, values in columns.items()}, list(kinds), reading)


def _name(event: _Event, processes: dict[int, int], threads: dict[tuple[int, int], tuple[int, int]]) -> None:
    text = event.args.name if event.args is not None and event.args.name is not None else ""
    if event.name == "process_name" and (found := _DATA.search(text)) is not None:
        processes[event.pid] = int(found[1])
    elif event.name == "thread_name" and (found := _STAGE.search(text)) is not None and len(threads) < _MOST_THREADS:
        tensor = _TENSOR.search(text)
        threads[event.pid, event.tid] = (int(found[1]), int(tensor[1]) if tensor is not None else 0)


def _where(places: dict[tuple[int, int], int], processes: dict[int, int], threads: dict[tuple[int, int], tuple[int, int]]) -> Floats:
    """(data-parallel rank, stage) by thread; -1 for the stage of threads that are left out."""
    found = np.full((len(places) + 1, 2), -1.0)
    first = min((tensor for _, tensor in threads.values()), default=0)
    for (pid, tid), row in places.items():
        stage, tensor = threads.get((pid, tid), (-1, first))
        rank = processes.get(pid, pid)
        if tensor == first and 0 <= rank < 1 << 14 and stage < 1 << 14:
            found[row] = rank, stage
    return found


def _small(value: int | None) -> int:
    return value if value is not None and 0 <= value < 1 << 31 else -1


FORMAT = Format("pipeline_timeline", recognises, read)
