"""Everything that is not a file and feeds the spool: readings on a beat, and receivers."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pinchpoint.clock import Clock
from pinchpoint.errors import ConfigError
from pinchpoint.ship_settings import Gpu, Scrape, Ship
from shippers.items import Item
from shippers.polling import Poller, Task
from shippers.redact import Redactor
from shippers.self_metrics import Sample, of_counters
from shippers.sources.documents import event_items, reading_items
from shippers.sources.reading import Reading
from shippers.spool import Spool

_FOLLOWED_EVERY_S = 1.0
#: How long GPUs are waited for where everything is read only once: a driver that keeps no state wakes them one by one.
_FIRST_GPUS_S = 20.0


@runtime_checkable
class Counted(Protocol):
    """Something that tells what happened."""

    def counters(self) -> dict[str, float]:
        """What happened so far."""


class Troubled(Protocol):
    """Something that may be unable to read."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be read just now; None, or empty, when it can."""


class Receiver(Counted, Protocol):
    """Something that runs from its making on, and pushes."""

    def close(self) -> None:
        """Take no more."""


class Followed(Protocol):
    """Something that pushes what is new when it is asked to."""

    def poll(self) -> None:
        """Push what is new. Raises: OSError when the spool takes nothing; it is tried again."""


class Feeds:
    """The sources of one configuration; what they see goes into the spool, without secrets."""

    def __init__(self, ship: Ship, state: Path, spool: Spool, redactor: Redactor, host: str, clock: Clock,
                 of_agent: Callable[[], Iterable[Reading]], *, patient: bool = True) -> None:
        """state: folder in which sources remember how far they are; of_agent: readings of the agent itself; patient: as in `Manner`.

        Raises: ConfigError for what cannot be read, with the name of the setting.
        """
        self._spool, self._redactor, self._host, self._clock = spool, redactor, host, clock
        self._receivers: list[Receiver] = []
        self._counted: list[Counted] = []
        self._closers: list[Callable[[], None]] = []
        self._troubled: list[tuple[str, Troubled]] = []
        self._patient = patient
        tasks = [*self._readings(ship, of_agent), *self._followed(ship, state)]
        self.poller = Poller(tasks, spool.push, clock)

    def start(self) -> None:
        """Read on the beat."""
        self.poller.start()

    def close(self) -> None:
        """Take no more, answer what has arrived."""
        for receiver in self._receivers:
            receiver.close()
        self.poller.close()
        for close in self._closers:
            close()

    def samples(self) -> Iterator[Sample]:
        """What happened in the sources so far."""
        for one in self._counted:
            yield from of_counters(one.counters())
        yield from of_counters({"poll.failures": float(sum(task.failures for task in self.poller.tasks)),
                                "poll.refused_items": float(self.poller.refused)})

    def problems(self) -> dict[str, str]:
        """Sources that cannot be read just now, with the reason."""
        found = {task.name: task.problem for task in self.poller.tasks if task.problem}
        found.update((name, problem) for name, one in self._troubled if (problem := one.problem))
        return found

    def _readings(self, ship: Ship, of_agent: Callable[[], Iterable[Reading]]) -> Iterator[Task]:
        if ship.host is not None:
            yield Task("host", ship.host.interval_s, self._host_reader())
        if ship.gpu is not None:
            yield Task("gpu", ship.gpu.interval_s, self._gpu_reader(ship.gpu))
        for scrape in ship.scrape:
            source = _Scraped(scrape, self._host)
            self._counted.append(source)
            self._troubled.append((f"scrape {source.url}", source))
            self._closers.append(source.close)
            yield Task(f"scrape {scrape.url}", scrape.interval_s, self._reader(source.read))
        yield Task("agent", ship.self.interval_s, self._reader(lambda: list(of_agent())))

    def _followed(self, ship: Ship, state: Path) -> Iterator[Task]:
        """Sources that push what is new and remember how far they are."""
        given: dict[str, Any] = {"push": self._push, "redact": self._redactor, "clock": self._clock}
        if ship.journald is not None:
            from shippers.sources.journald import JournalSource

            journal = JournalSource(self._host, position=state / "journald", with_kernel=ship.kernel is None, **given)
            yield self._follow("journald", _FOLLOWED_EVERY_S, journal)
        if ship.kernel is not None:
            from shippers.sources.kernel_log import KernelLogSource

            yield self._follow("kernel", _FOLLOWED_EVERY_S, KernelLogSource(self._host, position=state / "kernel", **given))
        if ship.jobs is not None:
            from shippers.sources.jobs import JobSource

            jobs = JobSource(self._host, position=state / "jobs", job_folder=ship.jobs.mapping_dir, **given)
            self._troubled.append(("jobs", jobs))
            yield self._follow("jobs", ship.jobs.interval_s, jobs)
        if ship.events is not None and ship.events.watch is not None:
            from shippers.sources.event_folder import EventFolder

            yield self._follow("events", _FOLLOWED_EVERY_S, EventFolder(ship.events.watch, host=self._host, **given))

    def _follow(self, name: str, interval_s: float, source: Followed) -> Task:
        if isinstance(source, Counted):
            self._counted.append(source)
        if hasattr(source, "close"):
            self._closers.append(source.close)
        return Task(name, interval_s, _nothing(source.poll))

    def _host_reader(self) -> Callable[[], list[Item]]:
        import os

        from shippers.sources.cgroup import CgroupSource
        from shippers.sources.filesystem import FilesystemSource
        from shippers.sources.host import HostSource
        from shippers.sources.infiniband import InfinibandSource
        from shippers.sources.network import NetworkSource
        from shippers.sources.nfs import NfsSource

        sources: list[Any] = [HostSource(self._host), NetworkSource(self._host), InfinibandSource(self._host),
                              FilesystemSource(self._host), NfsSource(self._host), CgroupSource(self._host, os.getpid())]
        self._closers += [source.close for source in sources if hasattr(source, "close")]
        return self._reader(lambda: [reading for source in sources for reading in source.read()])

    def _gpu_reader(self, settings: Gpu) -> Callable[[], list[Item]]:
        from shippers.gpu.keeper import Pace
        from shippers.gpu.source import GpuSource

        source = GpuSource(self._host, self._clock, Pace(settings.interval_s, settings.slow_interval_s))
        self._troubled.append(("gpu", source))
        self._counted.append(source)
        self._closers.append(source.close)
        read = self._reader(source.read)

        def all_items() -> list[Item]:
            if not self._patient:
                source.settle(_FIRST_GPUS_S)
            return read() + event_items(source.events(), self._redactor)

        return all_items

    def _reader(self, read: Callable[[], list[Reading]]) -> Callable[[], list[Item]]:
        return lambda: reading_items(read(), self._clock.now_ns(), self._host, self._redactor)

    def _push(self, items: Sequence[Item]) -> None:
        """What receivers are given: an error when the spool can take nothing without losing what no output has."""
        if not self._spool.offer(items):
            raise OSError(errno.ENOSPC, "the spool is full")

    def listen(self, ship: Ship) -> None:
        """Open the receivers. Raises: ConfigError or UsageError with the name of the setting."""
        if ship.otlp is not None:
            from shippers.sources.otlp import OtlpReceiver

            token = None if ship.otlp.token_file is None else secret(ship.otlp.token_file, "ship.otlp.token_file")
            self._add(OtlpReceiver(ship.otlp.listen, push=self._push, is_full=self._spool.is_full, redact=self._redactor, host=self._host,
                                   clock=self._clock, token=token))
        if ship.events is not None and ship.events.listen is not None:
            from shippers.sources.webhook import WebhookReceiver

            if ship.events.secret_file is None:
                raise ConfigError("ship.events.secret_file: is missing: webhooks are believed only when they are signed with it")
            self._add(WebhookReceiver(ship.events.listen, secret=secret(ship.events.secret_file, "ship.events.secret_file"),
                                      push=self._push, redact=self._redactor, clock=self._clock))

    def _add(self, receiver: Receiver) -> None:
        self._receivers.append(receiver)
        self._counted.append(receiver)


class _Scraped:
    """An exporter, with the URL that problems are told of."""

    def __init__(self, scrape: Scrape, host: str) -> None:
        from shippers.sources.scrape import ScrapeSource

        self.url = scrape.url.partition("?")[0].rpartition("@")[2]
        self._source = ScrapeSource(scrape.url, host, token_file=scrape.token_file, ca_file=scrape.ca_file)
        self.read, self.counters, self.close = self._source.read, self._source.counters, self._source.close

    @property
    def problem(self) -> str:
        return self._source.problem


def _nothing(poll: Callable[[], None]) -> Callable[[], list[Item]]:
    """A source that pushes by itself, as one that is read."""
    def read() -> list[Item]:
        poll()
        return []

    return read


def secret(path: Path, name: str) -> bytes:
    """What a file of one secret holds. Raises: ConfigError that names the setting."""
    try:
        data = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from error
    if not data:
        raise ConfigError(f"{name}: {path} is empty")
    return data
