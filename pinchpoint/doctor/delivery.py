"""What became of the documents that this host sent: the counts of its writers, and what the server would not take."""

import collections
import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pinchpoint.clock import NS, SYSTEM_CLOCK, parse_time
from pinchpoint.delivery.counters import MEANINGS, Count, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.doctor.check import Check, State, ago, some
from pinchpoint.doctor.disk import room

_DAY_NS = 86400 * NS
#: What was counted here is not where it should be; everything else was sent again and arrived.
_LOSING = ("rejected", "failure_store", "refused", "dead_letter_full")
_TAIL_BYTES = 1 << 20
_PARTICULAR = re.compile(r"'[^']*'|\d+")


def ledger(path: Path, now_ns: int) -> Iterator[Check]:
    """Each fault that the writers of this host counted: as a fault while it is news and documents wait for a person."""
    counts = Ledger(path).read()
    if path.exists() and not counts:
        yield Check("deliveries", "warning", f"the counts in {path} cannot be read.",
                    next_step=f"delete {path}; counting starts again from zero")
        return
    faults = {name: count for name, count in counts.items() if MEANINGS[name][1] is not None and count.number}
    if not faults:
        stored = sum(counts[name].number for name in ("stored", "repeated") if name in counts)
        says = f"{stored:,} documents were stored from this host, without a fault." if stored else "this host has sent nothing there yet."
        yield Check("deliveries", "ok", says)
    for name, count in faults.items():
        meaning, remedy = MEANINGS[name]
        details = (f"last: {count.detail}",) if count.detail else ()
        says = f"{count.number:,} {meaning}{_when(count, now_ns)}."
        yield Check(f"deliveries: {name}", _state(name, count, now_ns), says, details, remedy)


def _state(name: str, count: Count, now_ns: int) -> State:
    last_ns = _time_ns(count.last)
    recent = last_ns is None or now_ns - last_ns < _DAY_NS
    if name in _LOSING:
        return "fault" if recent else "warning"
    return "warning" if recent else "ok"


def _when(count: Count, now_ns: int) -> str:
    last_ns = _time_ns(count.last)
    return "" if last_ns is None else f", the last {ago(last_ns, now_ns)}"


def _time_ns(text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except (ValueError, AttributeError):
        return None


def dead_letters(path: Path) -> Iterator[Check]:
    """Documents that were set aside, and whether more could be."""
    count = DeadLetters(path, SYSTEM_CLOCK).count()
    if count:
        reasons = list(_newest(path))
        numbers = collections.Counter(map(_kind, reasons))
        example = {_kind(reason): reason for reason in reasons}
        yield Check("dead letters", "fault", f"{count:,} document{'s' if count != 1 else ''} that the server will never take "
                    f"{'are' if count != 1 else 'is'} kept in {path}.",
                    some([f"{number} × {example[kind]}" for kind, number in numbers.most_common()]),
                    "read the file: the reason stands beside each document. Mend what it says, then delete the file")
    disk = room(path.parent)
    if disk.is_full or not disk.writable:
        yield Check("dead letters: disk", "fault", f"{path.parent} has {disk}: what a server rejects cannot be set aside, and "
                    "delivery stops with it.", next_step="make room there, or name another folder with $XDG_STATE_HOME")
    elif not count:
        yield Check("dead letters", "ok", "none.")


def _newest(path: Path) -> Iterator[str]:
    """Why the documents of the last part of the file were refused: of one that grew for months, the whole would take minutes."""
    with path.open("rb") as file:
        start = max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0)
        file.seek(start)
        lines = file.read().split(b"\n")
    for line in lines[1 if start else 0:]:
        with contextlib.suppress(ValueError, RecursionError, TypeError, LookupError):
            one = json.loads(line)
            yield f"{one['error.type']}: {' '.join(str(one['error.reason']).split())[:200]}"


def _kind(reason: str) -> str:
    """A reason without the ids and positions that make each one different."""
    return _PARTICULAR.sub("…", reason)
