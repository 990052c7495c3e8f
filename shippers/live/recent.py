"""The records of the last minutes of one run, as they come in."""

import collections
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pinchpoint import records
from pinchpoint.clock import NS
from shippers.progress import ProgressReader

#: What is older is forgotten: enough to see a change, and little enough to be looked at anew each second.
KEEP_S = 900.0
#: Steps that are kept at most; what a thousand ranks leave behind in a minute.
MOST_STEPS = 200_000
_MOST_LINES = 20_000
_SHOWN_LINES = 40
_KINDS = ("step", "metric", "event")


class Recent:
    """Bounded in time and in number."""

    def __init__(self) -> None:
        self._batches: dict[str, list[pa.RecordBatch]] = {kind: [] for kind in _KINDS}
        self._lines: collections.deque[tuple[int, str]] = collections.deque(maxlen=_MOST_LINES)
        self._about: Mapping[str, str | None] = {}
        self._newest = 0
        self.seen = 0
        """Records that came in so far."""

    def add(self, kind: str, batch: pa.RecordBatch) -> None:
        """Take in records of one kind."""
        if not batch.num_rows:
            return
        self.seen += batch.num_rows
        times = batch.column("@timestamp").cast(pa.int64())
        self._newest = max(self._newest, pc.max(times).as_py())
        if kind == "log":
            self._about = {name: batch.column(name)[0].as_py() for name in ("run.id", "run.workload", "host.name")}
            self._lines.extend((time, text) for time, text in zip(times.to_pylist(), batch.column("message").to_pylist(), strict=True)
                               if text is not None)
        elif kind in self._batches:
            self._batches[kind].append(batch)

    def tables(self) -> dict[str, pa.Table]:
        """The records of the last minutes by kind; where nobody timed steps, those that progress lines tell of."""
        since = self._newest - round(KEEP_S * NS)
        found = {}
        for kind, batches in self._batches.items():
            table = records.concat(kind, batches)
            table = table.filter(pc.greater_equal(table.column("@timestamp").cast(pa.int64()), since))
            if kind == "step" and table.num_rows > MOST_STEPS:
                table = table.take(pc.sort_indices(table, [("@timestamp", "ascending")])[-MOST_STEPS:])
            # one batch in the place of many small ones, and without what is too old
            self._batches[kind] = table.combine_chunks().to_batches()
            found[kind] = table
        if not found["step"].num_rows and self._lines:
            found["step"] = self._told(since)
        return found

    def last_lines(self) -> list[str]:
        """The last lines of the output, the newest last."""
        return [text for _, text in list(self._lines)[-_SHOWN_LINES:]]

    def _told(self, since: int) -> pa.Table:
        reader = ProgressReader()
        for time, text in self._lines:
            reader.feed(time, text)
        steps = [step for step in reader.steps() if step.start_ns >= since]
        size = len(steps)
        return records.concat("step", [records.batch("step", {
            "@timestamp": [step.start_ns for step in steps], "rank": [step.rank for step in steps],
            "step": [step.step for step in steps], "duration_s": [step.duration_s for step in steps],
            "phase.data_wait_s": pa.array([step.data_wait_s for step in steps], pa.float64()),
            **{name: pa.array([value] * size, pa.string()) for name, value in self._about.items()}})])
