"""Ship what is there and end, or only show it."""

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pinchpoint.clock import Clock
from pinchpoint.config import Config
from shippers.items import Item
from shippers.lanes import Say
from shippers.outputs.base import Output
from shippers.outputs.opening import Surroundings
from shippers.works import Manner, Works

_A_LONG_TIME_S = 1e9


def ship_once(config: Config, urls: Sequence[str], state: Path, clock: Clock, say: Say) -> int:
    """Ship all there is; returns 1 when something is left. The caller holds the lock of the state folder."""
    return _run(config, urls, state, clock, say, Manner(patient=False))


def show(config: Config, urls: Sequence[str], state: Path, clock: Clock, say: Say, out: BinaryIO) -> int:
    """Print the documents that the first output would get; no progress is made, and nothing is sent.

    A copy of the state is worked with, so that an agent may run meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        copy = Path(folder) / "state"
        if state.is_dir():
            shutil.copytree(state, copy, ignore=shutil.ignore_patterns("dead-letter*", "lock"), ignore_dangling_symlinks=True)

        def opened(url: str, state: Path, around: Surroundings) -> Output:
            return _Printer(out)

        # taking an event from its folder is progress
        config = dataclasses.replace(config, ship=dataclasses.replace(config.ship, events=None))
        return _run(config, urls[:1], copy, clock, say, Manner(patient=False, open=opened))


def _run(config: Config, urls: Sequence[str], state: Path, clock: Clock, say: Say, manner: Manner) -> int:
    works = Works(config, urls, state, clock, say, manner)
    try:
        if works.feeds is not None:
            works.feeds.poller.poll()
        works.ending.finishing.set()
        for lane in works.lanes:
            lane.start()
        for lane in works.lanes:
            lane.join(_A_LONG_TIME_S)
        for lane in works.lanes:
            if lane.left is not None:
                say(f"{lane.output.name}: not everything was delivered: {lane.left}")
        return 1 if any(lane.left for lane in works.lanes) else 0
    except KeyboardInterrupt:
        works.stop(1.0)
        raise
    finally:
        works.close()


class _Printer:
    """An output that prints documents with their kind, a line each."""

    name = "stdout"
    linger_s = 0.0

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def most_bytes(self) -> int:
        return 1 << 20

    def deliver(self, items: Sequence[Item], *, may_leave: bool = False) -> Sequence[Item]:
        self._out.write(b"".join([b'{"kind":"%b",%b\n' % (item.kind.encode(), item.document[1:]) for item in items]))
        self._out.flush()
        return ()

    def trouble(self) -> str | None:
        return None

    def counters(self) -> Mapping[str, float]:
        return {}

    def abort(self) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is held."""
