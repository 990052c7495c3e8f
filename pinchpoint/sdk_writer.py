"""Write records as whole lines from a thread of its own, bounded in memory and on disk: standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections import deque
from typing import Any

#: Records that wait for the writer; beyond that the oldest are dropped and counted.
_MOST_WAITING = 65_536
_MOST_BYTES = 1 << 30
_WRITE_EVERY_S = 0.2
_CLOSE_WITHIN_S = 2.0


def whole(value: object) -> int | None:
    """A whole number from 0 below 2**62, or None."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 0 <= number < 1 << 62 else None


class Writer:
    """Formats records and writes them as whole lines, in a thread of its own that starts with the first record."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._waiting: deque[Any] = deque(maxlen=_MOST_WAITING)
        self.renew()

    def renew(self) -> None:
        """Begin anew, as a forked child must: threads do not survive a fork, and the file belongs to the parent."""
        self._waiting.clear()
        self._dropped = 0
        self._lost_said = 0
        self._written = 0
        self._file: int | None = None
        self._failed = False
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._closing = False
        self._occurrence: dict[int, int] = {}
        self._token = os.urandom(4).hex()

    def put(self, record: Any) -> None:
        """Leave a record for the writer; never blocks."""
        if len(self._waiting) == _MOST_WAITING:
            self._dropped += 1
        self._waiting.append(record)
        if self._thread is None and not self._failed:
            self._thread = threading.Thread(target=self._write_on, name="pinchpoint", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and give up when the disk does not take it in time."""
        self._closing = True
        self._wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_CLOSE_WITHIN_S)
        self._closing = False
        self._wake.clear()
        self._thread = None

    def _write_on(self) -> None:
        while not self._closing:
            self._wake.wait(_WRITE_EVERY_S)
            if self._waiting:
                self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines = []
        while self._waiting:
            with contextlib.suppress(Exception):
                lines.append(self._line(self._waiting.popleft()))
            if len(lines) >= 1000:
                self._write(lines)
                lines = []
        if self._dropped > self._lost_said:
            self._lost_said = self._dropped
            lines.append(json.dumps({"kind": "event", "@timestamp": time.time_ns(), "event.action": "sdk_dropped",
                                     "event.reason": f"{self._dropped} records so far: the disk was too slow"}))
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if not lines or self._failed:
            return
        data = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        try:
            if self._file is None:
                self._file = self._open()
            if self._written + len(data) > _MOST_BYTES:
                self._dropped += len(lines)
                return
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
            self._written += done
        except OSError:
            # a full or vanished disk: a torn line is closed with the next attempt, and what was lost is counted
            self._dropped += len(lines)
            if self._file is None:
                self._failed = True
            else:
                with contextlib.suppress(OSError):
                    os.write(self._file, b"\n")

    def _open(self) -> int:
        name = f"{socket.gethostname()}-{os.getpid()}-{self._token}.ndjson"
        file = os.open(f"{self._folder}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):
            # held while we live: a collector sees by it whether the file may still grow
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def _line(self, record: Any) -> str:
        if isinstance(record, dict):
            record["process.pid"] = str(os.getpid())
            record["event.id"] = f"{self._token}-{record['@timestamp']:x}"
            return json.dumps({key: value for key, value in record.items() if value is not None})
        began, lasted, step, seconds, cpu, wait_cpu, samples, tokens, batch_bytes, epoch, about = record
        again = self._occurrence.get(step, 0)
        self._occurrence = {step: again + 1}
        line = {"kind": "step", "@timestamp": began, "event.id": f"{about['run.id']}-{about['rank']}-{step}-{self._token}-{again}", **about,
                "process.pid": os.getpid(), "step": step, "epoch": whole(epoch), "duration_s": lasted / 1e9,
                **{f"phase.{name}_s": spent / 1e9 for name, spent in seconds.items() if name != "other"}, "cpu_s": cpu / 1e9,
                "data_wait_cpu_s": wait_cpu / 1e9 if "data_wait" in seconds else None, "samples": whole(samples),
                "tokens": whole(tokens), "batch_bytes": whole(batch_bytes)}
        return json.dumps({key: value for key, value in line.items() if value is not None})
