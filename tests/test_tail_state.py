"""What is on disk survives kills, torn writes, damaged bytes and full disks."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tailing import Agent, messages

from pinchpoint.clock import SYSTEM_CLOCK
from shippers.tail.cursor import GUARD_BYTES, START, cursor_from
from shippers.tail.journal import Journal


def records_of(path):
    journal = Journal(path)
    try:
        return journal.load(), journal.damaged
    finally:
        journal.close()


def written(path, count):
    journal = Journal(path)
    journal.load()
    for number in range(count):
        journal.append([{"number": number}])
    journal.close()
    return [{"number": number} for number in range(count)]


@pytest.mark.parametrize("cut", range(1, 30))
def test_torn_end_is_cut(tmp_path, cut):
    """A record that was torn off is left out, all before it stay, and writing goes on after them."""
    records = written(tmp_path / "journal", 3)
    data = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(data[:-cut])
    kept, damaged = records_of(tmp_path / "journal")
    journal = Journal(tmp_path / "journal")
    journal.load()
    journal.append([{"number": 9}])
    journal.close()

    assert (records[:len(kept)], 0) == (kept, damaged)
    assert len(kept) >= 3 - (cut + 21) // 22
    assert ([*kept, {"number": 9}], 0) == records_of(tmp_path / "journal")


@pytest.mark.parametrize("at", range(0, 46, 5))
def test_damaged_middle_is_set_aside(tmp_path, at):
    """Of a journal with a damaged record the others are used, and the file is kept (imfile-bad-state-file, tail_storage_corrupt_chunk)."""
    records = written(tmp_path / "journal", 4)
    data = bytearray((tmp_path / "journal").read_bytes())
    data[at] ^= 0x41
    (tmp_path / "journal").write_bytes(data)
    kept, damaged = records_of(tmp_path / "journal")

    assert 1 <= damaged <= 2
    assert kept == [record for record in records if record in kept]
    assert len(kept) >= 2
    assert bytes(data) == (tmp_path / "journal.damaged").read_bytes()
    assert (kept, 0) == records_of(tmp_path / "journal")


def test_journal_of_zeros(tmp_path):
    """A file of zeros, as a power failure leaves it, holds no records and breaks nothing."""
    (tmp_path / "journal").write_bytes(bytes(4096))

    assert records_of(tmp_path / "journal")[0] == []


def test_cursor_round_trip():
    """A cursor comes out of a journal as it went in, and tells other bytes before it."""
    cursor = START.advanced(b"a" * 100, 100).advanced(b"a" * GUARD_BYTES + b"b" * 10, 10, skipping=True)

    assert cursor == cursor_from(json.loads(json.dumps(cursor.as_list())))
    assert cursor.agrees(b"a" * 54 + b"b" * 10)
    assert not cursor.agrees(b"b" * 64)
    with pytest.raises(ValueError, match="no cursor"):
        cursor_from([1, 2])


@pytest.mark.parametrize("lost", ["registry", "output-0/offsets"])
@pytest.mark.parametrize("how", ["gone", "damaged", "zeros"])
def test_lost_state(tmp_path, lost, how):
    """With one of the two journals lost each line still has one id: the registry is mended from the offsets, and without offsets lines
    come again under the ids they had.
    """
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in "ab":
        (logs / f"{name}.log").write_text(f"{name} one\n{name} two\n")
    agent = Agent(tmp_path / "state", logs / "*.log")
    agent.run()
    agent.kill()
    path = tmp_path / "state" / lost
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(100) + b"\n" if how == "zeros" else path.read_bytes().replace(b'"', b"'"))
    agent.start()
    for name in "ab":
        with (logs / f"{name}.log").open("a") as file:
            file.write(f"{name} three\n")
    agent.run(3)

    ids = {document["event.id"]: document["message"] for document in agent.documents[0]}
    assert sorted(f"{name} {number}" for name in "ab" for number in ("one", "two", "three")) == sorted(ids.values())
    assert (lost == "registry") == (len(agent.documents[0]) == 6)


def test_ids_are_on_disk_before_lines_are_handed_out(tmp_path):
    """Whoever gets a line gets it under the id that it will have after any crash; without one nothing is handed out."""
    log = tmp_path / "app.log"
    log.write_text("one\n")
    agent = Agent(tmp_path / "state", log)
    os.close(agent.registry._journal._fd)
    agent.registry._journal._fd = os.open("/dev/full", os.O_RDWR)

    assert agent.run(10) == []
    assert agent.counters()["journal_errors"] > 0
    agent.restart()
    assert messages(agent.run()) == ["one"]


def test_times_survive_a_crash(tmp_path):
    """A line without a time of its own has the same time when it is handed out again: stores tell repeats by both."""
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    agent = Agent(tmp_path / "state", log)
    first = agent.take(most_bytes=10_000)
    agent.clock.advance(5)
    more = agent.run(settle=False)
    agent.clock.advance(3600)
    agent.restart()
    again = agent.run(settle=False)

    assert first[0]["@timestamp"] != more[-1]["@timestamp"]
    assert {document["event.id"]: document["@timestamp"] for document in first + more} == \
        {document["event.id"]: document["@timestamp"] for document in again}


def test_journals_stay_small(tmp_path):
    """The state of a log that grows for long is rewritten, not only appended to."""
    log = tmp_path / "app.log"
    agent = Agent(tmp_path / "state", log)
    agent.tail._offsets._journal._compacted_bytes = 0
    for number in range(4000):
        with log.open("a") as file:
            file.write(f"{number}\n")
        agent.tail._rests_until_s = 0.0
        agent.clock.advance(1.1)
        agent.take()
        agent.tail.settled(agent.token)
    agent.restart()

    assert agent.run() == []
    assert (tmp_path / "state" / "output-0" / "offsets").stat().st_size < 1 << 20


CHILD = """
import sys
from pathlib import Path
from pinchpoint.clock import SYSTEM_CLOCK
from shippers.tail import FileSet, Registry, Survey, Tail
folder, pattern = Path(sys.argv[1]), sys.argv[2]
registry = Registry(folder / "registry", SYSTEM_CLOCK)
survey = Survey([FileSet((pattern,))], registry, SYSTEM_CLOCK)
tail = Tail(folder / "output", survey, registry, SYSTEM_CLOCK, {}, linger_s=0.01, grace_s=60.0)
while True:
    batch = tail.take(20_000)
    if batch is None:
        SYSTEM_CLOCK.sleep(0.005)
        continue
    for item in batch.items:
        sys.stdout.buffer.write(item.document + b"\\n")
    sys.stdout.flush()
    tail.settled(batch.token)
"""


def test_killed_processes(tmp_path):
    """Processes that are killed at any time lose and double nothing, over rotation of both kinds (TestFileMovedWhileOff)."""
    live, out = tmp_path / "logs" / "app.log", tmp_path / "out"
    live.parent.mkdir()
    written = 0
    for turn in range(8):
        with out.open("ab") as file:
            file.write(b"\n")  # after a line that was torn by a kill
            child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path / "state", tmp_path / "logs" / "app.log*"], stdout=file)
        try:
            for step in range(40):
                with live.open("a") as file:
                    file.write("".join(f"line {number}\n" for number in range(written, written + 100)))
                written += 100
                SYSTEM_CLOCK.sleep(0.02)
                if step % 20 == 10:
                    rotate(live, copies=turn % 2 == 1)
                if step == 39 or (turn % 3 and step == 25):
                    child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.wait()
    with out.open("ab") as file:
        file.write(b"\n")
        child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path / "state", tmp_path / "logs" / "app.log*"], stdout=file)
    try:
        deadline_s = SYSTEM_CLOCK.monotonic_s() + 30
        while len(arrived(out)) < written and SYSTEM_CLOCK.monotonic_s() < deadline_s:
            SYSTEM_CLOCK.sleep(0.2)
    finally:
        child.kill()
        child.wait()

    assert {f"line {number}" for number in range(written)} == set(arrived(out))
    assert max(arrived(out).values()) == 1


def rotate(live: Path, copies: bool) -> None:
    for number in range(30, 0, -1):
        if (path := live.with_name(f"app.log.{number}")).exists():
            path.rename(live.with_name(f"app.log.{number + 1}"))
    if copies:
        live.with_name("app.log.1").write_bytes(live.read_bytes())
        os.truncate(live, 0)
    else:
        live.rename(live.with_name("app.log.1"))


def arrived(out: Path) -> Counter:
    """How often each message is there, by id; a line torn by a kill had not arrived."""
    found = {}
    for line in out.read_bytes().split(b"\n"):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        found[document["event.id"]] = document["message"]
    return Counter(found.values())
