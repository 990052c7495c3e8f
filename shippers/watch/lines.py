"""Cut the output of a command into log records, bounded in length and in rate."""

import re
from collections.abc import Iterator
from typing import Any

from pinchpoint.clock import format_time

MOST_LINE_BYTES = 1 << 14
MOST_LINES_A_SECOND = 1000
_NS = 1_000_000_000
# Every part ends at the next escape character at the latest, so a hostile line costs linear time.
_CONTROL = re.compile(rb"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]|\x1b\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|\x1b[@-Z\\-_]"
                      rb"|[\x00-\x08\x0b-\x1f\x7f]")
_LEVEL = re.compile(r"\b(?:(CRITICAL|FATAL)|(ERROR)|(WARN(?:ING)?)|(INFO)|(DEBUG)|(TRACE))\b"
                    r"|(?i:\blevel[\"']?[=:] ?[\"']?(?:(critical|fatal)|(error)|(warn(?:ing)?)|(info)|(debug)|(trace))\b)")
_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")
_FAILURE = re.compile(r"^Traceback \(most recent call last\)|^[\w.]{1,100}(?:Error|Exception)\b")
_LOOKED_AT = 200


class LineCutter:
    """Turns the chunks of one output into log records, without the fields that name the run.

    A line ends at a line feed or at a carriage return, as progress bars write it. Lines above `MOST_LINES_A_SECOND` are counted
    and left out; one event record a second says how many.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._rest_offset = 0
        self._cut = False
        self._second = -1
        self._lines = 0
        self._left_out = 0

    def feed(self, data: bytes, now_ns: int) -> Iterator[dict[str, Any]]:
        """The records of the lines that are complete with this chunk, which arrived at now_ns."""
        yield from self.tick(now_ns)
        if self._lines >= MOST_LINES_A_SECOND:
            data = self._skip(data)
        # A progress bar ends its lines with carriage returns.
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        offset = self._rest_offset
        for line in lines:
            if not self._cut and (record := self._line(line, offset, now_ns)):
                yield record
            self._cut = False
            offset += len(line) + 1
        self._rest, self._rest_offset = rest, offset
        if self._cut or len(rest) > MOST_LINE_BYTES:
            if not self._cut and (record := self._line(rest, offset, now_ns)):
                yield record
            # What follows up to the end of the line belongs to the record just made.
            self._rest, self._rest_offset, self._cut = b"", offset + len(rest), True

    def tick(self, now_ns: int) -> Iterator[dict[str, Any]]:
        """The event that says how many lines a second before this one had too many; to be called now and then when it is quiet."""
        second = now_ns // _NS
        if second == self._second:
            return
        if self._left_out:
            yield {"kind": "event", "@timestamp": format_time(self._second * _NS), "event.action": "log_lines_left_out",
                   "event.reason": f"{self._left_out} lines of {self._name} above {MOST_LINES_A_SECOND} in a second"}
        self._second, self._lines, self._left_out = second, 0, 0

    def end(self, now_ns: int) -> Iterator[dict[str, Any]]:
        """The records that are due at the end of the output: a last line without an end, and a count."""
        if not self._cut and (record := self._line(self._rest, self._rest_offset, now_ns)):
            yield record
        self._rest = b""
        yield from self.tick(now_ns + _NS)

    def _skip(self, data: bytes) -> bytes:
        """Count the complete lines of a chunk without looking at them; returns what follows them."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            return data
        self._left_out += max(data.count(b"\n"), data.count(b"\r"))
        self._rest_offset += len(self._rest) + end
        self._rest, self._cut = b"", False
        return data[end:]

    def _line(self, line: bytes, offset: int, now_ns: int) -> dict[str, Any] | None:
        if not line.strip():
            return None
        if self._lines >= MOST_LINES_A_SECOND:
            self._left_out += 1
            return None
        self._lines += 1
        message = plain(line[:MOST_LINE_BYTES])
        record = {"kind": "log", "@timestamp": format_time(now_ns), "log.file.path": self._name, "log.offset": offset,
                  "message": message}
        level = guess_level(message)
        if level is not None:
            record["log.level"] = level
        return record


def plain(line: bytes) -> str:
    """The text of a line without colours, cursor moves and control characters.

    >>> plain(b"\\x1b[1;31mloss\\x1b[0m 0.3")
    'loss 0.3'
    """
    return _CONTROL.sub(b"", line).decode("utf-8", errors="replace")


def guess_level(message: str) -> str | None:
    """The level a line gives itself near its start, lower case; None when it gives none.

    >>> guess_level("2026-01-01 12:00:00 [WARN] slow"), guess_level("ValueError: no"), guess_level("step 3")
    ('warning', 'error', None)
    """
    start = message[:_LOOKED_AT]
    if _FAILURE.match(start):
        return "error"
    found = _LEVEL.search(start)
    return None if found is None else _LEVELS[((found.lastindex or 1) - 1) % len(_LEVELS)]
