"""Files are followed through whatever happens to them: nothing lost, nothing doubled."""

import gzip
import os
import shutil

import pytest
from tailing import Agent, messages, unique

from shippers.tail import FileSet


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def append(path, *lines, end="\n"):
    with path.open("a") as file:
        file.write("\n".join(lines) + end)


def copytruncate(path, to):
    shutil.copy(path, to)
    os.truncate(path, 0)


def pack(path):
    data = path.read_bytes()
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(data)
    path.unlink()


def test_lines_arrive_once_with_their_place(tmp_path, logs):
    """A line becomes one record that says where it was; after a restart it does not come again (file_start_position_server_restart)."""
    append(logs / "a.log", "one", "two")
    agent = Agent(tmp_path / "state", logs / "*.log")
    first, second = agent.run()
    agent.restart()

    assert agent.run() == []
    assert ("one", 0, str(logs / "a.log"), "node-1") == (first["message"], first["log.offset"], first["log.file.path"], first["host.name"])
    assert (first["event.id"][:-12], "000000000004") == (second["event.id"][:-12], second["event.id"][-12:])


@pytest.mark.parametrize("pattern", ["app.log", "app.log*", "*.log"])
@pytest.mark.parametrize("restarts", [False, True])
def test_rename_rotation(tmp_path, logs, pattern, restarts):
    """Chains app.log, app.log.1, app.log.2 lose and double nothing (TestMultiFileRotate, file_rotate, imfile-rename-while-stopped)."""
    live, written = logs / "app.log", []
    agent = Agent(tmp_path / "state", logs / pattern)
    for turn in range(5):
        for number in range(3):
            append(live, f"{turn}.{number}")
            written.append(f"{turn}.{number}")
            agent.run(0.25 * number)
        append(live, f"{turn} last")
        written.append(f"{turn} last")
        if restarts:
            agent.kill()
        for number in range(4, 0, -1):
            if (logs / f"app.log.{number}").exists():
                (logs / f"app.log.{number}").rename(logs / f"app.log.{number + 1}")
        live.rename(logs / "app.log.1")
        append(live, f"{turn} first")
        written.append(f"{turn} first")
        if restarts:
            agent.start()
    agent.run(4)

    assert sorted(written) == sorted(messages(agent.documents[0]))


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@pytest.mark.parametrize("restarts", [False, True])
def test_copytruncate_rotation(tmp_path, logs, pattern, restarts):
    """What was not read before the truncation is read from the copy (TestMultiCopyTruncateSlow, imfile-logrotate-copytruncate)."""
    live, written = logs / "app.log", []
    agent = Agent(tmp_path / "state", logs / pattern)
    for turn in range(5):
        for number in range(4):
            append(live, f"{turn}.{number}" + "." * turn * 300)
            written.append(f"{turn}.{number}" + "." * turn * 300)
            agent.run(0.25 * number)
        append(live, f"{turn} last")
        written.append(f"{turn} last")
        if restarts:
            agent.kill()
        for number in range(4, 0, -1):
            if (logs / f"app.log.{number}").exists():
                (logs / f"app.log.{number}").rename(logs / f"app.log.{number + 1}")
        copytruncate(live, logs / "app.log.1")
        if restarts:
            agent.start()
    agent.run(4)

    assert sorted(written) == sorted(messages(agent.documents[0]))
    assert agent.counters()["copies_recognised"] == 5 or restarts


def test_half_made_copy_is_left_alone(tmp_path, logs):
    """While copytruncate still copies, the copy is not taken for a log of its own (TestCopyTruncateWriteBoth)."""
    live, copy = logs / "app.log", logs / "app.log.1"
    append(live, "one", "two", "three")
    agent = Agent(tmp_path / "state", logs / "app.log*")
    agent.run()
    for size in (0, 2, 9):
        copy.write_bytes(live.read_bytes()[:size])
        assert agent.run() == []
    append(live, "four")
    copytruncate(live, copy)
    append(live, "five")

    assert sorted(messages(agent.run(4))) == ["five", "four"]


@pytest.mark.parametrize("restarts", [False, True])
def test_truncation(tmp_path, logs, restarts):
    """A file that was truncated is read from its beginning as another log (TestFilestreamLiveFileTruncation, -OfflineFileTruncation,
    file_truncate, TestTruncateThenWrite).
    """
    live = logs / "app.log"
    append(live, "one", "two")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    if restarts:
        agent.kill()
    live.write_text("three\nfour and more than there was before\n")
    if restarts:
        agent.start()

    assert messages(agent.run(4)) == ["three", "four and more than there was before"]
    assert agent.counters()["truncations"] == 1
    assert len({document["event.id"] for document in agent.documents[0]}) == 4


def test_same_size_after_truncation(tmp_path, logs):
    """Other bytes of the same length are noticed when the file grows: sizes prove nothing."""
    live = logs / "app.log"
    append(live, "one", "two")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    live.write_text("ONE\nTWO\n")
    append(live, "three")

    assert messages(agent.run(4)) == ["ONE", "TWO", "three"]


def test_deleted_file_is_read_to_its_end(tmp_path, logs):
    """What was written before a file was deleted still arrives, and then the descriptor is let go (filestream_delete)."""
    live = logs / "app.log"
    append(live, "one")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    append(live, "two")
    with live.open("a") as writer:
        live.unlink()
        writer.write("three\n")

    assert messages(agent.run(12)) == ["two", "three"]
    assert "open_files" not in agent.counters()


def test_inode_reuse(tmp_path, logs):
    """A new file is another log, though its inode was that of a known one (TestFileMovedWhileOff, db_delete_stale_file)."""
    live = logs / "app.log"
    append(live, "one", "two")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    agent.kill()
    inode = live.stat().st_ino
    # truncating and writing anew is what a reused inode looks like
    live.write_text("new 1\nnew 2\nnew 3\n")
    agent.start()

    assert inode == live.stat().st_ino
    assert messages(agent.run(4)) == ["new 1", "new 2", "new 3"]


def test_growing_fingerprint(tmp_path, logs):
    """Files are followed from their first byte on, and stay apart though they begin alike (imfile-growing-file-id,
    TestRotationExceedFingerprint).
    """
    agent = Agent(tmp_path / "state", logs / "*.log")
    banner = "#" * 2000
    for name in "ab":
        append(logs / f"{name}.log", "x", banner)
    agent.run()
    agent.restart()
    for name in "ab":
        append(logs / f"{name}.log", name)
    agent.run()

    assert {"x": 2, banner: 2, "a": 1, "b": 1} == unique(agent.documents[0])


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_compressed_copies_are_not_read_again(tmp_path, logs, pattern):
    """A rotated file that was read is not read again when it is compressed, also not after a restart (filestream_gzip)."""
    live = logs / "app.log"
    append(live, "one", "two")
    agent = Agent(tmp_path / "state", logs / pattern)
    agent.run()
    live.rename(logs / "app.log.1")
    append(live, "three")
    agent.run(3)
    pack(logs / "app.log.1")
    agent.run(3)
    agent.restart()
    agent.run(3)

    assert messages(agent.documents[0]) == ["one", "two", "three"]


def test_compressed_files_are_read_when_the_plain_one_was_not(tmp_path, logs):
    """What was rotated and compressed while the agent was away is read from the compressed file, from where reading stood."""
    live = logs / "app.log"
    append(live, "one")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    agent.kill()
    append(live, "two", "half", end="")
    live.rename(logs / "app.log.1")
    pack(logs / "app.log.1")
    append(logs / "app.log.2", "never seen")
    pack(logs / "app.log.2")
    append(live, "three")
    agent.start()

    assert sorted(messages(agent.run(4))) == ["half", "never seen", "three", "two"]


def test_history_is_left_alone(tmp_path, logs):
    """Rotated files that were there before the agent are not read unless a path asks for them."""
    append(logs / "app.log.1", "old")
    append(logs / "app.log", "new")

    assert messages(Agent(tmp_path / "one", logs / "app.log").run()) == ["new"]
    assert sorted(messages(Agent(tmp_path / "two", logs / "app.log*").run())) == ["new", "old"]


def test_history_whose_inode_is_used_again(tmp_path, logs):
    """A copy that takes the place and the inode of a file that was left alone is read."""
    live, old = logs / "app.log", logs / "app.log.1"
    append(old, "old")
    append(live, "one")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    append(live, "two")
    old.write_bytes(live.read_bytes())  # the same inode, as after unlinking and creating
    os.truncate(live, 0)
    append(live, "three")
    agent.run(4)

    assert sorted(messages(agent.documents[0])) == ["one", "three", "two"]


def test_empty_file_that_is_renamed(tmp_path, logs):
    """What is written into an empty file after its rotation comes once."""
    live = logs / "app.log"
    agent = Agent(tmp_path / "state", live)
    agent.run()
    with live.open("w") as writer:
        agent.run()
        live.rename(logs / "app.log.1")
        live.touch()
        agent.run()
        writer.write("one\n")
        writer.flush()
        append(live, "two")
        agent.run(4)

    assert sorted(messages(agent.documents[0])) == ["one", "two"]


def test_bomb_is_bounded(tmp_path, logs):
    """A compressed file that unpacks to thousands of times its size is read up to a bound."""
    with gzip.open(logs / "app.log.gz", "wb") as file:
        for _ in range(100):
            file.write(b"0" * (1 << 20))
    os.utime(logs / "app.log.gz", (0, 0))
    agent = Agent(tmp_path / "state", logs / "*.gz")
    agent.run()

    assert agent.counters()["bytes"] <= 1 << 26


@pytest.mark.parametrize("cut", [20, 200])
def test_damaged_compressed_file(tmp_path, logs, cut):
    """A compressed file that was cut off gives what can be unpacked of it."""
    append(logs / "app.log", *(f"{number} {os.urandom(8).hex()}" for number in range(2000)))
    pack(logs / "app.log")
    data = (logs / "app.log.gz").read_bytes()
    (logs / "app.log.gz").write_bytes(data[:-cut])
    agent = Agent(tmp_path / "state", logs / "*.gz")

    assert 1900 < len(agent.run()) <= 2000
    assert agent.counters()["packed_damaged"] == 1


def test_last_line_without_line_feed(tmp_path, logs):
    """A last line without a line feed comes after a grace, what is added to it later comes as a line of its own, both counted."""
    live = logs / "app.log"
    append(live, "whole", "half", end="")
    agent = Agent(tmp_path / "state", live)

    assert messages(agent.run(4)) == ["whole"]
    assert messages(agent.run(4)) == ["half"]
    append(live, " more", "next")
    assert messages(agent.run(2)) == [" more", "next"]
    assert agent.counters()["lines_partial"] == 1


def test_half_a_line_is_not_taken_before_its_time(tmp_path, logs):
    """A line that is written in pieces comes whole."""
    live = logs / "app.log"
    agent = Agent(tmp_path / "state", live)
    for piece in ("a", "b", "c", "d\n"):
        append(live, piece, end="")
        agent.run(2)

    assert messages(agent.documents[0]) == ["abcd"]


def test_lines_over_the_limit(tmp_path, logs):
    """A line over the limit is cut there and counted, however long it is, and its rest never comes as a line, also not after a restart."""
    live = logs / "app.log"
    append(live, "a" * 300_000, "b", "c" * 3_000_000, "d" * 3_000_000, end="")
    agent = Agent(tmp_path / "state", live)
    agent.run(8)
    agent.restart()
    append(live, "d" * 1000, "e")
    agent.run(8)

    assert messages(agent.documents[0]) == ["a" * (1 << 18), "b", "c" * (1 << 18), "d" * (1 << 18), "e"]
    assert agent.documents[0][-1]["message"] == "e"


def test_zeros_after_a_truncation(tmp_path, logs):
    """A writer that goes on at its old offset leaves a hole of zeros: they are left out and counted."""
    live = logs / "app.log"
    agent = Agent(tmp_path / "state", live)
    with live.open("w") as writer:
        writer.write("before\n" * 30_000)
        writer.flush()
        agent.run(4)
        os.truncate(live, 0)
        agent.run(2)
        writer.write("after\nnext\n")
    agent.run(4)

    assert messages(agent.documents[0])[30_000:] == ["after", "next"]
    assert agent.counters()["zeros"] == 210_000


def test_thousands_of_files(tmp_path, logs):
    """Thousands of files need few descriptors, and each line arrives (filestream_fd_exhaustion)."""
    for number in range(2000):
        append(logs / f"{number}.log", f"first {number}")
    agent = Agent(tmp_path / "state", logs / "*.log", most_open=16)
    agent.run(3)
    for number in range(0, 2000, 7):
        append(logs / f"{number}.log", f"second {number}")
    agent.run(8)

    assert 2000 + 286 == len(set(messages(agent.documents[0]))) == len(agent.documents[0])
    assert agent.counters()["open_files"] <= 16


def test_batches_are_bounded(tmp_path, logs):
    """A batch holds about as many bytes as the output asks for, however much there is."""
    append(logs / "app.log", *(f"line {number}" for number in range(20_000)))
    agent = Agent(tmp_path / "state", logs / "app.log")
    sizes = []
    while (batch := agent.tail.take(50_000)) is not None:
        sizes.append(sum(len(item.document) for item in batch.items))

    assert max(sizes) <= 100_000
    assert agent.counters()["records"] == 20_000


def test_outputs_are_apart_and_agree_on_ids(tmp_path, logs):
    """An output that stands still holds up only itself, and later gives each line the id that the others gave it."""
    live = logs / "app.log"
    append(live, "one")
    agent = Agent(tmp_path / "state", live, outputs=2)
    agent.run()
    live.rename(logs / "app.log.1")
    append(live, "two")
    agent.run(3)
    copytruncate(live, logs / "app.log.2")
    append(live, "three")
    agent.run(3)
    agent.run(3, output=1)

    ids = [{document["event.id"]: document["message"] for document in documents} for documents in agent.documents]
    assert ids[0] == ids[1]
    assert {"one", "two", "three"} == set(ids[0].values())


def test_file_system_that_goes_away(tmp_path, logs):
    """A folder that cannot be read is counted and tried again, and when it is back reading goes on where it stood."""
    live = logs / "app.log"
    append(live, "one")
    agent = Agent(tmp_path / "state", live)
    agent.run()
    logs.rename(tmp_path / "away")
    agent.run(10)
    (tmp_path / "away").rename(logs)
    append(live, "two")
    agent.run(8)

    assert messages(agent.documents[0]) == ["one", "two"]


def test_read_errors_are_counted(tmp_path, logs):
    """A file that cannot be read is counted and tried again; the others go on."""
    append(logs / "good.log", "good")
    (logs / "bad.log").symlink_to("/proc/self/mem")  # reading at offset 0 is an input/output error
    agent = Agent(tmp_path / "state", logs / "*.log")
    agent.run(3)

    assert messages(agent.documents[0]) == ["good"]


def test_links_and_pipes(tmp_path, logs):
    """A symbolic link is followed to the file it names now; two names of a file are one log; a pipe is left alone."""
    (logs / "pods").mkdir()
    append(logs / "pods" / "0.log", "one")
    (logs / "link.log").symlink_to(logs / "pods" / "0.log")
    (logs / "second.log").hardlink_to(logs / "pods" / "0.log")
    os.mkfifo(logs / "pipe.log")
    agent = Agent(tmp_path / "state", logs / "*.log")
    agent.run()
    (logs / "pods" / "0.log").rename(logs / "pods" / "0.log.20260101")
    append(logs / "pods" / "0.log", "two")
    agent.run(4)

    assert messages(agent.documents[0]) == ["one", "two"]


def test_end_takes_everything_at_once(tmp_path, logs):
    """When the agent is about to end no line waits for a grace or a linger."""
    append(logs / "app.log", "one", "half", end="")
    agent = Agent(tmp_path / "state", logs / "app.log")
    agent.tail.hurry()

    assert messages(agent.take()) == ["one", "half"]


def test_settling_out_of_order(tmp_path, logs):
    """Progress is durable up to the first batch that is not settled, whatever was settled after it."""
    live = logs / "app.log"
    agent = Agent(tmp_path / "state", live)
    append(live, "one")
    agent.run(settle=False)
    first = agent.token
    append(live, "two")
    agent.run(settle=False)
    agent.tail.settled(agent.token)
    agent.restart()

    assert messages(agent.run(settle=False)) == ["one", "two"]
    assert unique(agent.documents[0]) == {"one": 1, "two": 1}
    assert first is not agent.token


def test_constants_of_a_set(tmp_path, logs):
    """Run, rank and labels of a set of files go into its documents; what a line says itself comes first."""
    append(logs / "app.log", "text", '{"rank":7,"labels":{"team":"b"},"message":"json"}')
    agent = Agent(tmp_path / "state", FileSet((str(logs / "app.log"),), run="r1", rank=3, labels={"team": "a", "site": "x"}))
    text, record = agent.run()

    assert (text["run.id"], text["rank"], text["labels"]) == ("r1", 3, {"team": "a", "site": "x"})
    assert (record["run.id"], record["rank"], record["labels"]) == ("r1", 7, {"team": "b", "site": "x"})
