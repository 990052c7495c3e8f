"""Write records as whole lines from a thread of their own, so that the training never waits for a disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from pinchpoint.sdk.place import Place

#: As in `pinchpoint.fields`, which needs a newer Python; `other` is what no phase covers, and never written.
PHASES = ("data_wait", "h2d", "forward", "backward", "optimizer", "compute", "communication", "checkpoint", "evaluation", "compile", "gc",
          "other")
_WRITTEN = tuple((index, f',"phase.{name}_s":') for index, name in enumerate(PHASES) if name != "other")
_BATCH = (',"samples":', ',"tokens":', ',"batch_bytes":', ',"epoch":')

#: Records that wait for the disk; beyond that the oldest are dropped and counted.
MOST_WAITING = 16_384
MOST_BYTES = 1 << 30
_CLOSE_WITHIN_S = 2.0
#: Lines formatted in one go: the training thread may wait that long for the interpreter, some hundred microseconds.
_AT_ONCE = 50


class Iteration:
    """What is known of one step; times in nanoseconds of the performance counter, processor times 0 or None where not measured."""

    __slots__ = ("batch", "begin", "cpu_begin", "cpu_end", "end", "number", "spent", "wait_cpu")

    def __init__(self) -> None:
        self.begin = self.end = self.cpu_begin = self.cpu_end = 0
        self.wait_cpu: int | None = 0
        self.spent = [0] * len(PHASES)
        self.number: int | None = None
        self.batch: tuple[int | None, ...] = ()


class Mark(NamedTuple):
    """Something that happened."""

    at: int
    action: str
    reason: str | None
    step: int
    labels: dict[str, str]


class Writer:
    """The file of one process; it appears with the first record, and its lock is held as long as it may grow."""

    write_every_s = 0.2

    def __init__(self, place: Place, at_exit: Callable[[], None]) -> None:
        self._place = place
        self._at_exit = at_exit
        # one anchor: distances stay right when the wall clock jumps
        self._anchor_ns = time.time_ns() - time.perf_counter_ns()
        self._file = -1
        self._renew()

    def _renew(self) -> None:
        self._token = os.urandom(4).hex()
        self._waiting: deque[Iteration | Mark] = deque(maxlen=MOST_WAITING)
        self._dropped = self._dropped_told = 0
        self._serial = 0
        self._unsent = b""
        self._sent = 0
        self._torn = False
        self._full = self._full_told = False
        self._identity = (0, 0)
        self._thread: threading.Thread | None = None
        self._beginning = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._second, self._second_text = -1, ""
        about = {"run.id": self._place.run_id, "run.workload": self._place.workload, "rank": self._place.rank,
                 "host.name": self._place.host}
        self._about = {name: value for name, value in about.items() if value is not None}
        step = {**self._about, "world_size": self._place.world_size, "process.pid": os.getpid()}
        self._step_head = "," + json.dumps({name: value for name, value in step.items() if value is not None}, separators=(",", ":"))[1:-1]
        self._id = f"{self._place.run_id}-{self._place.rank}"
        self._step_id = ',"event.id":' + json.dumps(self._id)[:-1]

    def begin_in_child(self) -> None:
        """Begin anew after a fork: threads do not survive it, locks may be held for ever, and the file is the parent's."""
        if self._file >= 0 and self._is_ours():
            with contextlib.suppress(OSError):
                os.close(self._file)  # or the parent's lock would be held as long as we live
        self._file = -1
        self._renew()

    def put(self, record: Iteration | Mark) -> None:
        """Leave a record for the thread; never blocks."""
        if self._full or len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
        if not self._full:
            self._waiting.append(record)
        if self._thread is None:
            self._begin_thread()

    def _begin_thread(self) -> None:
        if not self._beginning.acquire(blocking=False):  # another thread is at it
            return
        # never released: where no thread can be begun, what waits is written at the end
        with contextlib.suppress(Exception):
            util = sys.modules.get("multiprocessing.util")
            if util is not None:  # its processes end without atexit
                util.Finalize(None, self._at_exit, exitpriority=100)
            thread = threading.Thread(target=self._work, name="pinchpoint", daemon=True)
            thread.start()
            self._thread = thread

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(self.write_every_s)
            self._write_all()

    def close(self) -> None:
        """Write what waits and let the file go; gives up when the disk does not take it in time."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_WITHIN_S)
            if self._thread.is_alive():
                return
        self._write_all()
        if self._file >= 0 and self._is_ours():
            os.close(self._file)
            self._file = -1

    def _write_all(self) -> None:
        # tried again at the next beat; meanwhile what waits is bounded, and nobody's terminal hears of it
        with contextlib.suppress(Exception):
            while self._unsent or self._format():
                self._send()

    def _format(self) -> bool:
        """Make lines of some records; False when nothing waits."""
        lines: list[str] = []
        while self._waiting and len(lines) < _AT_ONCE:
            record = self._waiting.popleft()
            lines.append(self._step_line(record) if isinstance(record, Iteration) else self._mark_line(record))
        if not self._full and self._sent + sum(map(len, lines)) > MOST_BYTES:
            self._full = True
            self._dropped += len(self._waiting)
            self._waiting.clear()
        if self._full:
            self._dropped += len(lines)
            lines = []
        # of a full file twice: when it becomes full, and with the whole number at the end
        if self._dropped > self._dropped_told and (self._closing or not self._full_told):
            self._dropped_told, self._full_told = self._dropped, self._full
            reason = f"the file has its most of {MOST_BYTES} bytes" if self._full else f"more than {MOST_WAITING} waited for the disk"
            lines.append(self._mark_line(Mark(time.perf_counter_ns(), "sdk_dropped", f"{self._dropped} records so far: {reason}", -1,
                                              {"dropped": str(self._dropped)})))
        self._unsent = "".join(lines).encode()
        return bool(lines)

    def _send(self) -> None:
        """Write what is formatted, going on where the last try was cut off."""
        if self._file >= 0 and not self._is_ours():
            # removed, or closed under us: the number may be another file's by now
            self._file = -1
            if self._torn:
                self._torn = False
                self._unsent = self._unsent.partition(b"\n")[2]
        if self._file < 0:
            self._open()
        while self._unsent:
            done = os.write(self._file, self._unsent)
            self._torn = self._unsent[done - 1:done] != b"\n"
            self._unsent = self._unsent[done:]
            self._sent += done

    def _is_ours(self) -> bool:
        try:
            now = os.fstat(self._file)
        except OSError:
            return False
        return now.st_nlink > 0 and (now.st_dev, now.st_ino) == self._identity

    def _open(self) -> None:
        path = f"{self._place.folder}/{self._place.host}-{os.getpid()}-{self._token}.ndjson"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a collector looked just now whether somebody still writes, and may remove it
            os.close(file)
            raise
        except OSError:
            pass  # no locks on this file system
        now = os.fstat(file)
        self._file, self._identity = file, (now.st_dev, now.st_ino)

    def _time(self, counter_ns: int) -> str:
        second, rest = divmod(self._anchor_ns + counter_ns, 1_000_000_000)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{rest:09d}Z"

    def _step_line(self, step: Iteration) -> str:
        self._serial += 1
        parts = [f'{{"kind":"step","@timestamp":"{self._time(step.begin)}"{self._step_id}-{step.number}-{self._token}.{self._serial}"',
                 f'{self._step_head},"step":{step.number},"duration_s":{(step.end - step.begin) / 1e9}']
        spent = step.spent
        # a phase that occurred took time
        parts += [f"{name}{spent[index] / 1e9}" for index, name in _WRITTEN if spent[index] > 0]
        if step.cpu_end:
            parts.append(f',"cpu_s":{max(step.cpu_end - step.cpu_begin, 0) / 1e9}')
        if spent[0] and step.wait_cpu is not None:
            parts.append(f',"data_wait_cpu_s":{max(step.wait_cpu, 0) / 1e9}')
        parts += [f"{name}{value}" for name, value in zip(_BATCH, step.batch) if value is not None]  # noqa: B905 - Python 3.9 has no strict
        parts.append("}\n")
        return "".join(parts)

    def _mark_line(self, mark: Mark) -> str:
        self._serial += 1
        identity = f"{self._id}-{self._token}.{self._serial}"
        record: dict[str, object] = {"kind": "event", "@timestamp": self._time(mark.at), "event.id": identity, **self._about,
                                     "event.action": mark.action}
        if mark.reason is not None:
            record["event.reason"] = mark.reason
        if mark.step >= 0:
            record["step"] = mark.step
        if mark.labels:
            record["labels"] = mark.labels
        return json.dumps(record, separators=(",", ":")) + "\n"
