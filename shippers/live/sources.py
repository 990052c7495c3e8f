"""Where a live view reads from: the folder of a run that is watched right now, or a store."""

import contextlib
import os
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pinchpoint.clock import NS, Clock
from pinchpoint.errors import InputError
from pinchpoint.rows import Row, parse_row, to_batch
from pinchpoint.store import Store, open_store
from shippers.live.recent import KEEP_S, Recent
from shippers.watch.spool import LOCK_FILE, WATCH_FILE, lock_if_free, spool_parent

#: Of a file that is longer the end is read: a view that is opened late shows the last minutes at once.
_MOST_BYTES = 32 << 20


class Source(Protocol):
    """Brings in what is new of one run."""

    run_id: str

    def read(self, recent: Recent) -> None:
        """Take in what came since the last time. Raises: StoreError."""


class SpoolSource:
    """The files that a watched run and its ranks write, each from where it was read to."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.run_id = run_id
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self, recent: Recent) -> None:
        for path in sorted(self._folder.glob("*.ndjson")):
            try:
                lines = self._new_lines(path)
            except OSError:  # it was brought into the store and removed just now
                continue
            rows: dict[str, list[Row]] = {}
            for line in lines:
                try:
                    row = parse_row(line)
                except ValueError:
                    continue
                rows.setdefault(row.__struct_config__.tag, []).append(row)
            for kind, some in rows.items():
                recent.add(kind, to_batch(kind, some))

    def _new_lines(self, path: Path) -> list[bytes]:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            known = self._offsets.get(path)
            offset = max(size - _MOST_BYTES, 0) if known is None else known
            file.seek(offset)
            data = file.read(min(size - offset, _MOST_BYTES))
        whole, _, _ = data.rpartition(b"\n")
        self._offsets[path] = offset + len(whole) + bool(whole)
        lines = whole.split(b"\n")
        return lines[1:] if known is None and offset else lines  # the first may be the end of a line


class StoreSource:
    """One run of a store: its last minutes, then what is new."""

    def __init__(self, store_url: str, run_id: str, clock: Clock) -> None:
        self.run_id = run_id
        self._store = open_store(store_url)
        self._clock = clock
        self._seen: dict[str, set[tuple[int, str]]] = {}
        self._since: int | None = None

    def read(self, recent: Recent) -> None:
        newest = newest_of(self._store, self.run_id)
        if newest is None:
            return
        since = newest - round(KEEP_S * NS)
        hosts: set[str] = set()
        for kind in ("step", "metric", "event", "log"):
            for split in self._store.splits(kind, since):
                for batch in self._store.read(split):
                    mine = self._of_run(batch, hosts)
                    if kind == "step":
                        hosts |= set(mine.column("host.name").to_pylist())
                    recent.add(kind, self._unseen(kind, mine, since))

    def _of_run(self, batch: pa.RecordBatch, hosts: set[str]) -> pa.RecordBatch:
        """What carries the run, and what its hosts were measured to do outside of any run."""
        run = batch.column("run.id")
        of_host = pc.and_(pc.is_null(run), pc.is_in(batch.column("host.name"), pa.array(sorted(filter(None, hosts)), pa.string())))
        return batch.filter(pc.or_(pc.fill_null(pc.equal(run, self.run_id), False), of_host))

    def _unseen(self, kind: str, batch: pa.RecordBatch, since: int) -> pa.RecordBatch:
        times = batch.column("@timestamp").cast(pa.int64()).to_pylist()
        keys = list(zip(times, batch.column("event.id").to_pylist(), strict=True))
        seen = self._seen.get(kind, set())
        fresh = [key[0] >= since and key not in seen for key in keys]
        self._seen[kind] = {key for key in seen if key[0] >= since} | set(keys)
        return batch.filter(pa.array(fresh, pa.bool_()))


def newest_of(store: Store, run_id: str | None) -> int | None:
    """When the last step, or else the last line or reading of a run began (UTC ns); None when there is none."""
    found = _newest(store, run_id)
    return None if found is None else found[0]


def newest_run(store: Store) -> str | None:
    """The run with the latest step, line or reading; None in an empty store."""
    found = _newest(store, None)
    return None if found is None else found[1]


def _newest(store: Store, run_id: str | None) -> tuple[int, str] | None:
    for kind in ("step", "log", "metric"):
        for split in reversed(store.splits(kind)):
            best: tuple[int, str] | None = None
            for batch in store.read(split, ["@timestamp", "run.id"]):
                mine = batch.filter(pc.is_valid(batch.column("run.id")) if run_id is None else
                                    pc.fill_null(pc.equal(batch.column("run.id"), run_id), False))
                if mine.num_rows:
                    times = mine.column("@timestamp").cast(pa.int64())
                    place = pc.index(times, pc.max(times)).as_py()
                    best = max(best or (0, ""), (times[place].as_py(), mine.column("run.id")[place].as_py()))
            if best is not None:
                return best
    return None


def open_source(store_url: str, run_id: str | None, clock: Clock) -> Source:
    """The run that is watched now, the newest one of several, else the newest of the store.

    Args:
        store_url: the store that `pinchpoint watch` and others write to.
        run_id: the run; None for the newest.
        clock: tells the time.
    Raises: InputError when there is no such run.
    """
    live = [(begun, folder, run) for begun, folder, run in watched_now(spool_parent(store_url)) if run_id in (None, run)]
    if live:
        _, folder, run = max(live)
        return SpoolSource(folder, run)
    store = open_store(store_url)
    found = newest_run(store) if run_id is None else run_id
    if found is None or newest_of(store, found) is None:
        what = "no run" if run_id is None else f"no run {run_id}"
        raise InputError(f"there is {what} in {store_url}, and none is watched right now. "
                         "Begin one with: pinchpoint watch --live -- COMMAND")
    return StoreSource(store_url, found, clock)


def watched_now(parent: Path) -> list[tuple[int, Path, str]]:
    """The folders of runs whose watch lives: when they were begun (UTC ns), where they are and what the run is called."""
    found = []
    for folder in parent.iterdir() if parent.is_dir() else ():
        if folder.name.startswith(".") or not is_watched(folder):
            continue
        with contextlib.suppress(OSError, ValueError):  # it ended just now, or has not written anything yet
            with (folder / WATCH_FILE).open("rb") as file:
                first = parse_row(file.readline())
            found.append((first.c0, folder, first.c2))
    return found


def is_watched(folder: Path) -> bool:
    """Whether the watch of this folder lives: it holds the lock."""
    lock = lock_if_free(folder / LOCK_FILE)
    if lock is None:
        return (folder / LOCK_FILE).exists()
    os.close(lock)
    return False
