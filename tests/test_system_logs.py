"""The kernel log and the journal: parsing, positions that survive a restart, and what happens where there is none."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from source_spool import Spool

from pinchpoint.clock import SYSTEM_CLOCK, Clock, HeldClock
from shippers.redact import Redactor
from shippers.sources.journal_lines import journal_record
from shippers.sources.journald import JournalSource, JournalState
from shippers.sources.kernel_log import PATH, KernelLogSource, KernelLogState, KernelRecord, parse_record
from shippers.sources.position import Position


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.mark.parametrize(("data", "expected"), [
    (b"5,0,0,-;Linux version 6.1.0 (a@b) #1 SMP\n", KernelRecord(5, 0, 0, "Linux version 6.1.0 (a@b) #1 SMP")),
    (b"6,339,5140900,-,caller=T1;NET: a;b\n SUBSYSTEM=net\n DEVICE=+net:eth0\n", KernelRecord(6, 339, 5140900, "NET: a;b")),
    (b"3,7,9,c;tab\\x09 line\\x0afeed \\x5c\n", KernelRecord(3, 7, 9, "tab\t line\nfeed \\")),
    (b"30,8,9,-;systemd\xff[1]\n", KernelRecord(30, 8, 9, "systemd\ufffd[1]")),
])
def test_kernel_records_are_read(data: bytes, expected: KernelRecord) -> None:
    """Escapes are undone, properties of devices left out."""
    assert parse_record(data) == expected


@pytest.mark.parametrize("data", [b"", b"x", b"1,2;x", b"a,b,c,-;x", b"1,2,3,-"])
def test_what_is_no_kernel_record_is_refused(data: bytes) -> None:
    """A line of something else is an error that is counted."""
    with pytest.raises(ValueError, match=r".*"):
        parse_record(data)


class KernelLog:
    """Stands for the kernel's buffer: every opening reads it from its oldest record, a record with each read."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self._writers: list[socket.socket] = []

    def open(self) -> int:
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader.setblocking(False)
        self._writers.append(writer)
        for record in self.records:
            writer.send(record)
        return reader.detach()

    def say(self, sequence: int, message: str, priority: int = 6, since_boot_us: int = 1_500_000) -> None:
        self.records.append(f"{priority},{sequence},{since_boot_us},-;{message}\n".encode())
        for writer in self._writers:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                writer.send(self.records[-1])


def kernel_source(tmp_path: Path, log: KernelLog, spool: Spool, clock: Clock | None = None, boot: str = "boot-1") -> KernelLogSource:
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(f"{boot}\n")
    return KernelLogSource("h", push=spool.push, redact=Redactor(), clock=clock or HeldClock(), position=tmp_path / "kernel.json",
                           open_log=log.open,
                           root=tmp_path)


def test_kernel_records_become_logs_with_the_time_of_the_clock(tmp_path: Path) -> None:
    """The time since boot becomes the time of day; identity is boot and number; secrets are taken out. An error is an event too."""
    log, spool, clock = KernelLog(), Spool(), HeldClock()
    clock.advance(10)  # held at 10 s after boot
    log.say(41, "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus, password=hunter2", priority=3)
    kernel_source(tmp_path, log, spool, clock).poll()

    item, event = spool.items
    assert (event.kind, event.id) == ("event", "boot-1-29-error")
    told = json.loads(event.document)
    assert (told["event.action"], told["host.name"], told["@timestamp"]) == ("gpu_error", "h", "2026-01-01T00:00:01.5Z")
    assert told["labels"] | {"error.kind": "xid", "xid": "79", "error.blame": "hardware", "error.severity": "fatal",
                             "gpu.pci.address": "0000:3b:00.0"} == told["labels"]
    assert "hunter2" not in event.document.decode()
    assert (item.kind, item.id) == ("log", "boot-1-29")
    assert json.loads(item.document) == {
        "event.id": "boot-1-29", "@timestamp": "2026-01-01T00:00:01.5Z", "log.level": "error", "log.file.path": "/dev/kmsg",
        "log.offset": 41,
        "message": "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus, password=[redacted]", "host.name": "h",
        "labels": {"log.syslog.facility": "kern"}}


def test_a_flood_of_one_error_is_one_event_a_minute(tmp_path: Path) -> None:
    """The lines all come; a push that failed and an agent that starts again tell of the same error under the same identity."""
    log, spool, clock = KernelLog(), Spool(), HeldClock()
    log.say(1, "NVRM: GPU at PCI:0000:3b:00: GPU-0a1b2c3d-1111-2222-3333-444455556666", priority=6)
    for number in range(2, 40):
        log.say(number, "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus", priority=3)
    log.say(40, "NVRM: Xid (PCI:0000:3b:00): 31, forged by a program", priority=8 + 3)
    kernel_source(tmp_path, log, spool, clock).poll()

    events = [json.loads(item.document) for item in spool.items if item.kind == "event"]
    assert [(one["event.id"], one["labels"]["gpu.uuid"]) for one in events] == [
        ("boot-1-2-error", "GPU-0a1b2c3d-1111-2222-3333-444455556666")]
    assert sum(item.kind == "log" for item in spool.items) == 40


def test_an_agent_that_starts_again_reads_on(tmp_path: Path) -> None:
    """What was pushed is not pushed again; after a boot the numbers begin anew."""
    log, spool = KernelLog(), Spool()
    log.say(1, "one")
    first = kernel_source(tmp_path, log, spool)
    first.poll()
    log.say(2, "two")
    first.poll()
    first.poll()
    first.close()
    log.say(3, "three")
    kernel_source(tmp_path, log, spool).poll()
    assert spool.messages() == ["one", "two", "three"]

    rebooted = KernelLog()
    rebooted.say(0, "again")
    kernel_source(tmp_path, rebooted, spool, boot="boot-2").poll()
    assert spool.messages()[3:] == ["again"]


def test_a_spool_that_takes_nothing_loses_no_kernel_record(tmp_path: Path) -> None:
    """The records are read again from the kernel's buffer."""
    log, spool = KernelLog(), Spool()
    source = kernel_source(tmp_path, log, spool)
    log.say(1, "one")
    spool.broken = True
    with pytest.raises(OSError, match="no space"):
        source.poll()
    spool.broken = False
    log.say(2, "two")
    source.poll()

    assert spool.messages() == ["one", "two"]


def test_a_flood_is_read_at_a_bounded_rate_and_gaps_are_counted(tmp_path: Path) -> None:
    """What is above the rate stays in the kernel's buffer for the next second; what was overwritten meanwhile is counted."""
    log, spool, clock = KernelLog(), Spool(), HeldClock()
    source = kernel_source(tmp_path, log, spool, clock)
    source.poll()
    for number in range(1, 1101):
        log.say(number, f"flood {number}")
        if number % 100 == 0:  # a socket holds fewer records than the kernel
            source.poll()
    assert len(spool.items) == 1000
    clock.advance(1)
    source.poll()
    assert len(spool.items) == 1100

    log.say(1105, "after a gap")
    source.poll()
    assert source.counters() == {"kernel.records": 1101.0, "kernel.errors": 0.0, "kernel.overwritten": 4.0, "kernel.bad": 0.0}


def test_a_host_without_a_kernel_log_has_a_named_state(tmp_path: Path) -> None:
    """Absent and forbidden are told apart, and are no errors; it is tried again."""
    def refuse(error: type[OSError]) -> Callable[[], int]:
        def open_log() -> int:
            raise error

        return open_log

    for error, state in ((FileNotFoundError, KernelLogState.ABSENT), (PermissionError, KernelLogState.FORBIDDEN)):
        source = KernelLogSource("h", push=Spool().push, redact=Redactor(), clock=HeldClock(), position=tmp_path / "p",
                                 open_log=refuse(error))
        source.poll()
        assert source.state == state


def test_the_real_kernel_log_is_read(tmp_path: Path) -> None:
    """Each record once, in order, with a time between boot and now."""
    try:
        os.close(os.open(PATH, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        pytest.skip(f"{PATH} cannot be read here: {error.strerror}")
    spool = Spool()
    source = KernelLogSource("h", push=spool.push, redact=Redactor(), clock=SYSTEM_CLOCK, position=tmp_path / "kernel.json")
    source.poll()
    again = KernelLogSource("h", push=spool.push, redact=Redactor(), clock=SYSTEM_CLOCK, position=tmp_path / "kernel.json")
    seen = len(spool.items)
    again.poll()
    source.close()
    again.close()
    if not seen:
        pytest.skip("the kernel log is empty here")

    documents = spool.documents()[:seen]
    offsets = [document["log.offset"] for document in documents]
    assert offsets == sorted(set(offsets))
    assert seen == len({item.id for item in spool.items[:seen]})
    if seen < 1000:
        assert not {item.id for item in spool.items[:seen]} & {item.id for item in spool.items[seen:]}


def entry(cursor: str, message: Any = "hello", **more: Any) -> bytes:
    return json.dumps({"__CURSOR": cursor, "__REALTIME_TIMESTAMP": "1767225600500000", "MESSAGE": message, "PRIORITY": "4",
                       "SYSLOG_IDENTIFIER": "sshd", "_PID": "42", "_HOSTNAME": "node-7", "_SYSTEMD_UNIT": "ssh.service",
                       "_TRANSPORT": "syslog", **more}).encode()


@pytest.mark.parametrize(("message", "expected"), [
    ("hello", "hello"), ([104, 105, 255], "hi\ufffd"), (None, ""), (["a", [98]], "a\nb"), ([], ""),
])
def test_an_entry_becomes_a_log(message: Any, expected: str) -> None:
    """Texts, bytes that are no text, fields that are there twice, fields that are too large."""
    cursor, record = journal_record(entry("s=1;i=2", message), "h")

    assert cursor == "s=1;i=2"
    assert record == {"@timestamp": "2026-01-01T00:00:00.5Z", "message": expected, "log.level": "warning", "log.file.path": "journald",
                      "host.name": "node-7", "process.pid": 42, "labels": {
                          "systemd.unit": "ssh.service", "journald.transport": "syslog", "process.name": "sshd"}}


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"__CURSOR":"c"}', b'{"__CURSOR":3,"__REALTIME_TIMESTAMP":"1"}',
                                  b'{"__CURSOR":"c","__REALTIME_TIMESTAMP":"x"}'])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    """It is counted by the source."""
    with pytest.raises(ValueError, match=r".*"):
        journal_record(line, "h")


class Journalctl:
    """A program that stands for journalctl: notes how it was called, and writes what the test tells it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journalctl"
        self._calls, self._fifo = folder / "calls", folder / "fifo"
        os.mkfifo(self._fifo)
        self.path.write_text(f'#!/bin/sh\necho "$*" >> {self._calls}\nexec cat {self._fifo}\n')
        self.path.chmod(0o755)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        with self._fifo.open("wb", buffering=0) as pipe:
            yield pipe

    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@contextlib.contextmanager
def following(tmp_path: Path, program: str, spool: Spool, clock: Clock | None = None, *,
              with_kernel: bool = False) -> Iterator[JournalSource]:
    source = JournalSource("h", push=spool.push, redact=Redactor(), clock=clock or HeldClock(), position=tmp_path / "journal.json",
                           program=program,
                           with_kernel=with_kernel)
    try:
        yield source
    finally:
        source.close()


def poll_until(source: JournalSource, condition: Callable[[], object]) -> None:
    def step() -> object:
        source.poll()
        return condition()

    until(step)


def test_the_journal_is_followed_from_its_cursor(tmp_path: Path) -> None:
    """The first start reads from now on, the next one from the last entry pushed; ids are made of the cursor."""
    program, spool = Journalctl(tmp_path), Spool()
    with following(tmp_path, str(program.path), spool) as source:
        source.poll()
        with program.writing() as pipe:
            pipe.write(entry("c1") + b"\n" + entry("c2", "password=hunter2")[:40])
            poll_until(source, lambda: spool.items)
            pipe.write(entry("c2", "password=hunter2")[40:] + b"\nnonsense\n" + entry("c3", "kernel", _TRANSPORT="kernel") + b"\n")
            poll_until(source, lambda: source.counts["bad"])
        assert source.state == JournalState.FOLLOWING
    with following(tmp_path, str(program.path), spool) as source:
        source.poll()
        until(lambda: len(program.calls()) == 2)

    assert spool.messages() == ["hello", "password=[redacted]"]
    assert len({item.id for item in spool.items}) == 2
    first, second = program.calls()
    assert "--lines=0" in first
    assert "--after-cursor=c3 --no-tail" in second
    assert source.counters() == {"journald.entries": 0.0, "journald.bad": 0.0, "journald.starts": 1.0}


def test_an_error_of_the_kernel_in_the_journal_is_an_event_too(tmp_path: Path) -> None:
    """Once; what a program writes in the same words is none."""
    program, spool, xid = Journalctl(tmp_path), Spool(), "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus"
    with following(tmp_path, str(program.path), spool, with_kernel=True) as source:
        source.poll()
        with program.writing() as pipe:
            pipe.write(b"".join(entry(f"c{number}", xid, _TRANSPORT=transport) + b"\n"
                                for number, transport in enumerate(("kernel", "kernel", "syslog"))))
            poll_until(source, lambda: len(spool.items) >= 4)

    assert [item.kind for item in spool.items] == ["log", "event", "log", "log"]
    event = json.loads(spool.items[1].document)
    assert (event["event.action"], event["labels"]["xid"], spool.items[1].id) == ("gpu_error", "79", f"{spool.items[0].id}-error")


def test_a_spool_that_takes_nothing_loses_no_entry(tmp_path: Path) -> None:
    """The cursor stays, and journalctl is asked again from there."""
    program, spool, clock = Journalctl(tmp_path), Spool(), HeldClock()
    Position(tmp_path / "journal.json").save({"cursor": "c0"})
    with following(tmp_path, str(program.path), spool, clock) as source:
        source.poll()
        spool.broken = True
        with program.writing() as pipe:
            pipe.write(entry("c1") + b"\n")
            with pytest.raises(OSError, match="no space"):
                poll_until(source, lambda: False)
        spool.broken = False
        source.poll()
        with program.writing() as pipe:
            pipe.write(entry("c1") + b"\n")
            poll_until(source, lambda: spool.items)

    assert [call.split()[-2] for call in program.calls()] == ["--after-cursor=c0"] * 2
    assert spool.messages() == ["hello"]


def test_a_huge_entry_is_left_out_and_counted(tmp_path: Path) -> None:
    """The next one is read, and memory stays bounded."""
    program, spool = Journalctl(tmp_path), Spool()
    with following(tmp_path, str(program.path), spool) as source:
        source.poll()
        with program.writing() as pipe:
            for _ in range(30):
                pipe.write(b"x" * 100_000)
                source.poll()
            pipe.write(b"\n" + entry("c1") + b"\n")
            poll_until(source, lambda: spool.items)

    assert spool.messages() == ["hello"]
    assert source.counts["bad"] == 1


def test_journalctl_that_ends_is_started_again_later_and_later(tmp_path: Path) -> None:
    """Its complaint is kept; a cursor it does not take is given up."""
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\necho "Failed to seek to cursor: Invalid argument" >&2\nexit 1\n')
    program.chmod(0o755)
    Position(tmp_path / "journal.json").save({"cursor": "damaged"})
    clock, spool = HeldClock(), Spool()
    with following(tmp_path, str(program), spool, clock) as source:
        for starts, wait_s in ((1, 1.0), (2, 2.0), (3, 4.0)):
            poll_until(source,
                       lambda starts=starts: source.counts["starts"] == starts and source.state == JournalState.ENDED)  # type: ignore[misc]
            clock.advance(wait_s - 0.1)
            source.poll()
            assert source.counts["starts"] == starts
            clock.advance(0.1)

    assert source.problem == "Failed to seek to cursor: Invalid argument"


def test_a_host_without_journalctl_has_a_named_state(tmp_path: Path) -> None:
    """No systemd is a normal state."""
    with following(tmp_path, str(tmp_path / "none"), Spool()) as source:
        source.poll()
        source.poll()
        assert source.state == JournalState.NO_JOURNALCTL


def test_the_real_journal_is_read(tmp_path: Path) -> None:
    """Where this host has a journal, what is written to it arrives once, also what was written while nobody followed."""
    try:
        found = subprocess.run(["journalctl", "--lines=1", "--output=json", "--quiet"], capture_output=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no journalctl here")
    if not found.strip():
        pytest.skip("the journal is empty here")
    spool = Spool()

    def write_line(text: str) -> None:
        subprocess.run(["systemd-cat", "-t", "pinchpoint-test"], input=text.encode(), timeout=30, check=True)

    numbers = iter(range(100_000))

    def has_arrived(text: str) -> bool:
        return any(text in message for message in spool.messages())

    def write_and_look() -> bool:
        # nothing tells when journalctl has taken its place at the end, so lines are written until one arrives
        write_line(f"first {next(numbers)} of the test\n")
        return has_arrived("first")

    with following(tmp_path, "journalctl", spool, SYSTEM_CLOCK) as source:
        poll_until(source, write_and_look)
    write_line("nobody follows\n")
    with following(tmp_path, "journalctl", spool, SYSTEM_CLOCK) as source:
        poll_until(source, lambda: has_arrived("nobody follows"))

    ours = [message for message in spool.messages() if "of the test" in message or message == "nobody follows"]
    first = int(ours[0].split()[1])
    assert ours == [*(f"first {number} of the test" for number in range(first, next(numbers))), "nobody follows"]


def test_a_torn_position_is_as_if_nothing_was_read(tmp_path: Path) -> None:
    """Reading again is harmless, since ids are the same."""
    position = Position(tmp_path / "p")
    assert position.load() == {}
    position.save({"cursor": "c"})
    assert position.load() == {"cursor": "c"}
    for torn in (b"", b'{"cur', b"[]", b"\xff"):
        (tmp_path / "p").write_bytes(torn)
        assert position.load() == {}
