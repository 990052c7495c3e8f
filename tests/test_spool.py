"""The spool: bounded, checksummed, read by several outputs, and alive when the disk is not."""

import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinchpoint.clock import SYSTEM_CLOCK, HeldClock
from shippers.items import Input, Item
from shippers.spool import Spool
from shippers.spool.position import Position, PositionFile

MB = 1 << 20


def item(number: int, size: int = 100) -> Item:
    return Item("metric", f"m-{number:06d}", b'{"n":"' + b"x" * size + b'"}')


def rest_of(reader: Input, most_bytes: int = MB) -> list[str]:
    """Take and settle everything."""
    found = []
    while batch := reader.take(most_bytes):
        found += [one.id for one in batch.items]
        reader.settled(batch.token)
    return found


def opened(tmp_path: Path, most_bytes: int = 64 * MB, **options) -> Spool:
    return Spool(tmp_path / "spool", most_bytes, options.pop("clock", HeldClock()), **options)


def test_what_is_pushed_comes_out_in_order_for_each_output(tmp_path):
    """Two outputs read the same items, each at its own pace."""
    spool = opened(tmp_path)
    one, two = spool.input(tmp_path / "one"), spool.input(tmp_path / "two")
    spool.push([item(1), item(2)])
    first = rest_of(one)
    spool.push([item(3)])

    assert first == ["m-000001", "m-000002"]
    assert rest_of(one) == ["m-000003"]
    assert rest_of(two) == ["m-000001", "m-000002", "m-000003"]


def test_items_come_out_as_they_went_in(tmp_path):
    """Kind, id and document are the same bytes."""
    spool = opened(tmp_path)
    reader = spool.input(tmp_path / "one")
    sent = [Item("log", "ä\n\"", b'{"a":1}'), Item("span", "", b"{}")]
    spool.push(sent)

    batch = reader.take(MB)

    assert batch is not None
    assert sent == batch.items


def test_what_was_not_settled_is_taken_again_after_a_restart(tmp_path):
    """Settled items are gone for good, others come again."""
    spool = opened(tmp_path)
    reader = spool.input(tmp_path / "one")
    for number in range(3):
        spool.push([item(number)])
    first = reader.take(50)
    assert first is not None
    reader.settled(first.token)
    reader.take(MB)
    spool.close()

    again = opened(tmp_path)

    assert rest_of(again.input(tmp_path / "one")) == ["m-000001", "m-000002"]


def test_an_output_knows_how_long_the_oldest_item_waits(tmp_path):
    """The lag grows while an output takes nothing, ends with the last item, and survives a restart."""
    clock = HeldClock()
    spool = opened(tmp_path, clock=clock)
    slow, fast = spool.input(tmp_path / "slow"), spool.input(tmp_path / "fast")
    for number in range(3):
        spool.push([item(number)])
        rest_of(fast)
        clock.advance(10.0)
    waiting = slow.counters()["lag_s"]
    slow.settled(slow.take(50).token)
    after_one = slow.counters()["lag_s"]
    spool.close()
    for path in (tmp_path / "spool").iterdir():
        os.utime(path, ns=(clock.now_ns(), clock.now_ns()))
    clock.advance(100.0)
    again = opened(tmp_path, clock=clock).input(tmp_path / "slow")

    assert (waiting, after_one, fast.counters()["lag_s"]) == (30.0, 20.0, 0.0)
    assert again.counters()["lag_s"] == 100.0
    rest_of(again)
    assert again.counters()["lag_s"] == 0.0


def test_take_stays_near_the_bytes_that_are_asked_for(tmp_path):
    """A batch holds at least one frame, and not much more than was asked for."""
    spool = opened(tmp_path)
    reader = spool.input(tmp_path / "one")
    for number in range(10):
        spool.push([item(number, 1000)])

    batch = reader.take(3500)

    assert batch is not None
    assert len(batch.items) == 3


def test_the_oldest_goes_first_and_is_counted(tmp_path):
    """A full spool keeps the newest; what an output did not get is counted for it, in items and bytes."""
    spool = opened(tmp_path, 2 * MB)
    slow, fast = spool.input(tmp_path / "slow"), spool.input(tmp_path / "fast")
    got = []
    for number in range(1000):
        spool.push([item(number, 10_000)])
        got += rest_of(fast)

    kept = rest_of(slow)
    lost = slow.counters()

    assert [f"m-{number:06d}" for number in range(1000)] == got
    assert f"m-{999:06d}" == kept[-1]
    assert len(kept) + lost["dropped_items"] == 1000
    assert lost["dropped_bytes"] > 10_000 * lost["dropped_items"]
    assert fast.counters()["dropped_items"] == 0
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 2 * MB


def test_a_receiver_is_told_when_only_unread_items_could_make_room(tmp_path):
    """`offer` says no while the oldest segment was read by no output, and yes when one output is past it."""
    spool = opened(tmp_path, 2 * MB)
    one = spool.input(tmp_path / "one")
    spool.input(tmp_path / "dead")
    taken = 0
    while spool.offer([item(taken, 10_000)]):
        taken += 1

    assert one.counters()["dropped_items"] == 0
    assert spool.is_full()
    rest_of(one)
    assert spool.offer([item(taken, 10_000)])


def test_an_item_too_large_for_a_segment_is_refused_whole(tmp_path):
    """Nothing of a push is taken when one of its items never fits."""
    spool = opened(tmp_path, 2 * MB)
    reader = spool.input(tmp_path / "one")

    assert not spool.push([item(1), item(2, 2 * MB)])
    assert reader.take(MB) is None


def test_read_segments_are_deleted(tmp_path):
    """The disk holds no more than what some output still wants, and the segment being written."""
    spool = opened(tmp_path, 2 * MB)
    reader = spool.input(tmp_path / "one")
    for number in range(500):
        spool.push([item(number, 10_000)])
        rest_of(reader)

    assert len(list((tmp_path / "spool").iterdir())) <= 2


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 13, 60])
def test_a_torn_end_is_cut(tmp_path, cut):
    """Bytes that a kill left behind are not read, and what is pushed next is."""
    spool = opened(tmp_path)
    spool.push([item(1)])
    spool.close()
    [path] = (tmp_path / "spool").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])

    again = opened(tmp_path)
    reader = again.input(tmp_path / "one")
    again.push([item(2)])

    assert rest_of(reader) == ["m-000001", "m-000002"]
    assert again.counters()["damaged_segments"] == 0


def test_a_damaged_middle_is_skipped_to_the_next_segment_and_counted(tmp_path):
    """What precedes the damage in its segment and what stands in others is read."""
    spool = opened(tmp_path, 2 * MB)
    for number in range(60):
        spool.push([item(number, 10_000)])
    spool.close()
    paths = sorted((tmp_path / "spool").iterdir())
    data = bytearray(paths[1].read_bytes())
    data[len(data) // 2] ^= 1
    paths[1].write_bytes(data)

    again = opened(tmp_path, 2 * MB)
    found = rest_of(again.input(tmp_path / "one"))

    assert again.counters()["damaged_segments"] == 1
    assert 60 > len(found) > 40
    assert sorted(found) == found
    assert {"m-000000", "m-000059"} <= set(found)


def test_damage_while_it_is_open_is_skipped_and_counted(tmp_path):
    """A bit that flips on the disk costs the rest of one segment."""
    spool = opened(tmp_path, 2 * MB)
    reader = spool.input(tmp_path / "one")
    for number in range(60):
        spool.push([item(number, 10_000)])
    path = min((tmp_path / "spool").iterdir())
    with path.open("r+b") as file:
        file.seek(10_500)
        file.write(b"\xff\xfe")

    found = rest_of(reader)

    assert reader.counters()["damaged_segments"] == 1
    assert {"m-000000", "m-000059"} <= set(found)


def test_a_full_disk_leaves_items_in_memory_bounded_and_counted(tmp_path):
    """No push fails for want of space; when there is space again, files are used again."""
    clock = HeldClock()
    spool = opened(tmp_path, 64 * MB, clock=clock)
    reader = spool.input(tmp_path / "one")
    spool.push([item(0)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for number in range(1, 2001):
            spool.push([item(number, 10_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    held = spool.counters()["in_memory_bytes"]
    clock.advance(11)
    spool.push([item(2001)])

    found = rest_of(reader)

    assert 4 * MB < held <= 8 * MB
    assert {"m-000000", "m-002000", "m-002001"} <= set(found)
    assert len(found) + reader.counters()["dropped_items"] == 2002
    assert spool.counters()["disk_failures"] > 0
    assert any(path.stat().st_size for path in (tmp_path / "spool").iterdir())


def test_a_folder_that_cannot_be_made_leaves_items_in_memory(tmp_path):
    """A spool on a read-only disk works as long as the agent lives."""
    (tmp_path / "spool").write_text("in the way")
    spool = opened(tmp_path)
    reader = spool.input(tmp_path / "one")
    spool.push([item(1)])

    assert rest_of(reader) == ["m-000001"]


def test_a_position_survives_damage_of_one_of_its_places(tmp_path):
    """The place written before the last still tells where to go on."""
    file = PositionFile(tmp_path / "position")
    file.save(Position(1, 10))
    file.save(Position(1, 20))
    file.close()
    data = bytearray((tmp_path / "position").read_bytes())
    data[3] ^= 1  # in the place of the second write
    (tmp_path / "position").write_bytes(data)

    assert Position(1, 10) == PositionFile(tmp_path / "position").load()


def test_a_position_that_is_lost_begins_at_the_oldest(tmp_path):
    """Items come again rather than never; their ids make that harmless."""
    spool = opened(tmp_path)
    reader = spool.input(tmp_path / "one")
    spool.push([item(1)])
    rest_of(reader)
    spool.push([item(2)])
    spool.close()
    (tmp_path / "one").write_bytes(b"\xff" * 200)

    assert rest_of(opened(tmp_path).input(tmp_path / "one")) == ["m-000001", "m-000002"]


def test_segments_that_are_gone_do_not_stop_what_comes_after(tmp_path):
    """When somebody deletes the folder, new items still arrive."""
    spool = opened(tmp_path, 2 * MB)
    reader = spool.input(tmp_path / "one")
    for number in range(60):
        spool.push([item(number, 10_000)])
        rest_of(reader)
    spool.close()
    for path in (tmp_path / "spool").iterdir():
        path.unlink()

    again = opened(tmp_path, 2 * MB)
    reader = again.input(tmp_path / "one")
    again.push([item(99)])

    assert rest_of(reader) == ["m-000099"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.integers(1, 40), st.just("take"), st.just("restart"), st.just("tear")), max_size=40))
def test_nothing_is_lost_or_doubled_whatever_happens(tmp_path_factory, steps):
    """Pushes, takes, restarts without a close and torn ends in any order: each item comes once."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder / "spool", 64 * MB, HeldClock())
    reader = spool.input(folder / "one")
    opened_so_far = [spool]
    sent = 0
    found: list[str] = []
    for step in steps:
        if isinstance(step, int):
            spool.push([item(sent + number, 3000) for number in range(step)])
            sent += step
        elif step == "take":
            if (batch := reader.take(10_000)) is not None:
                found += [one.id for one in batch.items]
                reader.settled(batch.token)
        else:
            if step == "tear" and (paths := sorted((folder / "spool").iterdir())):
                with paths[-1].open("ab") as file:
                    file.write(os.urandom(7))
            spool = Spool(folder / "spool", 64 * MB, HeldClock())
            reader = spool.input(folder / "one")
            opened_so_far.append(spool)

    assert [f"m-{number:06d}" for number in range(sent)] == found + rest_of(reader)
    for one in opened_so_far:
        one.close()


_PUSHER = """
import sys
from pathlib import Path
from pinchpoint.clock import SYSTEM_CLOCK
from shippers.items import Item
from shippers.spool import Spool
spool = Spool(Path(sys.argv[1]) / "spool", 1 << 26, SYSTEM_CLOCK)
for number in range(10**9):
    spool.push([Item("metric", f"m-{number:09d}", b'{"n":1}')])
    print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_pushed(tmp_path):
    """Whatever `push` returned for is there after kill -9."""
    with subprocess.Popen([sys.executable, "-c", _PUSHER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) > 300:
                child.send_signal(signal.SIGKILL)
                break
        pushed = int((child.stdout.read().strip().splitlines() or ["0"])[-1] or 0)
    spool = Spool(tmp_path / "spool", 64 * MB, SYSTEM_CLOCK)

    found = rest_of(spool.input(tmp_path / "one"))

    assert [f"m-{number:09d}" for number in range(len(found))] == found
    assert len(found) >= max(pushed, 300)


def test_a_day_with_a_dead_output(tmp_path):
    """24 hours of readings for an output that takes nothing: memory stays flat, what is dropped is counted, the newest survives.

    When the output returns it reads everything that is left, in order; the output that lived has lost nothing.
    """
    clock = HeldClock()
    spool = opened(tmp_path, 4 * MB, clock=clock)
    dead, alive = spool.input(tmp_path / "dead"), spool.input(tmp_path / "alive")
    pushed = read = 0
    tracemalloc.start()
    memory = []
    for minute in range(24 * 60):
        spool.push([item(pushed + place, 300) for place in range(60)])
        pushed += 60
        while batch := alive.take(MB):
            read += len(batch.items)
            alive.settled(batch.token)
        clock.advance(60)
        if minute % 60 == 59:
            memory.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    left = rest_of(dead)

    assert read == pushed == 24 * 60 * 60
    assert left == [f"m-{number:06d}" for number in range(pushed - len(left), pushed)]
    assert dead.counters()["dropped_items"] == pushed - len(left)
    assert alive.counters()["dropped_items"] == 0
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 4 * MB
    assert max(memory[1:]) < memory[0] + 64 * 1024
