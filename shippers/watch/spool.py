"""The folder in which the records of one watched run wait for the store."""

import fcntl
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pinchpoint.errors import StoreError, UsageError

WATCH_FILE = "watch.ndjson"
LOCK_FILE = "lock"
_FLUSH_BYTES = 1 << 16
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # json.dumps would make an encoder each time


class Spool:
    """The folder of one run, locked as long as its watch lives: a folder whose lock is free was left behind."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def create(cls, parent: Path, run_id: str) -> "Spool":
        """Make and lock the folder of a run; a second watch of the same run on this store gets one beside it.

        Raises: StoreError when nothing can be written there.
        """
        name = safe_name(run_id)
        # Under a name that nobody takes for a run until the lock is held.
        fresh = parent / f".{name}.{secrets.token_hex(4)}"
        try:
            fresh.mkdir(parents=True)
            lock = os.open(fresh / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                folder = fresh.rename(parent / name)
            except OSError:
                folder = fresh.rename(parent / f"{name}{fresh.suffix}")
        except OSError as error:
            raise StoreError(f"cannot write to {parent}: {error.strerror}. Name another store with --store PATH.") from error
        return cls(folder, lock)

    @classmethod
    def left_behind(cls, parent: Path) -> Iterator["Spool"]:
        """The folders of runs whose watch has ended without bringing them in, each locked for the caller."""
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if folder.name.startswith("."):
                continue
            lock = lock_if_free(folder / LOCK_FILE)
            if lock is not None:
                yield cls(folder, lock)

    def files(self) -> list[Path]:
        """Files of records, that of watch last."""
        return sorted(self.folder.glob("*.ndjson"), key=lambda path: (path.name == WATCH_FILE, path.name))

    def discard(self) -> None:
        """Drop the records: the command did not start."""
        for path in self.files():
            path.unlink()

    def close(self) -> None:
        """Let go of the folder, and remove it unless a file is left in it."""
        if not self.files():
            (self.folder / LOCK_FILE).unlink(missing_ok=True)
            try:
                self.folder.rmdir()
            except OSError:
                # A process that still runs has begun a file just now: the lock file makes the folder one left behind.
                (self.folder / LOCK_FILE).touch()
        os.close(self._lock)


def lock_if_free(path: Path) -> int | None:
    """A descriptor that holds the lock of a file; None while another process holds it, or where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def safe_name(text: str) -> str:
    """A name for a file and a segment; text that is one already stays as it is.

    >>> safe_name("resnet-1"), safe_name("a/b")
    ('resnet-1', 'a_b-82badf67')
    """
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", text):
        return text
    import hashlib

    digest = hashlib.blake2b(text.encode("utf-8", errors="surrogateescape"), digest_size=4).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_-]', '_', text)[:80]}-{digest}"


def _fallback_folder() -> Path:
    """Where runs wait whose store is not a folder of this machine."""
    import platformdirs

    for folder in (platformdirs.user_data_path("pinchpoint") / "spool", Path(tempfile.gettempdir()) / f"pinchpoint-{os.getuid()}"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="pinchpoint-"))


def spool_parent(store_url: str) -> Path:
    """Where the folders of runs wait: in the lake, or among the user's data where the store is no folder of this machine.

    Raises: UsageError for a store that ends with this process.
    """
    if store_url == "memory:":
        raise UsageError("a store in memory ends with the command: name a folder with --store PATH")
    if "://" not in store_url:
        return Path(store_url).expanduser() / "_spool"
    if store_url.startswith("file://"):
        return Path(store_url.removeprefix("file://")) / "_spool"
    return _fallback_folder() / safe_name(store_url)


class RecordWriter:
    """Appends records as lines of JSON; what cannot be written is counted, for the command must not suffer from a full disk."""

    def __init__(self, path: Path, common: Mapping[str, Any], id_prefix: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._common = dict(common)
        self._id_prefix = id_prefix
        self._lines: list[bytes] = []
        self._bytes = 0
        self._records = 0
        self.lost = 0

    def add(self, record: dict[str, Any]) -> None:
        """Take a record; fields that all records share are added, an identity too."""
        self._records += 1
        whole = {**record, **self._common, "event.id": f"{self._id_prefix}-{self._records}"}
        line = _ENCODE(whole).encode() + b"\n"
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what was taken to the kernel, where it survives the end of this process."""
        if not self._lines:
            return
        data, records = b"".join(self._lines), len(self._lines)
        self._lines.clear()
        self._bytes = 0
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            self.lost += records - data.count(b"\n", 0, written)
            if written and not data.endswith(b"\n", 0, written):
                self._end_torn_line()

    def _end_torn_line(self) -> None:
        # Space may come back; the next record must not be glued to half of this one.
        self._lines.append(b"\n")
        self._bytes = 1

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)
