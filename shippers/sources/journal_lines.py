"""Turn lines of `journalctl -o json` into records of kind log."""

from collections.abc import Mapping
from typing import Any

import orjson

from pinchpoint.clock import format_time
from shippers.sources.kernel_log import LEVELS

#: What is asked of journalctl; cursor and times come always.
FIELDS = ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_COMM", "_PID", "_HOSTNAME", "_SYSTEMD_UNIT", "_TRANSPORT", "CONTAINER_ID_FULL",
          "CONTAINER_NAME")
_LABELS = {"_SYSTEMD_UNIT": "systemd.unit", "_TRANSPORT": "journald.transport", "CONTAINER_ID_FULL": "container.id",
           "CONTAINER_NAME": "container.name"}


def journal_record(line: bytes, host: str) -> tuple[str, dict[str, Any]]:
    """The cursor of an entry, and its record.

    Raises: ValueError when the line is no entry.
    """
    entry = orjson.loads(line)
    if not isinstance(entry, dict) or not isinstance(entry.get("__CURSOR"), str):
        raise ValueError("no entry of a journal")
    time_us = _text(entry, "__REALTIME_TIMESTAMP")
    if not time_us.isascii() or not time_us.isdigit() or len(time_us) > 16:
        raise ValueError("an entry without its time")
    record: dict[str, Any] = {"@timestamp": format_time(int(time_us) * 1000), "message": _text(entry, "MESSAGE"),
                              "log.file.path": "journald", "host.name": _text(entry, "_HOSTNAME") or host}
    priority, pid = _text(entry, "PRIORITY"), _text(entry, "_PID")
    if len(priority) == 1 and priority in "01234567":
        record["log.level"] = LEVELS[int(priority)]
    if pid.isascii() and pid.isdigit() and len(pid) < 12:
        record["process.pid"] = int(pid)
    labels = {label: value for name, label in _LABELS.items() if (value := _text(entry, name))}
    if name := _text(entry, "SYSLOG_IDENTIFIER") or _text(entry, "_COMM"):
        labels["process.name"] = name
    if labels:
        record["labels"] = labels
    return entry["__CURSOR"], record


def _text(entry: Mapping[str, Any], name: str) -> str:
    """A field as text: journalctl gives bytes that are no text as a list of numbers, and a field that is there twice as a list of both."""
    value = entry.get(name)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    if all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return bytes(value).decode(errors="replace")
    return "\n".join(_text({"": each}, "") for each in value)
