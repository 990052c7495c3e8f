"""Follow the journal of systemd through journalctl: entries as logs, errors of the kernel as events too."""

import contextlib
import enum
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinchpoint.clock import Clock, parse_time
from pinchpoint.gpu_errors.reader import KernelReader
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, without_secrets
from shippers.sources.journal_lines import FIELDS, journal_record
from shippers.sources.position import Position

MOST_LINE_BYTES = 1 << 20
_MOST_AT_ONCE_BYTES = 4 << 20
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_GRACE_S = 2.0


class JournalState(enum.Enum):
    """Whether the journal is followed, and why not."""

    FOLLOWING = "journalctl runs"
    NO_JOURNALCTL = "journalctl is not installed: this host has no systemd, or this is a container"
    ENDED = "journalctl ended, and is started again soon; see `problem`"


class JournalSource:
    """Pushes the entries of the journal from where it was left; on the first start from now on.

    Args:
        host: name of this host, for entries that name none.
        push: takes items to the spool; while it raises OSError the entries wait in the journal.
        position: file that keeps the cursor of the last entry pushed.
        program: journalctl, found on the path.
        with_kernel: also what the kernel says; else that is left to the kernel log.
    """

    def __init__(self, host: str, *, push: Callable[[list[Item]], None], redact: Redact, clock: Clock, position: Path, with_kernel: bool,
                 program: str = "journalctl") -> None:
        self._host, self._push, self._redact, self._clock, self._program = host, push, redact, clock, program
        self._with_kernel = with_kernel
        self._reader = KernelReader()
        self._position = Position(position)
        cursor = self._position.load().get("cursor")
        self._cursor = cursor if isinstance(cursor, str) else ""
        self._process: subprocess.Popen[bytes] | None = None
        self._output = self._complaints = -1
        self._rest = b""
        self._skipping = False
        self._wait_s = _SHORTEST_WAIT_S
        self._start_at_s = clock.monotonic_s()
        self.state = JournalState.ENDED
        self.problem = ""
        """The last thing journalctl complained of."""
        self.counts = {"entries": 0, "bad": 0, "starts": 0}

    def poll(self) -> None:
        """Push what has come.

        Raises: OSError when the spool or the position cannot be written; the entries are read again.
        """
        if self._process is None and not self._start():
            return
        data, ended = self._read()
        self._listen()
        try:
            self._take(data)
        except OSError:
            self._stop()
            raise
        if ended:
            self._has_ended()

    def counters(self) -> dict[str, float]:
        """Entries pushed, lines that were none, starts of journalctl."""
        return {f"journald.{name}": float(count) for name, count in self.counts.items()}

    def close(self) -> None:
        """End journalctl; what it had not told yet is told next time."""
        self._stop()

    def _start(self) -> bool:
        if self._clock.monotonic_s() < self._start_at_s:
            return False
        # without a cursor: from now on. --all: else fields above 4 KiB come as null
        place = [f"--after-cursor={self._cursor}", "--no-tail"] if self._cursor else ["--lines=0"]
        command = [self._program, "--output=json", "--follow", "--all", "--quiet", f"--output-fields={','.join(FIELDS)}", *place]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            self.state, self.problem = JournalState.NO_JOURNALCTL, error.strerror or ""
            self._start_at_s = self._clock.monotonic_s() + _LONGEST_WAIT_S
            return False
        self._output, self._complaints = (pipe.fileno() for pipe in (self._process.stdout, self._process.stderr) if pipe is not None)
        os.set_blocking(self._output, False)
        os.set_blocking(self._complaints, False)
        with contextlib.suppress(OSError):  # users may have a lower limit
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.state = JournalState.FOLLOWING
        self.counts["starts"] += 1
        return True

    def _read(self) -> tuple[bytes, bool]:
        """What is there, and whether nothing more will come."""
        parts: list[bytes] = []
        size = 0
        while size < _MOST_AT_ONCE_BYTES:
            try:
                data = os.read(self._output, _READ_BYTES)
            except BlockingIOError:
                return b"".join(parts), False
            if not data:
                return b"".join(parts), True
            parts.append(data)
            size += len(data)
        return b"".join(parts), False

    def _listen(self) -> None:
        """Note what it complains of, which must be taken off its hands or it would stop."""
        with contextlib.suppress(BlockingIOError):
            while complaint := os.read(self._complaints, _READ_BYTES):
                self.problem = complaint.decode(errors="replace").strip().rpartition("\n")[2][:200]

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            lines.pop(0)
            self._skipping = False
        if len(self._rest) > MOST_LINE_BYTES:
            self.counts["bad"] += not self._skipping
            self._rest, self._skipping = b"", True
        made, cursor = [], ""
        for line in lines:
            try:
                cursor, record = journal_record(line, self._host)
            except ValueError:
                self.counts["bad"] += bool(line.strip())
                continue
            if self._with_kernel or record.get("labels", {}).get("journald.transport") != "kernel":
                made.append((cursor, record))
        if not cursor:
            return
        without_secrets((record for _, record in made), self._redact)
        kept = [item for each, record in made for item in self._items(each, record)]
        if kept:
            self._push(kept)
        self._position.save({"cursor": cursor})
        self._cursor = cursor
        self._wait_s = _SHORTEST_WAIT_S
        self.counts["entries"] += sum(item.kind == "log" for item in kept)

    def _items(self, cursor: str, record: dict[str, Any]) -> list[Item]:
        """The item of an entry, and that of the error it tells of when the kernel wrote it."""
        identity = hashlib.blake2b(cursor.encode(), digest_size=10).hexdigest()
        items = [make_item("log", record, identity)]
        if record.get("labels", {}).get("journald.transport") == "kernel":
            event = self._reader.event(record["message"], parse_time(record["@timestamp"]), cursor, record["host.name"])
            if event is not None:
                items.append(make_item("event", event, f"{identity}-error"))
        return [item for item in items if item is not None]

    def _has_ended(self) -> None:
        self._stop()
        if "cursor" in self.problem.lower() and self._cursor:
            self._cursor = ""  # of another machine, or damaged: from now on
        self._start_at_s = self._clock.monotonic_s() + self._wait_s
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    def _stop(self) -> None:
        self.state = JournalState.ENDED
        process, self._process = self._process, None
        self._rest, self._skipping = b"", False
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
