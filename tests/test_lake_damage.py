"""The lake with torn, corrupt and foreign files in it."""

import errno
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinchpoint import records
from pinchpoint.clock import NS, HeldClock
from pinchpoint.errors import StoreError
from pinchpoint.store import IncidentFilter, open_store, segment
from pinchpoint.store.files import LocalFiles
from pinchpoint.store.lake import LakeStore

T0 = 1_767_225_600 * NS
HOUR = 3600 * NS
GOOD, BAD = [T0 + number * NS for number in range(0, 40, 2)], [T0 + number * NS for number in range(1, 41, 2)]


def steps(times):
    return records.batch("step", {"@timestamp": times, "event.id": [f"e{time}" for time in times], "step": [time % 997 for time in times],
                                  "duration_s": [time % 1009 / 7 for time in times], "run.id": ["r"] * len(times)})


def contents(store):
    """All columns of all steps, in order of time."""
    rows = [row for split in store.splits("step") for part in store.read(split) for row in part.to_pylist()]
    return sorted(rows, key=lambda row: row["@timestamp"])


@pytest.fixture
def damaged(tmp_path):
    """A lake of two segments of 20 records, and the file of the second."""
    store = open_store(str(tmp_path))
    store.append("step", steps(GOOD), "good")
    store.append("step", steps(BAD), "bad")
    return store, tmp_path / "step" / "2026-01-01T00" / "bad.parquet"


def other_kind(path):
    path.write_bytes(segment.encode("event", pa.Table.from_batches([records.batch("event", {"@timestamp": BAD})])))


def other_types(path):
    table = segment.disk_schema("step").empty_table().set_column(0, "@timestamp", pa.array([], pa.int64()))
    path.write_bytes(segment.encode("step", table))


def no_time(path):
    path.write_bytes(segment.encode("step", segment.disk_schema("step").empty_table().drop_columns(["@timestamp"])))


def foreign_parquet(path):
    pq.write_table(pa.table({"a": [1, 2]}), path)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"P"),
    "only the magic number": lambda path: path.write_bytes(b"PAR1PAR1"),
    "half": lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]),
    "last byte missing": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "footer alone": lambda path: path.write_bytes(path.read_bytes()[-2000:]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not parquet, not at all\n" * 9),
    "footer longer than the file": lambda path: path.write_bytes(b"\xff\xff\xff\x7fPAR1".rjust(99, b"x")),
    "another kind": other_kind,
    "another type": other_types,
    "no time": no_time,
    "another program's": foreign_parquet,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_set_aside(damaged, damage):
    """It is moved away with a reason, shown, and the rest is read; the writer may write it again."""
    store, path = damaged
    DAMAGES[damage](path)

    assert contents(store) == steps(GOOD).to_pylist()
    [aside] = store.set_aside()
    assert aside.path.endswith("_set_aside/step/2026-01-01T00/bad.parquet")
    assert Path(aside.path).exists() and not path.exists()
    assert aside.reason
    assert open_store(store.url).set_aside() == [aside]

    store.append("step", steps(BAD), "bad")
    assert contents(store) == sorted(steps(GOOD + BAD).to_pylist(), key=lambda row: row["@timestamp"])
    DAMAGES[damage](path)
    store.compact()
    assert contents(store) == steps(GOOD).to_pylist()
    assert len(store.set_aside()) == 2


def test_no_flipped_bit_changes_a_record(damaged):
    """Wherever a bit flips: either every record reads as it was written, or the segment is set aside."""
    store, path = damaged
    whole, everything = path.read_bytes(), contents(store)
    noticed = 0
    for position in range(0, len(whole), 41):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1:])
        os.utime(path, ns=(0, position))  # a change of the clock's granularity would hide that the file is another
        found = contents(store)
        if found != everything:
            noticed += 1
            assert found == steps(GOOD).to_pylist()
            assert not path.exists()
    assert noticed > 100


def test_a_flipped_bit_in_joined_segments_is_noticed(damaged):
    """Joined files have the same checksums; what is lost with one can be written again."""
    store, _ = damaged
    store.compact()
    path = next(Path(store.url).rglob("joined/*.parquet"))
    whole = bytearray(path.read_bytes())
    whole[200:300] = bytes(byte ^ 16 for byte in whole[200:300])
    path.write_bytes(whole)

    assert contents(store) == []
    [aside] = store.set_aside()
    assert (aside.records, "checksum" in aside.reason or "CRC" in aside.reason) == (40, True)
    for name, times in (("good", GOOD), ("bad", BAD)):
        store.append("step", steps(times), name)
    assert len(contents(store)) == 40


def test_appending_beside_damaged_joined_segments(damaged):
    """A writer that finds the joined file unreadable sets it aside and writes."""
    store, _ = damaged
    store.compact()
    next(Path(store.url).rglob("joined/*.parquet")).write_bytes(b"")
    store.append("step", steps(GOOD), "good")

    assert contents(store) == steps(GOOD).to_pylist()


def test_a_read_only_lake_remembers_what_it_cannot_move(damaged):
    """Nothing is written, the damaged segment is shown and the rest is read."""
    store, path = damaged
    path.write_bytes(b"")

    class ReadOnly(LocalFiles):
        def put(self, path, data):
            raise OSError(errno.EROFS, "Read-only file system")

        move = put

    reader = LakeStore(store.url, files=ReadOnly(Path(store.url)))

    assert contents(reader) == steps(GOOD).to_pylist()
    assert contents(reader) == steps(GOOD).to_pylist()
    assert [(aside.path, aside.reason) for aside in reader.set_aside()] == [(str(path), "empty (0 bytes)")]
    with pytest.raises(StoreError, match="Read-only file system"):
        reader.append("step", steps([T0]), "new")


def test_a_sick_disk_is_no_damage(damaged):
    """A file that cannot be read now is left where it is, and the error says so."""
    store, path = damaged

    class Sick(LocalFiles):
        def open(self, path):
            raise OSError(errno.EIO, "Input/output error")

        def read(self, path):
            raise OSError(errno.EIO, "Input/output error")

    segment._FOOTERS.clear()
    with pytest.raises(StoreError, match="Input/output error"):
        contents(LakeStore(store.url, files=Sick(Path(store.url))))
    assert path.exists()


def test_a_segment_of_an_older_version_is_read(tmp_path):
    """Columns that were defined since are null, those that are not known any more are left out."""
    store = open_store(str(tmp_path))
    store.append("step", steps(GOOD), "new")
    old = pa.Table.from_batches([steps(BAD)]).select(["@timestamp", "event.id", "step"]).append_column("gone", pa.array([1.0] * 20))
    (tmp_path / "step" / "2026-01-01T00" / "old.parquet").write_bytes(segment.encode("step", old))
    for _ in range(2):
        rows = contents(store)

        assert len(rows) == 40
        assert [row["duration_s"] for row in rows[1::2]] == [None] * 20
        assert [row["step"] for row in rows[1::2]] == [time % 997 for time in BAD]
        [split] = store.splits("step")
        assert sum(part.num_rows for part in store.read(split, ["cpu_s"])) == 40
        store.compact()
    assert store.set_aside() == []


def test_foreign_files_are_left_alone(damaged):
    """What has no name of ours is neither read nor dropped with the reading."""
    store, path = damaged
    for name in ("notes.txt", "~x.parquet", "bad.parquet.tmp", "2026-01-01T00.json"):
        (path.parent / name).write_text("hello")
    (path.parent / "folder.parquet").mkdir()
    (path.parent.parent / "2026-13-01T99").mkdir()

    assert len(contents(store)) == 40
    assert store.set_aside() == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": "i1"}', '{"id": "i1", "start": 5}', "\xff\xfe", "[" * 5000])
def test_damaged_documents_are_set_aside(tmp_path, text):
    """An incident, a label, a watermark or a list of hours that is damaged never stops a query."""
    store = open_store(str(tmp_path))
    for name in ("i1", "i2"):
        store.put_incident({"id": name, "start": "2026-01-01T00:00:00Z", "causes": []})
        store.label(name, "seen", None, T0)
    store.set_watermark("analyze", T0)
    store.append("feature", records.batch("feature", {"@timestamp": [T0]}), "f1")
    [label] = (tmp_path / "_labels" / "i2").iterdir()
    damaged = [tmp_path / "_incidents" / "i1.json", label, tmp_path / "_watermarks" / "analyze.json",
               tmp_path / "feature" / "_segments" / "f1.json"]
    for path in damaged:
        path.write_bytes(text.encode("latin-1"))
    store.append("feature", records.batch("feature", {"@timestamp": [T0]}), "f1")

    assert [(one["id"], one["labels"]) for one in store.query_incidents(IncidentFilter())] == [("i2", [])]
    assert store.watermark("analyze") is None
    assert len(store.set_aside()) == len(damaged)
    assert [part.num_rows for split in store.splits("feature") for part in store.read(split)] == [1]


def test_a_damaged_reason_is_no_reason_to_stop(damaged):
    """What was set aside is shown even when nobody can tell why."""
    store, path = damaged
    path.write_bytes(b"")
    contents(store)
    next(Path(store.url).rglob("*.reason.json")).write_text("{")

    assert [aside.reason for aside in store.set_aside()] == ["unknown: the file that says why is damaged too"]


def test_what_killed_writers_left_is_swept_after_a_day(tmp_path):
    """Unfinished files of a writer that may live stay."""
    clock = HeldClock(T0)
    store = LakeStore(str(tmp_path), clock=clock)
    store.append("step", steps(GOOD), "good")
    old, new = tmp_path / "_tmp" / "old", tmp_path / "_tmp" / "new"
    for path, age_s in ((old, 90_000), (new, 3600)):
        path.touch()
        os.utime(path, ns=(T0 - age_s * NS, T0 - age_s * NS))
    store.compact()

    assert (old.exists(), new.exists()) == (False, True)


def test_the_reason_says_where_the_file_was(damaged):
    """So that a person can put it back."""
    store, path = damaged
    path.write_bytes(b"")
    contents(store)

    assert json.loads(next(Path(store.url).rglob("*.reason.json")).read_text())["was"] == str(path)
