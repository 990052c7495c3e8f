"""The settings of the shipping agent: everything under `[ship]`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pinchpoint import settings
from pinchpoint.settings import choice, needed, number, path, setting, store_urls, table, tables, text, text_map, texts, whole

FORMATS = ("auto", "text", "json", "logfmt", "cri", "docker", "training")
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """Log files that are read alike: each `[[ship.files]]` is one group."""

    paths: tuple[str, ...] = needed("paths and globs of log files; relative ones start at the folder of this file",
                                    lambda value, folder: tuple(str(folder / Path(one).expanduser()) for one in texts(value, folder)))
    format: str = setting("auto", "what a line is: auto, text, json, logfmt, cri, docker, or training: "
                         "text whose errors and step times become records too", choice(*FORMATS))
    multiline: str = setting("python", "python joins tracebacks; else a regular expression that begins a record", text)
    run: str | None = setting(None, "run.id of their records", text)
    rank: int | None = setting(None, "rank of their records", whole(0))
    labels: Mapping[str, str] = setting(_NO_TEXTS, "labels of their records", text_map)


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """Readings of this host; `host = false` leaves them out."""

    interval_s: float = setting(10.0, "time between two readings", number(0))


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """Readings and errors of GPUs, from their driver; `gpu = false` leaves them out, of `pinchpoint watch` too."""

    interval_s: float = setting(1.0, "time between two readings of what changes fast: use, clocks, power, heat, throttling", number(0))
    slow_interval_s: float = setting(30.0, "time between two readings of the rest: limits, errors of memory and links, processes",
                                     number(0))


@dataclasses.dataclass(frozen=True, slots=True)
class Scrape:
    """Exporters that are asked for their metrics: each `[[ship.scrape]]` is one."""

    url: str = needed("page of the exporter, such as http://127.0.0.1:9400/metrics", text)
    interval_s: float = setting(15.0, "time between two readings", number(0))
    token_file: Path | None = setting(None, "file that holds the bearer token the exporter wants; read anew each time", path)
    ca_file: Path | None = setting(None, "authorities that may have signed the exporter's certificate", path)


@dataclasses.dataclass(frozen=True, slots=True)
class Otlp:
    """Receives logs, metrics and traces of OpenTelemetry over HTTP; `[ship.otlp]` turns it on."""

    listen: str = setting("127.0.0.1:4318", "address and port; beyond loopback only with a token", settings.listen)
    token_file: Path | None = setting(None, "file that holds the bearer token which clients must send", path)


@dataclasses.dataclass(frozen=True, slots=True)
class Journald:
    """Follows the journal of systemd; `[ship.journald]` turns it on, `journald = true` too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """Reads the kernel log, where GPU errors, memory kills and sick disks show; `[ship.kernel]` turns it on, `kernel = true` too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Jobs:
    """Tells which job, rank and GPU belong together; `[ship.jobs]` turns it on, `jobs = true` too."""

    interval_s: float = setting(10.0, "time between two looks", number(0))
    mapping_dir: Path | None = setting(None, "folder of an HPC job mapping: a file for each GPU, a job id a line", path)


@dataclasses.dataclass(frozen=True, slots=True)
class Events:
    """Takes in what changed in the world; `[ship.events]` turns it on."""

    watch: Path | None = setting(None, "folder in which each new JSON file is an event", path)
    listen: str | None = setting(None, "address and port for webhooks of Git hosts and Jenkins; needs secret_file", settings.listen)
    secret_file: Path | None = setting(None, "file that holds the secret with which webhooks are signed", path)


@dataclasses.dataclass(frozen=True, slots=True)
class Redact:
    """Secrets are taken out of everything before it is kept or sent."""

    patterns: tuple[str, ...] = setting((), "regular expressions of more secrets, beside passwords, tokens and keys", texts)


@dataclasses.dataclass(frozen=True, slots=True)
class Spool:
    """Where records wait that are not in files."""

    most_bytes: int = setting(256 << 20, "the oldest records go when more wait than this", whole(1 << 21))
    fsync: str = setting("interval", "whether a record survives a power cut at once, after a second, or when the kernel likes: "
                                     "always, interval, never", choice("always", "interval", "never"))


@dataclasses.dataclass(frozen=True, slots=True)
class Self:
    """What the agent tells of itself."""

    interval_s: float = setting(30.0, "time between two readings of the agent itself", number(0))
    listen: str | None = setting(None, "address and port of its own /metrics and /healthz", settings.listen)


_HOST, _GPU, _REDACT, _SPOOL, _SELF = Host(), Gpu(), Redact(), Spool(), Self()


@dataclasses.dataclass(frozen=True, slots=True)
class Ship:
    """What `pinchpoint ship` reads on this host, and where it sends it."""

    outputs: tuple[str, ...] = setting((), "stores, each with its own progress; none: the store above", store_urls)
    files: tuple[Files, ...] = setting((), "log files: [[ship.files]]", tables(Files))
    host: Host | None = setting(_HOST, "readings of this host: [ship.host], or false", table(Host))
    gpu: Gpu | None = setting(_GPU, "GPUs of this host: [ship.gpu], or false", table(Gpu))
    scrape: tuple[Scrape, ...] = setting((), "exporters: [[ship.scrape]]", tables(Scrape))
    otlp: Otlp | None = setting(None, "receiver of OpenTelemetry: [ship.otlp]", table(Otlp))
    journald: Journald | None = setting(None, "the journal: [ship.journald]", table(Journald))
    kernel: Kernel | None = setting(None, "the kernel log: [ship.kernel]", table(Kernel))
    jobs: Jobs | None = setting(None, "jobs, ranks and GPUs: [ship.jobs]", table(Jobs))
    events: Events | None = setting(None, "change events: [ship.events]", table(Events))
    redact: Redact = setting(_REDACT, "secrets: [ship.redact]", table(Redact))
    spool: Spool = setting(_SPOOL, "what waits: [ship.spool]", table(Spool))
    self: Self = setting(_SELF, "the agent itself: [ship.self]", table(Self))


#: The tables below `[ship]`, for the reference.
SECTIONS: dict[str, type] = {"ship": Ship, "ship.files": Files, "ship.host": Host, "ship.gpu": Gpu, "ship.scrape": Scrape,
                             "ship.otlp": Otlp, "ship.journald": Journald, "ship.kernel": Kernel, "ship.jobs": Jobs, "ship.events": Events,
                             "ship.redact": Redact, "ship.spool": Spool, "ship.self": Self}
