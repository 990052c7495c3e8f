"""Take change events from files that are dropped into a folder, one JSON object each."""

import contextlib
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from pinchpoint import fields
from pinchpoint.clock import NS, Clock, format_time, parse_time
from pinchpoint.errors import ConfigError
from shippers.items import Item
from shippers.sources.documents import Redact, make_item, place_fields, without_secrets

MOST_BYTES = 1 << 16
_KEPT = 1000
_MOST_AT_ONCE = 1000
#: A file that makes no sense may be one that is being written; renaming a finished one into the folder avoids the wait.
_STILL_WRITTEN_S = 5.0


class EventFolder:
    """Events of the files `*.json` in a folder; a file is moved to `done/` once pushed, to `bad/` when it is no event.

    Args:
        folder: made when absent.
        push: takes items to the spool; raises OSError when it cannot, and the files are tried again.
        host: `host.name` of events that name none.
    Raises: ConfigError when the folder cannot be used.
    """

    def __init__(self, folder: Path, *, push: Callable[[list[Item]], None], redact: Redact, host: str, clock: Clock) -> None:
        self._folder, self._push, self._redact, self._host, self._clock = folder, push, redact, host, clock
        self._done, self._bad = folder / "done", folder / "bad"
        self._counts = {"taken": 0.0, "bad": 0.0, "failed": 0.0}
        try:
            for each in (folder, self._done, self._bad):
                each.mkdir(mode=0o750, exist_ok=True, parents=each is folder)
        except OSError as error:
            raise ConfigError(f"ship.events.watch: cannot use {folder} ({error.strerror}). Make it writable for the agent, or name another "
                              "folder") from error

    def poll(self) -> None:
        """Take what is there now."""
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries if entry.name.endswith(".json") and not entry.name.startswith("."))
        except OSError:
            self._counts["failed"] += 1
            return
        for name in names[:_MOST_AT_ONCE]:
            try:
                self._take(name)
            except OSError:  # gone meanwhile, or the disk or the spool is full: it stays, and is tried again
                self._counts["failed"] += 1

    def counters(self) -> dict[str, float]:
        """Files taken, files that were no events, and tries that failed."""
        return {f"events.{name}": count for name, count in self._counts.items()}

    def _take(self, name: str) -> None:
        data, modified_ns = _read(self._folder / name)
        try:
            if data is None:
                raise ValueError("no file of at most 64 KiB")
            item = self._item(data, modified_ns)
        except ValueError:
            if 0 <= self._clock.now_ns() - modified_ns < _STILL_WRITTEN_S * NS:
                return
            self._counts["bad"] += 1
            _move(self._folder / name, self._bad)
            return
        # pushed twice after a crash between these two lines, with the same id
        self._push([item])
        _move(self._folder / name, self._done)
        self._counts["taken"] += 1

    def _item(self, data: bytes, modified_ns: int) -> Item:
        record = event_record(orjson.loads(data), modified_ns, self._host)
        without_secrets([record], self._redact)
        item = make_item("event", record)
        if item is None:
            raise ValueError("too large")
        return item


def event_record(given: Any, time_ns: int, host: str) -> dict[str, Any]:
    """A record of kind event of a JSON object in the words of the table of fields; other keys become labels.

    Raises: ValueError when it is none.

    >>> event_record({"event.action": "deploy", "version": 3}, 0, "h")
    {'event.action': 'deploy', '@timestamp': '1970-01-01T00:00:00Z', 'host.name': 'h', 'labels': {'version': '3'}}
    """
    if not isinstance(given, dict) or not isinstance(given.get("event.action"), str) or not given["event.action"].strip():
        raise ValueError('expected a JSON object with "event.action"')
    if given.get("kind", "event") != "event":
        raise ValueError("not of kind event")
    record: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for key, value in given.items():
        if key == "labels" and isinstance(value, dict):
            labels |= {name: _text(below) for name, below in value.items()}
        elif key in fields.KINDS["event"] and key not in ("labels", "event.id", "@timestamp"):
            record[key] = _checked(key, value)
        elif key not in ("kind", "@timestamp", "event.id"):
            labels[key] = _text(value)
    time = given.get("@timestamp")
    record["@timestamp"] = format_time(time_ns if time is None else parse_time(time if isinstance(time, str) else ""))
    record.setdefault("host.name", host)
    return place_fields("event", {**record, "labels": labels})


def _checked(key: str, value: Any) -> Any:
    wanted = str if fields.FIELDS[key].type == "text" else int
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ValueError(f"{key}: expected {'a text' if wanted is str else 'a whole number'}")
    return value


def _text(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _read(path: Path) -> tuple[bytes | None, int]:
    """Content and time of change of a file; no content for what is no file or is too large. Links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None, path.lstat().st_mtime_ns
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            return None, found.st_mtime_ns
        return os.read(descriptor, MOST_BYTES), found.st_mtime_ns
    finally:
        os.close(descriptor)


def _move(path: Path, folder: Path) -> None:
    """Move a file, and keep the newest of what was moved there before."""
    path.replace(folder / path.name)
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    if len(names) > _KEPT + _KEPT // 10:
        aged = sorted(names, key=lambda name: (folder / name).lstat().st_mtime_ns)
        for name in aged[:-_KEPT]:
            with contextlib.suppress(OSError):  # a folder, or gone
                (folder / name).unlink()
