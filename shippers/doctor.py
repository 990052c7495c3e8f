"""Why nothing arrives from this host: what the agent's own state tells of it, for `pinchpoint doctor`."""

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pinchpoint import config as settings
from pinchpoint.clock import NS, SYSTEM_CLOCK, Clock, parse_time
from pinchpoint.config import Config
from pinchpoint.delivery.counters import MEANINGS, Ledger
from pinchpoint.delivery.dead_letter import DeadLetters
from pinchpoint.doctor.check import Check, Subject
from pinchpoint.errors import PinchpointError
from pinchpoint.ship_settings import Ship
from shippers import state
from shippers.agent import STATUS_FILE
from shippers.outputs.opening import output_name
from shippers.tail.offsets import Offsets
from shippers.tail.registry import Registry
from shippers.works import matches, urls_of

#: An agent writes its status each 10 s; one that is older than this hangs.
_STALE_S = 60.0
_FULL = 0.9
#: An output that is so far behind will not catch up within a minute.
_MUCH_BYTES = 256e6
#: Of struct timex, with room to spare; the answer of adjtimex when nothing keeps the clock.
_TIMEX_BYTES, _TIME_ERROR = 512, 5


def look(subject: Subject) -> list[Check]:
    """The checks of the agent on this host, of its usual state folder; none where no agent was ever set up."""
    folder = Path(os.environ["PINCHPOINT_STATE_DIR"]) if os.environ.get("PINCHPOINT_STATE_DIR") else state.default_folder()
    if not (folder / STATUS_FILE).exists() and subject.config.ship == Ship():
        return []
    return checks(folder, subject.config, subject.clock)


def checks(folder: Path, config: Config, clock: Clock) -> list[Check]:
    """Everything that may keep records of this host from arriving.

    Args:
        folder: state folder of the agent.
        config: the settings it works with.
        clock: tells the time.
    """
    status = _status(folder)
    return [*_running(folder, status, clock), *_files(config), *_spool(config, status), *_outputs(folder, config, status),
            *_problems(status), *_time_of_host()]


def _status(folder: Path) -> Mapping[str, Any]:
    try:
        about = json.loads((folder / STATUS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    kinds = {"outputs": list, "problems": dict, "samples": list}
    return {name: value for name, value in about.items() if isinstance(value, kinds.get(name, str))} if isinstance(about, dict) else {}


def _running(folder: Path, status: Mapping[str, Any], clock: Clock) -> Iterator[Check]:
    try:
        pid = state.holder(folder)
    except OSError as error:
        yield Check("agent", "unknown", f"{folder} cannot be looked at: {error.strerror}.", next_step="ask as the user the agent runs as")
        return
    if pid is None:
        yield Check("agent", "fault", f"no agent works with {folder}: nothing is shipped.",
                    next_step="start it: systemctl start pinchpoint-agent, or pinchpoint ship")
        return
    try:
        age_s = (clock.now_ns() - parse_time(str(status["at"]))) / NS
    except (KeyError, ValueError):
        yield Check("agent", "unknown", f"process {pid} has told nothing of itself yet.", next_step="ask again in ten seconds")
        return
    if abs(age_s) > _STALE_S:
        yield Check("agent", "fault", f"process {pid} told of itself {age_s:.0f} s ago for the last time: it hangs, its disk is full or "
                    "read-only, or the clock jumped.", next_step=f"look at its log and at the disk of {folder}, then start it again")
    else:
        yield Check("agent", "ok", f"process {pid} has been shipping since {status.get('began')}.")


def _files(config: Config) -> Iterator[Check]:
    for place, files in enumerate(config.ship.files):
        name = f"ship.files[{place}]"
        found = [path for pattern in files.paths for path in matches(pattern) if path.is_file()]
        unreadable = [str(path) for path in found if not os.access(path, os.R_OK)]
        if not found:
            yield Check(name, "warning", f"no file matches {', '.join(files.paths)}.",
                        next_step="correct the paths, or wait for the program that writes them")
        elif unreadable:
            yield Check(name, "fault", f"{len(unreadable)} of {len(found)} files cannot be read by this user.", tuple(unreadable[:5]),
                        "let the user of the agent read them: setfacl -m u:pinchpoint:r FILE, or add it to the group that owns them")
        else:
            yield Check(name, "ok", f"{len(found)} files are matched and readable.")


def _spool(config: Config, status: Mapping[str, Any]) -> Iterator[Check]:
    waiting = _sample(status, "agent.spool.waiting_bytes")
    if waiting is None:
        return
    most = config.ship.spool.most_bytes
    in_memory = _sample(status, "agent.spool.in_memory_bytes") or 0.0
    if in_memory:
        yield Check("spool", "fault", f"{in_memory / 1e6:.1f} MB wait in memory, for the disk takes nothing: they end with the agent.",
                    next_step="make room on the disk of the state folder")
    elif waiting > _FULL * most:
        yield Check("spool", "fault", f"it is full ({waiting / 1e6:.0f} of {most / 1e6:.0f} MB): the oldest records are dropped.",
                    next_step="see why the output below takes nothing, or raise ship.spool.most_bytes")
    else:
        yield Check("spool", "ok", f"{waiting / 1e6:.1f} of {most / 1e6:.0f} MB are used.")


def _outputs(folder: Path, config: Config, status: Mapping[str, Any]) -> Iterator[Check]:
    for url in status.get("outputs", _configured(config)):
        name = output_name(str(url))
        title = f"output {url}"
        trouble = status.get("problems", {}).get(name)
        if trouble:
            yield Check(title, "fault", f"{trouble}.", next_step="the agent goes on by itself once that is mended")
        else:
            yield Check(title, "ok", "it takes what is sent.")
        yield from _behind(folder, name, title)
        dropped = _sample(status, "agent.dropped_items", name)
        if dropped:
            yield Check(f"{title}: dropped", "warning", f"{dropped:.0f} records were dropped from the full spool before it had them.",
                        next_step="raise ship.spool.most_bytes if outages last that long")
        yield from _counted(folder / "outputs" / name, title)


def _behind(folder: Path, name: str, title: str) -> Iterator[Check]:
    """How much of each log an output has not had yet."""
    lags = sorted(((size - offset, path) for path, size, offset in _progress(folder, name) if size > offset), reverse=True)
    if lags:
        total = sum(lag for lag, _ in lags)
        furthest = tuple(f"{path}: {lag / 1e6:.1f} MB" for lag, path in lags[:5])
        yield Check(f"{title}: files", "warning" if total > _MUCH_BYTES else "ok",
                    f"{total / 1e6:.1f} MB of log lines are not shipped yet.", furthest)


def _progress(folder: Path, name: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and settled offset of each log that is where it was; from copies, for an agent may be writing the originals."""
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as copies:
        try:
            for journal in ("registry", f"outputs/{name}/offsets"):
                shutil.copyfile(folder / journal, Path(copies) / Path(journal).name)
            registry = Registry(Path(copies) / "registry", SYSTEM_CLOCK)
            offsets = Offsets(Path(copies) / "offsets", registry)
        except OSError:
            return
        for log in registry.logs.values():
            try:
                about = Path(log.path).stat()
            except OSError:
                continue
            if log.place == (about.st_dev, about.st_ino) and not log.skipped:
                yield log.path, about.st_size, offsets.cursors[log.id].offset if log.id in offsets.cursors else 0
        offsets.close()
        registry.close()


def _configured(config: Config) -> list[str]:
    try:
        return urls_of(config, (), settings.default_url)
    except PinchpointError:
        return []


def _counted(folder: Path, title: str) -> Iterator[Check]:
    for name, count in Ledger(folder / "counters.json").read().items():
        meaning, remedy = MEANINGS[name]
        if remedy is not None and name in ("rejected", "failure_store", "refused", "dead_letter_full"):
            yield Check(f"{title}: {name}", "warning", f"{count.number:,} {meaning}, the last at {count.last}.",
                        (f"last: {count.detail}",) if count.detail else (), remedy)
    path = folder / "dead-letter.ndjson"
    letters = DeadLetters(path, SYSTEM_CLOCK).count()
    if letters:
        yield Check(f"{title}: dead letters", "fault", f"{letters:,} records that the server will never take are kept in {path}.",
                    next_step="read the file: the reason stands beside each record. Mend what it says, then delete the file")


def _problems(status: Mapping[str, Any]) -> Iterator[Check]:
    outputs = {output_name(str(url)) for url in status.get("outputs", ())}
    for name, why in status.get("problems", {}).items():
        if name not in outputs:
            yield Check(f"source {name}", "warning", f"it cannot be read: {why}.")


def _time_of_host() -> Iterator[Check]:
    """Whether anything keeps the clock of this host right; the kernel says so without asking the network."""
    try:
        # modes stand first in struct timex: zeros only read
        unsynchronised = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) == _TIME_ERROR
    except (OSError, AttributeError):
        return
    if unsynchronised:
        yield Check("clock", "warning", "nothing keeps the clock of this host right: its records may land where nobody looks for them.",
                    next_step="start chrony or systemd-timesyncd, then look at: timedatectl")
    else:
        yield Check("clock", "ok", "the clock of this host is kept right.")


def _sample(status: Mapping[str, Any], name: str, output: str | None = None) -> float | None:
    for one in status.get("samples", ()):
        if isinstance(one, list) and len(one) == 3 and (one[0], one[2]) == (name, output) and isinstance(one[1], int | float):
            return float(one[1])
    return None
