"""What agents land in a lake becomes records of it, each once."""

import gzip
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from test_lake_crash import Killer

from pinchpoint.clock import SYSTEM_CLOCK, HeldClock, format_time
from pinchpoint.errors import StoreError
from pinchpoint.store import open_store
from shippers.items import Item
from shippers.lanes import Ending
from shippers.outputs.lake import LakeOutput, SegmentIds

T0 = 1_767_225_600_000_000_000
HOUR_NS = 3_600_000_000_000


def item(number: int, kind: str = "log") -> Item:
    record = {"@timestamp": format_time(T0 + number * HOUR_NS // 4), "event.id": f"{kind}-{number}"}
    record |= {"message": f"line {number}"} if kind == "log" else {"entity.kind": "host", "entity.id": "h", "metrics": {"x": number}}
    return Item(kind, record["event.id"], json.dumps(record).encode())


def output(tmp_path: Path, lake: Path) -> LakeOutput:
    return LakeOutput("lake", str(lake), tmp_path / "state", clock=SYSTEM_CLOCK, sleep=Ending().sleep)


def landed(lake: Path) -> list[Path]:
    return sorted((lake / "_landing").glob("*"))


def ids(lake: Path, kind: str = "log") -> list[str]:
    store = open_store(str(lake))
    return sorted(identity for split in store.splits(kind) for batch in store.read(split, ["event.id"])
                  for identity in batch.column(0).to_pylist())


def test_what_was_landed_is_read_as_records(tmp_path):
    """Every kind and hour of a segment comes out, and nothing stays in the landing folder."""
    lake = tmp_path / "lake"
    output(tmp_path, lake).deliver([*(item(number) for number in range(10)), *(item(number, "metric") for number in range(5))])

    assert ids(lake) == sorted(f"log-{number}" for number in range(10))
    assert ids(lake, "metric") == sorted(f"metric-{number}" for number in range(5))
    assert landed(lake) == []


def test_a_batch_that_is_landed_twice_leaves_each_record_once(tmp_path):
    """An agent that was killed before it could note its progress lands the same records under another name."""
    lake = tmp_path / "lake"
    one = output(tmp_path, lake)
    one.deliver([item(1), item(2)])
    one.deliver([item(2), item(3)])

    assert ids(lake) == ["log-1", "log-2", "log-3"]


def test_compaction_brings_in_too(tmp_path):
    """`compact` leaves nothing landed, and readers see the same."""
    lake = tmp_path / "lake"
    for number in range(3):
        output(tmp_path, lake).deliver([item(number)])
    open_store(str(lake)).compact()

    assert landed(lake) == []
    assert ids(lake) == ["log-0", "log-1", "log-2"]


@pytest.mark.parametrize("operation", ["splits", "compact"])
def test_a_kill_at_any_point_loses_and_doubles_nothing(tmp_path, operation):
    """Kill -9 between any two changes of the file system while segments are brought in; then everything is there once."""
    start = tmp_path / "start"
    one = output(tmp_path, start)
    one.deliver([*(item(number) for number in range(6)), item(0, "metric")])
    one.deliver([item(6), item(7)])
    killer = Killer(tmp_path)
    points = 0
    for store in killer.at_every_point(start, operation, kind="log"):
        lake = Path(store.url)
        points += 1
        assert ids(lake) == [f"log-{number}" for number in range(8)]
        assert ids(lake, "metric") == ["metric-0"]
        assert landed(lake) == []

    assert points > 10


def test_two_who_bring_in_at_once_leave_each_record_once(tmp_path):
    """Several readers may find the same landed files."""
    lake = tmp_path / "lake"
    one = output(tmp_path, lake)
    for number in range(20):
        one.deliver([item(number)])
    threads = [threading.Thread(target=lambda: open_store(str(lake)).splits("log")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ids(lake) == sorted(f"log-{number}" for number in range(20))


@pytest.mark.parametrize(("damage", "says"), [
    (lambda data: data[:-20], "cut off"), (lambda data: b"no gzip", "header"), (lambda data: b"", "cut off"),
    (lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:], "landed damaged")])
def test_a_damaged_segment_is_set_aside_and_the_others_are_read(tmp_path, damage, says):
    """What cannot be unpacked is moved where it can be looked at, with the reason."""
    lake = tmp_path / "lake"
    one = output(tmp_path, lake)
    one.deliver([item(1), item(2)])
    one.deliver([item(3)])
    landed(lake)[0].write_bytes(damage(landed(lake)[0].read_bytes()))

    assert ids(lake) == ["log-3"]
    [aside] = open_store(str(lake)).set_aside()
    assert says in aside.reason
    assert Path(aside.path).exists()


def test_lines_that_are_no_records_are_set_aside_with_their_file(tmp_path):
    """The other lines of the file are read, once, and how many were not is told."""
    lake = tmp_path / "lake"
    (lake / "_landing").mkdir(parents=True)
    body = b'{"kind":"log",' + item(1).document[1:] + b'\n{"kind":"log"}\n{"kind":"incident","@timestamp":"2026-01-01T00:00:00Z"}\n\n'
    (lake / "_landing" / "other-1.ndjson.gz").write_bytes(gzip.compress(body))

    assert ids(lake) == ["log-1"]
    assert ids(lake) == ["log-1"]
    [aside] = open_store(str(lake)).set_aside()
    assert aside.records == 2
    assert "2 lines are no records" in aside.reason


def test_what_is_being_written_is_left_alone(tmp_path):
    """Files of other names are not touched."""
    lake = tmp_path / "lake"
    (lake / "_landing").mkdir(parents=True)
    (lake / "_landing" / ".x.ndjson.gz.tmp").write_bytes(b"half")

    assert ids(lake) == []
    assert len(landed(lake)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_lake_that_one_may_only_read_is_read(tmp_path):
    """Without the right to write, what has landed waits for somebody who has it."""
    lake = tmp_path / "lake"
    one = output(tmp_path, lake)
    one.deliver([item(1)])
    ids(lake)
    one.deliver([item(2)])
    subprocess.run(["chmod", "-R", "a-w", lake], check=True)
    try:
        assert ids(lake) == ["log-1"]
    finally:
        subprocess.run(["chmod", "-R", "u+w", lake], check=True)


def test_segment_ids_are_never_given_twice(tmp_path):
    """Also not after a crash, and not when the file that holds them is lost."""
    path = tmp_path / "segments.json"
    first = SegmentIds(path)
    given = [first.take() for _ in range(250)]
    again = SegmentIds(path)
    given += [again.take() for _ in range(10)]
    path.write_text("{")
    given += [SegmentIds(path).take()]

    assert len(set(given)) == len(given)
    assert sorted(given[:250]) == given[:250]


def test_a_lake_that_cannot_be_written_is_tried_again(tmp_path):
    """Nothing is settled meanwhile, and the trouble is told."""
    (tmp_path / "lake").write_text("in the way")
    clock = HeldClock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        (tmp_path / "lake").unlink()

    one = LakeOutput("lake", str(tmp_path / "lake"), tmp_path / "state", clock=clock, sleep=sleep)
    one.deliver([item(1)])

    assert clock.slept == [10.0]
    assert ids(tmp_path / "lake") == ["log-1"]
    assert one.trouble() is None


def test_a_patience_ends(tmp_path):
    """Shipping once gives up, and says which lake it was."""
    (tmp_path / "lake").write_text("in the way")
    clock = HeldClock()
    one = LakeOutput("lake", str(tmp_path / "lake"), tmp_path / "state", clock=clock, sleep=clock.sleep, patience_s=25.0)
    with pytest.raises(StoreError, match="cannot write to the lake"):
        one.deliver([item(1)])

    assert clock.slept == [10.0, 10.0, 10.0]
