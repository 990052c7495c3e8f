"""A file that keeps what a server will never take, each document with the reason, where it can be read and sent again."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinchpoint.clock import Clock, format_time
from pinchpoint.delivery.documents import Rejected
from pinchpoint.errors import DeadLetterError


class DeadLetters:
    """Appends rejected documents to a file of NDJSON: `@timestamp target id status error.type error.reason document`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    def keep(self, target: str, rejected: Sequence[Rejected]) -> None:
        """Write documents down; when this returns they are durable.

        After a crash in between the same document can stand here twice; its id tells. A document is kept as JSON where it is
        JSON, else as text.

        Raises: DeadLetterError when the file cannot be written; it is as before then.
        """
        if not rejected:
            return
        now = format_time(self._clock.now_ns())
        data = b"".join(_line(now, target, one) for one in rejected)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DeadLetterError(_what(self.path, error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = os.fstat(descriptor).st_size
            try:
                while data:
                    data = data[os.write(descriptor, data):]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        except OSError as error:
            raise DeadLetterError(_what(self.path, error)) from error
        finally:
            os.close(descriptor)

    def read(self) -> Iterator[dict[str, Any]]:
        """Every document that was kept, oldest first; lines that cannot be read are passed over."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError):
                        continue
        except FileNotFoundError:
            return

    def count(self) -> int:
        """How many documents are kept."""
        try:
            with self.path.open("rb") as file:
                return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        except FileNotFoundError:
            return 0


def _line(now: str, target: str, one: Rejected) -> bytes:
    try:
        document: Any = json.loads(one.item.document)
        json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError):
        document = one.item.document.decode("utf-8", "backslashreplace")
    about = {"@timestamp": now, "target": target, "id": one.item.id, "status": one.status, "error.type": one.type,
             "error.reason": one.reason, "document": document}
    return json.dumps(about, separators=(",", ":")).encode() + b"\n"


def _what(path: Path, error: OSError) -> str:
    return (f"cannot write the dead-letter file {path}: {error.strerror}. Make room there or name another folder with "
            "$XDG_STATE_HOME; the documents stay where they are and are sent again")
