"""Bring the records of watched runs from their folders into the store."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pinchpoint import records
from pinchpoint.errors import InputError
from shippers.formats import open_input
from shippers.progress import ProgressReader
from shippers.watch.spool import Spool, lock_if_free, safe_name, spool_parent

if TYPE_CHECKING:
    from pinchpoint.store import Store

_BATCH_ROWS = 65_536


@dataclasses.dataclass(slots=True)
class Imported:
    """What was brought into the store."""

    records: int = 0
    steps: int = 0
    """Records of steps, those made from progress lines too."""
    rejected: int = 0
    """Lines that are no record, such as one that was being written when its process was killed."""
    unreadable: list[str] = dataclasses.field(default_factory=list)
    """Why files could not be read to their end; what could be read of them is in the store."""


def recover(store: "Store") -> Imported:
    """Bring in the runs whose watch was killed before it could; runs that are not over are left alone."""
    total = Imported()
    for spool in Spool.left_behind(spool_parent(store.url)):
        with contextlib.closing(spool):
            imported = bring_in(store, spool, unless_live=True)
        total.records += imported.records
        total.steps += imported.steps
        total.unreadable += imported.unreadable
    return total


def bring_in(store: "Store", spool: Spool, *, unless_live: bool = False) -> Imported:
    """Write every record of a run to the store, then remove the files that no process writes to any more.

    Doing it again, after a crash in the middle too, writes nothing twice: segments are named by the file and its size, and
    records that a longer file repeats have the same identity.

    Args:
        store: where the records go.
        spool: the folder of the run, locked by the caller.
        unless_live: do nothing while a process of the run still writes.
    """
    imported = Imported()
    files = spool.files()
    locks = {path: lock_if_free(path) for path in files}
    try:
        if unless_live and None in locks.values():
            return imported
        for path in files:  # that of watch comes last: by then it is known whether the run counted its steps itself
            _bring_in_file(store, path, f"{safe_name(spool.folder.name)}-{path.stem}-{path.stat().st_size}", imported)
        for path, lock in locks.items():
            if lock is not None:
                path.unlink()
    finally:
        for lock in locks.values():
            if lock is not None:
                os.close(lock)
    return imported


def _bring_in_file(store: "Store", path: Path, name: str, imported: Imported) -> None:
    lines = _Lines()
    try:
        for number, (kind, batch) in enumerate(open_input(path, reader="records")):
            store.append(kind, batch, f"{name}-{number}")
            imported.records += batch.num_rows
            if kind == "step":
                imported.steps += batch.num_rows
            elif kind == "log" and not imported.steps:
                lines.feed(batch)
    except InputError as error:
        imported.unreadable.append(str(error))
    if not imported.steps:
        for number, batch in enumerate(lines.steps(name)):
            store.append("step", batch, f"{name}-progress-{number}")
            imported.steps += batch.num_rows


class _Lines:
    """The log records of one run, and the steps their progress lines tell of."""

    def __init__(self) -> None:
        self._reader = ProgressReader()
        self._run: dict[str, Any] = {}

    def feed(self, batch: pa.RecordBatch) -> None:
        times = batch.column("@timestamp").cast(pa.int64()).to_pylist()
        for time_ns, message in zip(times, batch.column("message").to_pylist(), strict=True):
            if message is not None:
                self._reader.feed(time_ns, message)
        if batch.num_rows and not self._run:
            self._run = {name: batch.column(name)[0].as_py() for name in ("run.id", "run.workload", "host.name")}

    def steps(self, name: str) -> Iterator[pa.RecordBatch]:
        steps = self._reader.steps()
        number = 0
        while rows := list(itertools.islice(steps, _BATCH_ROWS)):
            yield records.batch("step", {
                "@timestamp": [row.start_ns for row in rows],
                "event.id": [f"{name}-progress-{number + place}" for place in range(len(rows))],
                **{field: [value] * len(rows) for field, value in self._run.items()},
                "rank": [row.rank for row in rows],
                "step": [row.step for row in rows],
                "epoch": [row.epoch for row in rows],
                "duration_s": [row.duration_s for row in rows],
                "phase.data_wait_s": [row.data_wait_s for row in rows],
                "labels": [[("step.source", "progress lines")]] * len(rows),
            })
            number += len(rows)
