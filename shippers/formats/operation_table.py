"""Tables of the operations of a pipeline-parallel job (Parquet or CSV): who is slow, and what that costs."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.lines import read_lines
from shippers.formats.pipeline_simulation import BACKWARD, FORWARD, Computation, Ending, Floats, Impact, Job, impact
from shippers.formats.told import told

_NEEDED = ("dp_rank", "stage", "step", "optype", "start_ts", "duration")
_OPTIONAL = ("rank", "mb_id", "gmc", "mc")
MOST_OPERATIONS = 20_000_000
_MOST_WORKERS = 16_384
#: Workers times steps: each has a record, and some numbers in memory.
_MOST_RECORDS = 10_000_000
MOST_KINDS = 200
_PARQUET = b"PAR1"
_RUN = "pipeline"
_COMPUTES = ("optimizer", "gc")
_PHASE = {FORWARD: "forward", BACKWARD: "backward", "optimizer": "optimizer", "gc": "gc"}

Integers = NDArray[np.int64]


def recognises(head: bytes) -> bool:
    """Whether it is Parquet, or CSV whose header names the columns of such a table."""
    if head.startswith(_PARQUET):
        return True
    header = {name.strip().strip(b'"') for name in head.split(b"\n", 1)[0].split(b",")}
    return all(name.encode() in header for name in _NEEDED)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each worker and step, and S, M_W and M_S of the simulation (pipeline_simulation.py).

    Raises: InputError when the table cannot be read or lacks a column.
    """
    yield from records_of(*_columns(path, reading), reading)


def records_of(columns: dict[str, Floats], kinds: list[str], reading: Reading) -> Iterator[Batch]:
    """The records of operations.

    Args:
        columns: those of the table by name, each of shape (operations,), finite; `optype` as places in `kinds`.
        kinds: names of the operations.
        reading: where it is noted what could not be worked out.
    """
    table = _Table(columns, kinds)
    if not len(table.step):
        reading.notes.append("no operation in it")
        return
    yield from table.steps()
    numbers = {"communication": table.communication_share}
    found = _impact(table, reading)
    if found is not None:
        numbers |= {"slowdown": found.slowdown, "M_W": found.worst_workers, "M_S": found.last_stage}
    yield told(_RUN, 0, numbers)


def _impact(table: "_Table", reading: Reading) -> Impact | None:
    try:
        job = table.job()
        return None if job is None else impact(job)
    except (ValueError, KeyError, IndexError) as error:
        reading.notes.append(f"what stragglers cost could not be simulated: {error}")
        return None


def _columns(path: Path, reading: Reading) -> tuple[dict[str, Floats], list[str]]:
    """Columns by name, numbers as they are, operations as (codes, names). NaN rows are rejected."""
    with path.open("rb") as file:
        parquet = file.read(4) == _PARQUET
    found = _parquet(path) if parquet else _csv(path, reading)
    kinds = pa.array(found.pop("optype"), pa.string()).fill_null("").dictionary_encode()
    names = [str(name)[:80] for name in kinds.dictionary.to_pylist()[:MOST_KINDS]]
    columns = {name: np.asarray(values, float) for name, values in found.items()}
    columns["optype"] = kinds.indices.to_numpy().astype(float)
    good = np.isfinite(columns["start_ts"]) & np.isfinite(columns["duration"]) & (columns["duration"] >= 0)
    good &= columns["optype"] < MOST_KINDS
    for name, most in (("dp_rank", _MOST_WORKERS), ("stage", _MOST_WORKERS), ("step", 2**53)):
        good &= np.isfinite(columns[name]) & (columns[name] >= 0) & (columns[name] < most)
    for _ in range(int((~good).sum())):
        reading.reject(b"", "an operation without a number where one is needed, or with one that cannot be")
    return {name: values[good] for name, values in columns.items()}, names


def _parquet(path: Path) -> dict[str, list[object] | Floats]:
    try:
        file = pq.ParquetFile(path)
        there = file.schema_arrow.names
        _check(path, there)
        if file.metadata.num_rows > MOST_OPERATIONS:
            raise InputError(f"{path}: more than {MOST_OPERATIONS} operations; take fewer steps")
        table = file.read(columns=[name for name in (*_NEEDED, *_OPTIONAL) if name in there])
        return {name: (table.column(name).cast(pa.string()).to_numpy(zero_copy_only=False) if name == "optype"
                       else table.column(name).cast(pa.float64(), safe=False).to_numpy()) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: no table of operations: {error}") from error


def _csv(path: Path, reading: Reading) -> dict[str, list[object] | Floats]:
    lines = read_lines(path, reading.notes)
    header = next(csv.reader(io.StringIO(next(lines)[0].decode("utf-8", "replace"))))
    header = [name.strip() for name in header]
    _check(path, header)
    places = {name: header.index(name) for name in (*_NEEDED, *_OPTIONAL) if name in header}
    columns: dict[str, list[object]] = {name: [] for name in places}
    for line, _ in lines:
        if not line.strip():
            continue
        try:
            row = next(csv.reader(io.StringIO(line.decode("utf-8", "replace"))))
            values = {name: row[place].strip() if name == "optype" else float(row[place]) for name, place in places.items()}
        except (csv.Error, ValueError, IndexError, StopIteration) as error:
            reading.reject(line, f"no operation: {error}")
            continue
        for name, value in values.items():
            columns[name].append(value)
        if len(columns["step"]) > MOST_OPERATIONS:
            raise InputError(f"{path}: more than {MOST_OPERATIONS} operations; take fewer steps")
    return dict(columns)


def _check(path: Path, there: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in there]
    if missing:
        raise InputError(f"{path}: no table of operations: it lacks the columns {', '.join(missing)}; it has {', '.join(there[:20])}")


def _integers(values: Floats) -> Integers:
    """Whole numbers; -1 for what is none, and nothing beyond what products of two of them can hold."""
    return np.nan_to_num(values, nan=-1.0).clip(-1, 2**31).astype(np.int64)


class _Table:
    """The operations as columns, with the worker and the place of the step of each."""

    def __init__(self, columns: dict[str, Floats], kinds: list[str]) -> None:
        self.kinds = kinds
        self.kind = columns["optype"].astype(np.int64)
        self.seconds = columns["duration"]
        self.numbers, self.step = np.unique(columns["step"].astype(np.int64), return_inverse=True)
        pairs = np.stack([columns["dp_rank"], columns["stage"]], axis=1).astype(np.int64)
        self.pairs, self.worker = np.unique(pairs, axis=0, return_inverse=True)
        self.worker = self.worker.reshape(-1)
        if len(self.pairs) * len(self.numbers) > _MOST_RECORDS:
            raise InputError(f"more than {_MOST_RECORDS} steps of workers in the table; take fewer steps")
        size = len(self.step)
        begin = np.full(len(self.numbers), np.inf)
        np.minimum.at(begin, self.step, columns["start_ts"])
        # float32 times of some tables count from the step, others from the run: only what lies within the step is used
        self.start = columns["start_ts"] - begin[self.step] if size else columns["start_ts"]
        self.length = np.zeros(len(self.numbers))
        np.maximum.at(self.length, self.step, self.start + self.seconds)
        stages = int(self.pairs[:, 1].max()) + 1 if size else 1
        self.stages = stages
        dps = int(self.pairs[:, 0].max()) + 1 if size else 1
        self.rank = self.pairs[:, 1] * dps + self.pairs[:, 0]
        if "rank" in columns and size:
            self.rank[self.worker] = _integers(columns["rank"])
        none = np.full(size, -1.0)
        self.microbatch = _integers(columns.get("mb_id", none))
        part = _integers(columns.get("gmc", none))
        chunk = _integers(columns.get("mc", none)).clip(0)
        stage = self.pairs[self.worker, 1] if size else np.zeros(0, np.int64)
        self.chunk = np.where(part >= 0, part, chunk * stages + stage)
        self.communication_share = 0.0

    def steps(self) -> Iterator[Batch]:
        """Step records of all workers; what a worker does not compute is communication, with the waits in it."""
        shape = len(self.pairs), len(self.numbers)
        phases = {}
        for kind, phase in _PHASE.items():
            value = np.zeros(shape)
            mine = self.kind == self.kinds.index(kind) if kind in self.kinds else np.zeros(len(self.kind), bool)
            np.add.at(value, (self.worker[mine], self.step[mine]), self.seconds[mine])
            phases[phase] = value
        busy = sum(phases.values())
        length = np.maximum(np.broadcast_to(self.length, shape), busy)
        phases["communication"] = length - busy
        self.communication_share = float((phases["communication"] / np.where(length > 0, length, 1.0)).mean())
        starts = np.round(np.concatenate(([0.0], np.cumsum(self.length)[:-1])) * NS).astype(np.int64)
        worker, step = (places.ravel() for places in np.indices(shape))
        for begin in range(0, len(worker), MOST_ROWS):
            w, s = worker[begin:begin + MOST_ROWS], step[begin:begin + MOST_ROWS]
            yield "step", records.batch("step", {
                "@timestamp": starts[s], "event.id": [f"{_RUN}-{a}-{b}" for a, b in zip(w.tolist(), s.tolist(), strict=True)],
                "run.id": [_RUN] * len(w), "rank": self.rank[w], "world_size": [len(self.pairs)] * len(w), "step": self.numbers[s],
                "duration_s": length[w, s], **{f"phase.{name}_s": value[w, s] for name, value in phases.items()},
                "labels": [[("pipeline.stage", str(stage)), ("pipeline.dp_rank", str(dp))] for dp, stage in self.pairs[w].tolist()]})

    def job(self) -> Job | None:
        """The operations of the steps that look like most; None when there are no passes."""
        order = np.lexsort((self.start, self.worker, self.step))
        passes = order[np.isin(self.kind[order], [self.kinds.index(kind) for kind in (FORWARD, BACKWARD) if kind in self.kinds])]
        if not len(passes):
            return None
        counts = np.bincount(self.step[passes], minlength=len(self.numbers))
        usual = np.flatnonzero(counts == np.bincount(counts).argmax())
        passes = passes[np.isin(self.step[passes], usual)].reshape(len(usual), -1)
        first = passes[0]
        same = (self.worker[passes] == self.worker[first]).all(axis=1)
        # workers may swap two passes in some step; the order of the first step stands for all
        keys = np.lexsort((self.microbatch[passes], self.chunk[passes], self.kind[passes], self.worker[passes]))
        passes = np.take_along_axis(passes, keys, axis=1)[same]
        back = np.argsort(keys[0], kind="stable")
        passes = passes[:, back]
        usual = usual[same]
        of: list[list[Computation]] = [[] for _ in self.pairs]
        for column in passes.T:
            one = column[0]
            of[self.worker[one]].append(Computation(int(self.worker[one]), self.kinds[self.kind[one]], int(self.chunk[one]),
                                                    int(self.microbatch[one]), self.seconds[column]))
        begin = np.full(len(self.numbers), np.inf)
        np.minimum.at(begin, self.step[passes.ravel()], self.start[passes.ravel()])
        before, after = self._endings(usual, float(np.median(begin[usual])))
        return Job([(int(dp), int(stage)) for dp, stage in self.pairs], of, before, after, self._transfers())

    def _transfers(self) -> dict[str, float]:
        found = {}
        for kind, names in ((FORWARD, ("forward-send", "forward-recv")), (BACKWARD, ("backward-send", "backward-recv"))):
            codes = [self.kinds.index(name) for name in names if name in self.kinds]
            # a lower quartile: half of the sends or receives wait for the other side
            found[kind] = float(np.quantile(self.seconds[np.isin(self.kind, codes)], 0.25)) if codes else 0.0
        return found

    def _endings(self, usual: Integers, first_pass: float) -> tuple[list[Ending], list[Ending]]:
        """What is no pass and no transfer between stages, by kind in the order of its usual start."""
        before: list[tuple[float, Ending]] = []
        after: list[tuple[float, Ending]] = []
        place = np.full(len(self.numbers), -1)
        place[usual] = np.arange(len(usual))
        for code, kind in enumerate(self.kinds):
            mine = np.flatnonzero((self.kind == code) & (place[self.step] >= 0))
            if kind in (FORWARD, BACKWARD) or kind.endswith(("-send", "-recv")) or not len(mine):
                continue
            group = self._group(kind)
            latest = np.full((int(group.max()) + 1, len(usual)), -np.inf)
            at, step = group[self.worker[mine]], place[self.step[mine]]
            np.maximum.at(latest, (at, step), self.start[mine])
            waited = np.zeros(len(mine)) if kind in _COMPUTES else latest[at, step] - self.start[mine]
            seconds = np.zeros((len(self.pairs), len(usual)))
            np.add.at(seconds, (self.worker[mine], step), (self.seconds[mine] - waited).clip(0))
            ending = Ending(kind, seconds, group, kind in _COMPUTES)
            start = float(np.median(self.start[mine]))
            (before if start < first_pass else after).append((start, ending))
        return [one for _, one in sorted(before, key=lambda pair: pair[0])], [one for _, one in sorted(after, key=lambda pair: pair[0])]

    def _group(self, kind: str) -> Integers:
        """Who waits for whom in an operation of this kind."""
        workers = np.arange(len(self.pairs))
        if kind in _COMPUTES or "layernorm" in kind:
            return workers
        if "clip" in kind:
            return np.zeros(len(self.pairs), np.int64)
        return self.pairs[:, 0] + 0 if "embedding" in kind else self.pairs[:, 1] + 0


FORMAT = Format("operation_table", recognises, read)
