"""Read the log of the kernel from /dev/kmsg: its lines as logs, its errors as events too."""

import enum
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pinchpoint.clock import NS, Clock, format_time
from pinchpoint.gpu_errors.reader import KernelReader
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, without_secrets
from shippers.sources.position import Position
from shippers.sources.reading import ROOT, read_once

PATH = "/dev/kmsg"
#: A driver gone wild writes faster than anybody reads. What is above stays in the kernel's buffer and is read later, until overwritten.
MOST_A_SECOND = 1000
_RECORD_BYTES = 1 << 14  # a record has 8 KiB at most, and a smaller buffer is refused
LEVELS = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_FACILITIES = {0: "kern", 1: "user", 3: "daemon", 4: "auth", 5: "syslog", 10: "authpriv"}


class KernelLogState(enum.Enum):
    """Whether the log can be read, and why not."""

    READING = "the log is being read"
    ABSENT = "there is no /dev/kmsg here, as in a container"
    FORBIDDEN = "/dev/kmsg cannot be read: run the agent as root, or give it CAP_SYSLOG"


class KernelRecord(NamedTuple):
    """One record."""

    priority: int
    sequence: int
    since_boot_us: int
    message: str


def parse_record(data: bytes) -> KernelRecord:
    r"""One record as it is read from /dev/kmsg.

    Raises: ValueError when it is none.

    >>> parse_record(b"6,339,5140900,-,caller=T1;NET: Registered protocol\n SUBSYSTEM=net\n")
    KernelRecord(priority=6, sequence=339, since_boot_us=5140900, message='NET: Registered protocol')
    """
    head, semicolon, rest = data.partition(b";")
    words = head.split(b",")
    if not semicolon or len(words) < 4:
        raise ValueError("no record of the kernel log")
    # lines after the first that begin with a space are properties of the device; the kernel escapes line feeds of the message
    text = rest.partition(b"\n")[0].decode(errors="replace")
    message = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), text) if "\\x" in text else text
    return KernelRecord(int(words[0]), int(words[1]), int(words[2]), message)


class KernelLogSource:
    """Pushes the records of this boot, also those from before the agent started, each once.

    Args:
        host: name of this host.
        push: takes items to the spool; when it raises OSError the records are read again.
        position: file that keeps the number of the last record pushed.
        open_log: gives the descriptor of the log, from its oldest record.
        root: where the kernel's files are.
    """

    def __init__(self, host: str, *, push: Callable[[list[Item]], None], redact: Redact, clock: Clock, position: Path,
                 open_log: Callable[[], int] = lambda: os.open(PATH, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC),
                 root: Path = ROOT) -> None:
        self._host, self._push, self._redact, self._clock, self._open_log = host, push, redact, clock, open_log
        self._boot = (read_once(root / "proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()
        self._position = Position(position)
        saved = self._position.load()
        last = saved.get("sequence") if saved.get("boot") == self._boot else None
        self._last = last if isinstance(last, int) else -1
        self._descriptor = -1
        self._second, self._taken = -1, 0
        self._reader = KernelReader()
        self.state = KernelLogState.READING
        self.counts = {"records": 0, "errors": 0, "overwritten": 0, "bad": 0}

    def poll(self) -> None:
        """Push what is new, as much as the rate allows.

        Raises: OSError when the spool or the position cannot be written; nothing is lost by that.
        """
        if self._descriptor < 0 and not self._open():
            return
        items, last = self._take()
        if not items and last == self._last:
            return
        try:
            if items:
                self._push(items)
            self._position.save({"boot": self._boot, "sequence": last})
        except OSError:
            self.close()  # from its beginning again: what was pushed is known by its number
            raise
        self._last = last
        self.counts["errors"] += sum(item.kind == "event" for item in items)
        self.counts["records"] += sum(item.kind == "log" for item in items)

    def counters(self) -> dict[str, float]:
        """Records pushed, errors told of, records that the kernel overwrote before they were read, and records that were none."""
        return {f"kernel.{name}": float(count) for name, count in self.counts.items()}

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> bool:
        try:
            self._descriptor = self._open_log()
            self.state = KernelLogState.READING
        except PermissionError:
            self.state = KernelLogState.FORBIDDEN
        except OSError:
            self.state = KernelLogState.ABSENT
        return self._descriptor >= 0

    def _take(self) -> tuple[list[Item], int]:
        """The items of the records that are there, and the number of the last of them."""
        now_ns = self._clock.now_ns()
        booted_ns = now_ns - int(self._clock.monotonic_s() * NS)
        if now_ns // NS != self._second:
            self._second, self._taken = now_ns // NS, 0
        made: list[tuple[str, str, dict[str, Any]]] = []
        last = self._last
        while self._taken < MOST_A_SECOND and (data := self._read()) is not None:
            try:
                record = parse_record(data)
            except ValueError:
                self.counts["bad"] += 1
                continue
            if record.sequence <= last:
                self._reader.learn(record.message, self._host)
                continue
            if last >= 0 and record.sequence > last + 1:
                self.counts["overwritten"] += record.sequence - last - 1
            last = record.sequence
            self._taken += 1
            identity = f"{self._boot}-{record.sequence:x}"
            made.append(("log", identity, self._document(record, booted_ns)))
            event = self._event(record, booted_ns)
            if event is not None:
                made.append(("event", f"{identity}-error", event))
        without_secrets((document for *_, document in made), self._redact)
        items = [make_item(kind, document, identity) for kind, identity, document in made]
        return [item for item in items if item is not None], last

    def _read(self) -> bytes | None:
        """The next record; None when there is none now."""
        while True:
            try:
                return os.read(self._descriptor, _RECORD_BYTES) or None
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.EPIPE:
                    return None
                # overwritten while we were away: the next read gives the oldest that is left, and its number tells how many are gone

    def _event(self, record: KernelRecord, booted_ns: int) -> dict[str, Any] | None:
        """What the kernel itself tells of as an error; programs may write into its log too."""
        if record.priority >> 3:
            return None
        return self._reader.event(record.message, booted_ns + record.since_boot_us * 1000, record.sequence, self._host)

    def _document(self, record: KernelRecord, booted_ns: int) -> dict[str, Any]:
        return {"@timestamp": format_time(booted_ns + record.since_boot_us * 1000), "message": record.message,
                "log.level": LEVELS[record.priority & 7], "log.file.path": PATH, "log.offset": record.sequence, "host.name": self._host,
                "labels": {"log.syslog.facility": _FACILITIES.get(record.priority >> 3, str(record.priority >> 3))}}
