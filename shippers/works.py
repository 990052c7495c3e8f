"""All that runs under one configuration: files and spool in, outputs out, a lane for each output."""

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pinchpoint.clock import Clock
from pinchpoint.config import Config
from pinchpoint.errors import ConfigError, UsageError
from pinchpoint.ship_settings import Ship
from shippers.feeding import Feeds
from shippers.items import Input
from shippers.lanes import Ending, Lane, Say
from shippers.outputs.base import Output
from shippers.outputs.opening import Surroundings, open_output, output_name
from shippers.redact import Redactor
from shippers.self_metrics import Sample, of_counters, of_process, readings
from shippers.spool import Spool, SpoolInput
from shippers.tail import FileSet, Registry, Survey, Tail

#: What is asked of a file's lane less often than its output wants it, so that it is ready when asked.
_SHARE_OF_LINGER = 0.9


@dataclasses.dataclass(frozen=True, slots=True)
class Manner:
    """How an agent works."""

    patient: bool = True
    """Listens, and waits for outputs without end; else it ships what is there, and gives up after a while."""
    patience_s: float = 30.0
    open: Callable[[str, Path, Surroundings], Output] = open_output


class Works:
    """Runs from `start` to `close`; a reload makes a new one."""

    def __init__(self, config: Config, urls: Sequence[str], state: Path, clock: Clock, say: Say, manner: Manner) -> None:
        """Open everything; nothing moves yet.

        Raises: UsageError, ConfigError or StoreError for settings that cannot be used, with the name of the setting; OSError when the
            state cannot be read or written.
        """
        ship = config.ship
        self.urls, self._clock, self._since_s = urls, clock, clock.monotonic_s()
        self.ending = Ending()
        self._manner = manner
        self._open: list[Callable[[], None]] = []
        self.lanes: list[Lane] = []
        self._waiting: list[SpoolInput] = []
        self.feeds: Feeds | None = None
        try:
            self._build(config, ship, state, say)
        except BaseException:
            self.close()
            raise

    def _build(self, config: Config, ship: Ship, state: Path, say: Say) -> None:
        host = socket.gethostname()
        redactor = Redactor(ship.redact.patterns)
        sets = file_sets(ship)
        self.spool = Spool(state / "spool", ship.spool.most_bytes, self._clock, fsync=ship.spool.fsync)  # type: ignore[arg-type]
        self._open.append(self.spool.close)
        around = Surroundings(self._clock, self.ending.sleep, config.elasticsearch,
                              None if self._manner.patient else self._manner.patience_s)
        survey = registry = None
        if sets:
            registry = Registry(state / "registry", self._clock)
            self._open.append(registry.close)
            survey = Survey(sets, registry, self._clock)
        for url in self.urls:
            folder = state / "outputs" / output_name(url)
            output = self._manner.open(url, state, around)
            self._open.append(output.close)
            linger_s = output.linger_s * _SHARE_OF_LINGER if self._manner.patient else 0.0
            waiting = self.spool.input(folder / "spool-position", linger_s)
            self._waiting.append(waiting)
            inputs: list[Input] = [waiting]
            if survey is not None and registry is not None:
                tail = Tail(folder, survey, registry, self._clock, {"host.name": host}, redactor=redactor,
                            linger_s=linger_s)
                self._open.append(tail.close)
                if not self._manner.patient:
                    tail.hurry()
                inputs.insert(0, tail)
            self.lanes.append(Lane(output, inputs, self.ending, say, patient=self._manner.patient))
        (state / "sources").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.feeds = Feeds(ship, state / "sources", self.spool, redactor, host, self._clock, lambda: readings(self.samples(), host),
                           patient=self._manner.patient)
        if self._manner.patient:
            self.feeds.listen(ship)

    def start(self) -> None:
        """Everything moves from now on."""
        for lane in self.lanes:
            lane.start()
        if self.feeds is not None:
            self.feeds.start()

    def finish(self, within_s: float) -> bool:
        """Take in no more, deliver what is there, and end; whether all of it was delivered in time."""
        due_s = self._clock.monotonic_s() + within_s
        if self.feeds is not None:
            self.feeds.close()
            self.feeds = None
        for one in self._waiting:
            one.hurry()
        self.ending.finishing.set()
        ended = [lane.join(max(due_s - self._clock.monotonic_s(), 0.0)) for lane in self.lanes]
        self.stop(0.0)
        return all(ended) and not any(lane.left for lane in self.lanes)

    def stop(self, within_s: float) -> bool:
        """End at the next batch, or in the middle of one that takes longer; whether every thread has ended."""
        due_s = self._clock.monotonic_s() + within_s
        self.ending.at_once.set()
        self.ending.finishing.set()
        for lane in self.lanes:
            if not lane.join(max(due_s - self._clock.monotonic_s(), 0.0)):
                lane.output.abort()
        return [lane.join(1.0) for lane in self.lanes].count(False) == 0

    def close(self) -> None:
        """Let go of everything. Call it when the threads have ended."""
        if self.feeds is not None:
            self.feeds.close()
        while self._open:
            with contextlib.suppress(OSError):  # a full disk must not keep the rest open
                self._open.pop()()

    def tick(self) -> None:
        """What is to be done now and then."""
        self.spool.tick()
        for lane in self.lanes:
            lane.say_trouble()

    def problems(self) -> dict[str, str]:
        """What does not work just now, with the reason."""
        found = {lane.output.name: trouble for lane in self.lanes if (trouble := lane.trouble()) is not None}
        found |= {} if self.feeds is None else self.feeds.problems()
        return found

    def samples(self) -> Iterator[Sample]:
        """All that is counted."""
        yield from of_process(self._clock.monotonic_s() - self._since_s)
        yield from of_counters(self.spool.counters(), "spool.")
        if self.feeds is not None:
            yield from self.feeds.samples()
        for lane in self.lanes:
            name = lane.output.name
            yield from of_counters(lane.output.counters(), "output.", name)
            yield Sample("agent.output.up", 0.0 if lane.trouble() else 1.0, name)
            for one in lane.inputs:
                yield from of_counters(one.counters(), "", name)


def file_sets(ship: Ship) -> list[FileSet]:
    """The files of a configuration. Raises: ConfigError with the name of the setting."""
    found = []
    for place, one in enumerate(ship.files):
        try:
            found.append(FileSet(tuple(str(Path(path).absolute()) for path in one.paths), one.format, one.multiline, one.run, one.rank,
                                 one.labels))
        except ConfigError as error:
            raise ConfigError(str(error).replace("ship.files.", f"ship.files[{place}].", 1)) from error
    return found


def urls_of(config: Config, given: Sequence[str], default: Callable[[], str]) -> list[str]:
    """Where to ship: what the command line says, else `ship.outputs`, else the store.

    Raises: UsageError when one output is named twice.
    """
    urls = list(given or config.ship.outputs or [config.store or default()])
    names = [output_name(url) for url in urls]
    for name, url in zip(names, urls, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"ship.outputs: {url} is named twice")
    return urls


def check(config: Config, urls: Sequence[str], clock: Clock) -> list[str]:
    """Everything that speaks against a configuration, without shipping anything.

    Raises: ConfigError or UsageError for what cannot be meant.
    """
    import os

    from shippers.outputs.opening import check_output

    Redactor(config.ship.redact.patterns)
    against = []
    for files in file_sets(config.ship):
        against += [f"ship.files.paths: {path} matches no file yet" for path in files.paths if not any(matches(path))]
        against += [f"ship.files.paths: {found} cannot be read by this user" for path in files.paths for found in matches(path)
                    if not os.access(found, os.R_OK)]
    around = Surroundings(clock, clock.sleep, config.elasticsearch)
    against += [f"ship.outputs: {why}" for url in urls if (why := check_output(url, around)) is not None]
    return against


def matches(path: str) -> Iterator[Path]:
    """The files that an absolute path or glob means now."""
    return Path("/").glob(path.lstrip("/"))
