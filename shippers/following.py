"""Look at inputs that grow, again and again, and say when the answer changes."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pinchpoint.clock import Clock

Answer = dict[str, Any]

#: Looking takes at most so much of the time: each look reads everything anew, and what grows takes longer and longer.
_BUSY_SHARE = 0.1


def follow(paths: tuple[str, ...], look: Callable[[], Answer], tell: Callable[[Answer, bool], bool], every_s: float, clock: Clock,
           ended: threading.Event) -> Answer:
    """Look whenever the inputs have changed, until they have ended; returns the last answer.

    Args:
        paths: the files and folders.
        look: gives the answer of the moment.
        tell: is given each answer, and whether it says something else than the one before; looking ends when it returns True.
        every_s: so often is looked at most.
        clock: tells the time.
        ended: set when nothing more can come.
    """
    seen: object = None
    before: object = None
    while True:
        # asked before looking: what comes in between is seen by the next look
        is_last, now = ended.is_set(), _sizes(paths)
        rest_s = every_s
        if now != seen or is_last:
            seen, begin_s = now, clock.monotonic_s()
            answer = look()
            story = story_of(answer)
            if tell(answer, story != before) or is_last:
                return answer
            before = story
            rest_s = max(every_s, (clock.monotonic_s() - begin_s) / _BUSY_SHARE)
        ended.wait(rest_s)


def story_of(answer: Answer) -> object:
    """What an answer says, without the numbers that grow while it goes on.

    >>> story_of({"verdict": "slow", "incidents": [{"id": "i", "causes": [{"id": "D01", "entity": {"kind": "rank", "id": "0"}}]}]})
    ('slow', (('D01', 'rank', '0'),))
    """
    return answer["verdict"], tuple((cause["id"], cause["entity"]["kind"], cause["entity"]["id"])
                                    for one in answer["incidents"] for cause in one["causes"][:1])


def _sizes(paths: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Size and time of each file."""
    found = []
    for text in paths:
        path = Path(text)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            with contextlib.suppress(OSError):  # gone, or on its way to another name
                about = file.stat()
                found.append((str(file), about.st_size, about.st_mtime_ns))
    return found


@contextlib.contextmanager
def grown_from_stdin(paths: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], threading.Event]]:
    """The inputs with a file that grows in the place of `-`, and what is set when standard input has ended; never where it is no input."""
    ended = threading.Event()
    if "-" not in paths:
        yield paths, ended
        return
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        file = Path(folder) / "stdin"
        file.touch()
        threading.Thread(target=_copy, args=(file, ended), daemon=True).start()
        yield tuple(str(file) if path == "-" else path for path in paths), ended


def _copy(file: Path, ended: threading.Event) -> None:
    try:
        with file.open("ab", buffering=0) as target, contextlib.suppress(OSError):
            while chunk := os.read(sys.stdin.fileno(), 1 << 16):
                target.write(chunk)
    finally:
        ended.set()
