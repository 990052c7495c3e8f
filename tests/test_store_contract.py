"""What every store keeps: memory, the lake on a disk and the lake on object storage, also a real S3 server; Elasticsearch will join."""

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from services_fixtures import VERSIONS

from pinchpoint import fields, records
from pinchpoint.clock import NS, format_time
from pinchpoint.errors import IncidentNotFound, RecordError, StoreError, UsageError
from pinchpoint.store import IncidentFilter, Split, Store, open_store
from pinchpoint.store.files import ObjectFiles
from pinchpoint.store.lake import LakeStore

T0 = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z, the start of an hour
HOUR = 3600 * NS


def memory(folder: Path) -> Store:
    return open_store("memory:")


def lake(folder: Path) -> Store:
    return open_store(str(folder))


def objects(folder: Path) -> Store:
    """The code path of s3:// and gs://, on a file system that pyarrow has everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ObjectFiles(pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()), "", "objects")
    return LakeStore("objects", files=files)


STORES: dict[str, Callable[[Path], Store]] = {"memory": memory, "lake": lake, "objects": objects}


@pytest.fixture(params=[*STORES, *(pytest.param(name, marks=pytest.mark.service) for name in ("s3", *VERSIONS))])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind; those of Elasticsearch go by the version of the server."""
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_bucket"))
    if request.param in VERSIONS:
        return request.getfixturevalue("elastic_store")(request.param)
    return STORES[request.param](tmp_path / "store")


def steps(times: Iterable[int], ids: Sequence[str | None] | None = None, value: float = 0.5) -> pa.RecordBatch:
    """Steps at these times (UTC ns); ids default to the time."""
    times = list(times)
    return records.batch("step", {"@timestamp": times, "event.id": ids or [f"e{time}" for time in times],
                                  "run.id": ["r"] * len(times), "duration_s": [value] * len(times),
                                  "labels": [[("key", "text")]] * len(times)})


def features(times: Iterable[int], ids: Sequence[str | None] | None = None, value: float = 0.5) -> pa.RecordBatch:
    """Features, a derived kind, at these times (UTC ns)."""
    times = list(times)
    return records.batch("feature", {"@timestamp": times, "event.id": ids or [f"e{time}" for time in times],
                                     "window_s": [value] * len(times), "features": [[("x", value)]] * len(times),
                                     "slow_steps": [[{"step": 1, "duration_s": value, "phase": "gc"}]] * len(times)})


def rows(store: Store, kind: str = "step", columns: Sequence[str] | None = None, **window: Any) -> list[dict[str, Any]]:
    """All records, through the slices."""
    return [row for split in store.splits(kind, **window) for batch in store.read(split, columns) for row in batch.to_pylist()]


def times(store: Store, kind: str = "step", **window: Any) -> list[int]:
    """The times of all records, ascending, in UTC ns."""
    batches = [batch for split in store.splits(kind, **window) for batch in store.read(split, ["@timestamp"])]
    return sorted(time for batch in batches for time in batch.column(0).cast(pa.int64()).to_pylist())


# Appending


def test_what_is_appended_is_read(store):
    """Every column of every record comes back, also nested ones and those that are null."""
    batch = steps([T0, T0 + NS])
    store.append("step", batch, "s1")
    [split] = store.splits("step")
    read = pa.Table.from_batches(store.read(split))

    assert read.schema == records.schema("step")
    assert read.to_pylist() == pa.Table.from_batches([batch]).to_pylist()


@pytest.mark.parametrize("kind", fields.KINDS)
def test_every_kind_is_kept(store, kind):
    """A record with nothing but a time and an id survives in each kind."""
    batch = records.batch(kind, {"@timestamp": [T0], "event.id": ["e"]})
    store.append(kind, batch, "s1")

    assert rows(store, kind) == batch.to_pylist()


def test_nested_columns_of_derived_kinds_come_back(store):
    """Lists of structures and maps have the types of the schema."""
    batch = features([T0, T0 + NS])
    store.append("feature", batch, "s1")
    [split] = store.splits("feature")

    assert pa.Table.from_batches(store.read(split)).to_pylist() == batch.to_pylist()
    assert all(part.schema == records.schema("feature") for part in store.read(split))


def test_a_segment_appended_again_is_ignored(store):
    """The same segment id counts once, also for records without an id."""
    batch = steps([T0, T0], [None, None])
    store.append("step", batch, "s1")
    store.append("step", batch, "s1")
    store.append("step", steps([T0], ["other"]), "s1")

    assert times(store) == [T0, T0]


def test_a_record_in_two_segments_is_read_once(store):
    """What agrees in event.id and @timestamp is one record."""
    store.append("step", steps([T0, T0 + 1, T0 + 2]), "s1")
    store.append("step", steps([T0 + 1, T0 + 2, T0 + 3]), "s2")

    assert times(store) == [T0, T0 + 1, T0 + 2, T0 + 3]


def test_a_record_twice_in_one_batch_is_read_once(store):
    """A batch may repeat itself."""
    store.append("step", steps([T0, T0, T0 + 1], ["a", "a", "b"]), "s1")

    assert times(store) == [T0, T0 + 1]


def test_the_same_id_at_another_time_is_another_record(store):
    """Identity is the id together with the time."""
    store.append("step", steps([T0, T0 + 1], ["a", "a"]), "s1")

    assert times(store) == [T0, T0 + 1]


def test_records_without_an_id_are_never_merged(store):
    """Nothing says that they are the same."""
    store.append("step", steps([T0, T0], [None, None]), "s1")
    store.append("step", steps([T0], [None]), "s2")

    assert times(store) == [T0, T0, T0]


def test_records_are_told_apart_by_long_and_odd_ids(store):
    """Ids that share a beginning, an end or a length, hold any script or nothing at all are different ids."""
    ids = ["", "a", "a\0", "ab", "ba", "x" * 255, "x" * 256, "x" * 257, "x" * 300 + "a", "x" * 300 + "b", "é", "e\u0301", "日本語",
           "12345678", "12345679", "1234567812345678", "123456781234567"]
    store.append("step", steps([T0] * len(ids), ids), "s1")
    store.append("step", steps([T0] * len(ids), ids[::-1]), "s2")

    assert sorted(row["event.id"] for row in rows(store)) == sorted(ids)


def test_clock_going_backwards(store):
    """Later segments, and records of one batch, may be older than those before."""
    store.append("step", steps([T0 + 9 * NS, T0 + 3 * NS, T0 + HOUR, T0 - NS]), "s1")
    store.append("step", steps([T0 - HOUR, T0 + 4 * NS]), "s2")

    assert times(store) == [T0 - HOUR, T0 - NS, T0 + 3 * NS, T0 + 4 * NS, T0 + 9 * NS, T0 + HOUR]


def test_times_before_1970_are_kept(store):
    """A clock that was never set is no reason to lose a record."""
    store.append("step", steps([-1, -HOUR - 1, 0]), "s1")

    assert times(store) == [-HOUR - 1, -1, 0]


def test_an_empty_batch_leaves_nothing(store):
    """No record, no slice."""
    store.append("step", steps([]), "s1")

    assert store.splits("step") == []


@pytest.mark.parametrize("batch", [
    steps([T0]).select(["@timestamp", "event.id"]),
    features([T0]),
    pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in records.schema("step")], schema=records.schema("step")),
])
def test_a_batch_that_does_not_fit_is_refused(store, batch):
    """A missing column, another kind and a missing time are errors at the door."""
    with pytest.raises(RecordError):
        store.append("step", batch, "s1")

    assert times(store) == []


@pytest.mark.parametrize("segment_id", ["", "a/b", "..\\x", "a b", "~a", "a@1", "x" * 151])
def test_a_segment_id_that_is_no_name_is_refused(store, segment_id):
    """Ids become file names and document ids."""
    with pytest.raises(StoreError, match="expected 1 to 150"):
        store.append("step", steps([T0]), segment_id)


def test_an_unknown_kind_is_refused(store):
    """The message names the kinds there are."""
    with pytest.raises(RecordError, match="step, metric"):
        store.append("stepp", steps([T0]), "s1")
    with pytest.raises(RecordError, match="step, metric"):
        store.splits("stepp")


# Derived kinds


def test_a_derived_segment_written_again_replaces(store):
    """What the second writing lacks is gone, what it changes is changed, also in other hours."""
    store.append("feature", features([T0, T0 + HOUR, T0 + HOUR + 1], value=1.0), "f1")
    store.append("feature", features([T0 + 1, T0 + HOUR], value=2.0), "f1")

    assert sorted((row["event.id"], row["window_s"]) for row in rows(store, "feature")) == [
        (f"e{T0 + 1}", 2.0), (f"e{T0 + HOUR}", 2.0)]


def test_a_derived_segment_may_move_to_another_hour(store):
    """The hour it was in before keeps nothing of it."""
    store.append("cause", records.batch("cause", {"@timestamp": [T0], "event.id": ["c"]}), "c1")
    store.append("cause", records.batch("cause", {"@timestamp": [T0 - HOUR], "event.id": ["c"]}), "c1")
    store.append("cause", records.batch("cause", {"@timestamp": [T0 + HOUR], "event.id": ["c"]}), "c1")

    assert times(store, "cause") == [T0 + HOUR]


def test_a_derived_segment_written_again_empty_is_gone(store):
    """An analysis that finds nothing any more takes back what it found."""
    store.append("feature", features([T0, T0 + HOUR]), "f1")
    store.append("feature", features([]), "f1")

    assert times(store, "feature") == []


def test_of_a_derived_record_in_two_segments_the_last_written_stays(store):
    """Whichever segment it is in."""
    store.append("feature", features([T0, T0 + 1], ["a", "b"], 1.0), "f2")
    store.append("feature", features([T0], ["a"], 2.0), "f1")
    store.append("feature", features([T0 + 1, T0 + 1], ["b", "b"], 3.0), "f3")

    assert sorted((row["event.id"], row["window_s"]) for row in rows(store, "feature")) == [("a", 2.0), ("b", 3.0)]


# Slices


def test_an_hour_with_no_data_has_no_slice(store):
    """Slices in which nothing lies are left out."""
    store.append("step", steps([T0, T0 + 2 * HOUR]), "s1")

    assert store.splits("step", align_s=3600, records=1) == [
        Split("step", T0, T0 + HOUR, 1), Split("step", T0 + 2 * HOUR, T0 + 3 * HOUR, 1)]
    assert store.splits("step", T0 + HOUR, T0 + 2 * HOUR) == []
    assert list(store.read(Split("step", T0 + HOUR, T0 + 2 * HOUR, 0))) == []


def test_a_store_without_records_has_no_slices(store):
    """Asking an empty store is no error."""
    assert [store.splits(kind) for kind in fields.KINDS] == [[] for _ in fields.KINDS]


@given(data=st.data(), align_s=st.sampled_from([10.0, 60.0, 300.0, 3600.0, 86400.0]), records=st.integers(1, 40))
def test_slices_are_aligned_apart_and_cover_all(tmp_path_factory, data, align_s, records):
    """Whatever the records: slices are cut at multiples, do not overlap, and every record is in the one it belongs to."""
    seconds = data.draw(st.lists(st.integers(0, 7200), min_size=1, max_size=30))
    for name in ("memory", "lake"):
        store = STORES[name](tmp_path_factory.mktemp(name))
        for number in range(2):
            store.append("step", steps([T0 + second * NS for second in seconds[number::2]],
                                       [str(place) for place in range(number, len(seconds), 2)]), f"s{number}")
        splits = store.splits("step", align_s=align_s, records=records)
        align = round(align_s * NS)

        assert all(split.start % align == 0 and split.end % align == 0 for split in splits)
        assert all(one.end <= two.start for one, two in itertools.pairwise(splits))
        assert all(split.records <= records or split.end - split.start == align for split in splits)
        held = [sum(batch.num_rows for batch in store.read(split, ["step"])) for split in splits]
        assert sum(held) == len(seconds)
        assert held == [split.records for split in splits]


def test_slices_keep_to_what_is_asked(store):
    """Start is inclusive, end is not, both to the nanosecond."""
    store.append("step", steps([T0 - 1, T0, T0 + 7, T0 + 8, T0 + 9]), "s1")

    assert times(store, start=T0, end=T0 + 8) == [T0, T0 + 7]
    assert times(store, start=T0 + 9) == [T0 + 9]
    assert times(store, end=T0) == [T0 - 1]


def test_an_align_that_is_no_length_is_refused(store):
    """Nought seconds cut nothing."""
    with pytest.raises(UsageError, match="align_s"):
        store.splits("step", align_s=0)


# Reading


def test_columns_come_in_the_order_asked_for(store):
    """A batch has exactly the columns wanted, without those that reading itself needs."""
    store.append("step", steps([T0, T0 + 1]), "s1")
    store.append("step", steps([T0 + 1, T0 + 2]), "s2")
    [split] = store.splits("step")
    for columns in (["duration_s", "run.id"], ["labels"], ["@timestamp", "event.id"]):
        read = list(store.read(split, columns))

        assert all(batch.schema == records.schema("step", columns) for batch in read)
        assert sum(batch.num_rows for batch in read) == 3


def test_an_unknown_column_is_refused(store):
    """A misspelt column is an error, not a column of nulls."""
    store.append("step", steps([T0]), "s1")

    with pytest.raises(RecordError, match="duration"):
        list(store.read(store.splits("step")[0], ["duration"]))


def test_records_written_after_the_slices_were_made_are_read(store):
    """A slice is a stretch of time, not a list of segments."""
    store.append("step", steps([T0]), "s1")
    [split] = store.splits("step")
    store.append("step", steps([T0 + NS]), "s2")

    assert sum(batch.num_rows for batch in store.read(split)) == 2


def test_writers_in_threads(store):
    """Several threads append at once, some the same segments."""
    def write(writer: int) -> None:
        for number in range(8):
            store.append("step", steps([T0 + number * NS, T0 + HOUR + number * NS], [f"{number}", f"{number}"]), f"shared-{number}")
            store.append("step", steps([T0 + number * NS], [f"{writer}-{number}"]), f"own-{writer}-{number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(times(store)) == 8 * 2 + 3 * 8


# Joining and dropping


def test_joining_changes_nothing(store):
    """Records, repeats, records without an id and later repeats of segments read the same after segments were joined."""
    for number in range(6):
        store.append("step", steps([T0 + number, T0 + number + 1, T0, T0 + HOUR + number], [f"{number}", f"{number + 1}", None, "z"]),
                     f"s{number}")
    one_hour = steps([T0 + 7, T0 + 7], [None, "seven"])
    store.append("step", one_hour, "s7")
    before = sorted(rows(store), key=str)
    store.compact()
    store.append("step", one_hour, "s7")
    again = steps([T0 + 2, T0 + 3, T0, T0 + HOUR + 2], ["2", "3", None, "z"])
    store.append("step", again, "s2")

    assert sorted(rows(store), key=str) == before
    store.append("step", steps([T0 + 50, T0 + 2], ["new", "2"]), "late")
    store.compact()
    assert sorted(rows(store), key=str) == sorted([*before, *steps([T0 + 50], ["new"]).to_pylist()], key=str)
    assert store.compact() == 0


def test_joining_keeps_what_derived_kinds_replace(store):
    """A segment that was joined can still be replaced, and taken back."""
    store.append("feature", features([T0, T0 + 1, T0 + HOUR], ["a", "b", "c"], 1.0), "f1")
    store.append("feature", features([T0], ["a"], 2.0), "f2")
    store.compact()
    store.append("feature", features([T0 + 1], ["b"], 3.0), "f1")
    store.compact()

    assert sorted((row["event.id"], row["window_s"]) for row in rows(store, "feature")) == [("a", 2.0), ("b", 3.0)]
    store.append("feature", features([]), "f2")
    assert sorted((row["event.id"], row["window_s"]) for row in rows(store, "feature")) == [("b", 3.0)]


def test_joining_stops_before_a_time(store):
    """Hours that are not over by then stay as they are."""
    for number in range(3):
        store.append("step", steps([T0 + number, T0 + HOUR + number]), f"s{number}")
    store.compact(T0 + HOUR + 1)

    assert len(times(store)) == 6


def test_retention_drops_whole_hours(store):
    """Hours that ended by then go; the hour that it falls into stays whole."""
    for hour in range(4):
        store.append("step", steps([T0 + hour * HOUR, T0 + hour * HOUR + 1]), f"s{hour}")
    store.append("event", records.batch("event", {"@timestamp": [T0], "event.id": ["e"]}), "e1")

    assert store.retain("step", T0 + 2 * HOUR + 5) == 2
    assert times(store) == [T0 + 2 * HOUR, T0 + 2 * HOUR + 1, T0 + 3 * HOUR, T0 + 3 * HOUR + 1]
    assert times(store, "event") == [T0]
    assert store.retain("step", T0 + 2 * HOUR + 5) == 0


def test_retention_of_derived_kinds(store):
    """A segment of which hours were dropped can still be replaced."""
    store.append("feature", features([T0, T0 + HOUR, T0 + 2 * HOUR]), "f1")
    store.retain("feature", T0 + HOUR)
    assert times(store, "feature") == [T0 + HOUR, T0 + 2 * HOUR]
    store.append("feature", features([T0 + 2 * HOUR + 1]), "f1")

    assert times(store, "feature") == [T0 + 2 * HOUR + 1]
    store.retain("feature", T0 + 9 * HOUR)
    assert times(store, "feature") == []


# Incidents


def incident(number: int, **changes: Any) -> dict[str, Any]:
    """An incident as the verdict prints it; later numbers start later."""
    return {"id": f"id{number:02d}", "run": "r1", "workload": "w", "hosts": ["h1"], "start": format_time(T0 + number * 60 * NS),
            "end": format_time(T0 + (number + 1) * 60 * NS), "symptom": {"name": "step_time", "lost_seconds": 1.5},
            "causes": [{"cause": "small_file_storm", "id": "D06", "category": "data", "lost_seconds": 1.0},
                       {"cause": "cpu_contention", "id": "I12", "category": "infrastructure", "lost_seconds": 0.5}], **changes}


def test_an_incident_is_kept_and_replaced(store):
    """Putting an id again leaves the last; its labels stay."""
    store.put_incident(incident(1))
    store.label("id01", "confirmed", "new image", T0)
    store.put_incident(incident(1, run="r2", labels=[{"label": "not mine"}]))

    assert store.incident("id01") == {**incident(1, run="r2"),
                                      "labels": [{"label": "confirmed", "note": "new image", "at": "2026-01-01T00:00:00Z"}]}
    assert len(store.query_incidents(IncidentFilter())) == 1


@pytest.mark.parametrize("broken", [{"id": ""}, {"id": 3}, {"start": None}, {"start": "yesterday"}, {"end": "soon"}])
def test_an_incident_that_could_not_be_found_again_is_refused(store, broken):
    """Id, start and end must be what queries need."""
    with pytest.raises(RecordError):
        store.put_incident(incident(1, **broken))


def test_an_incident_is_found_by_the_beginning_of_its_id(store):
    """As with commits; an id that begins another is found by itself."""
    for name in ("abc1", "abc2", "abc22", "d/../é"):
        store.put_incident(incident(1, id=name))

    assert store.incident("abc1")["id"] == "abc1"
    assert store.incident("abc2")["id"] == "abc2"
    assert store.incident("d")["id"] == "d/../é"
    with pytest.raises(IncidentNotFound, match="abc1, abc2, abc22"):
        store.incident("abc")
    with pytest.raises(IncidentNotFound, match="pinchpoint incidents"):
        store.incident("x")


@pytest.mark.parametrize(("filters", "found"), [
    (IncidentFilter(), [4, 3, 2, 1]),
    (IncidentFilter(limit=2), [4, 3]),
    (IncidentFilter(category="infrastructure"), [4, 2, 1]),
    (IncidentFilter(category="model"), [3]),
    (IncidentFilter(cause="small_file_storm"), [4, 2, 1]),
    (IncidentFilter(cause="I12"), [4, 2, 1]),
    (IncidentFilter(cause="M02", category="data"), []),
    (IncidentFilter(host="h2"), [2]),
    (IncidentFilter(run="r9"), [4]),
    (IncidentFilter(since=T0 + 3 * 60 * NS), [4, 3, 2]),
    (IncidentFilter(until=T0 + 2 * 60 * NS), [1]),
    (IncidentFilter(since=T0 + 4 * 60 * NS, until=T0 + 4 * 60 * NS), [3]),
])
def test_incidents_are_filtered(store, filters, found):
    """Every filter must pass, latest first; a cause counts whichever place it has."""
    store.put_incident(incident(1))
    store.put_incident(incident(2, hosts=["h1", "h2"]))
    store.put_incident(incident(3, causes=[{"cause": "recompilation", "id": "M02", "category": "model"}]))
    store.put_incident(incident(4, run="r9", end=None))

    assert [one["id"] for one in store.query_incidents(filters)] == [f"id{number:02d}" for number in found]


def test_incidents_that_start_together_are_sorted_by_id(store):
    """So that two lists are the same."""
    for name in ("b", "c", "a"):
        store.put_incident(incident(1, id=name))

    assert [one["id"] for one in store.query_incidents(IncidentFilter())] == ["a", "b", "c"]


def test_labels_are_kept_side_by_side(store):
    """Two labels stay two; the same label given again keeps the later note."""
    store.put_incident(incident(1))
    store.label("id01", "confirmed", "first", T0)
    store.label("id0", "false alarm / noise", None, T0)
    store.label("id01", "confirmed", "second", T0 + NS)

    assert store.query_incidents(IncidentFilter())[0]["labels"] == [
        {"label": "confirmed", "note": "second", "at": "2026-01-01T00:00:01Z"},
        {"label": "false alarm / noise", "note": None, "at": "2026-01-01T00:00:00Z"}]
    with pytest.raises(IncidentNotFound):
        store.label("id02", "confirmed", None, T0)


def test_a_changed_answer_does_not_change_the_store(store):
    """What a caller does to an incident stays with the caller."""
    mine = incident(1)
    store.put_incident(mine)
    mine["causes"].clear()
    store.incident("id01")["causes"].clear()

    assert len(store.incident("id01")["causes"]) == 2


def test_watermarks_are_kept_by_job(store):
    """None before the first run, then what was set last."""
    assert store.watermark("analyze") is None
    store.set_watermark("analyze", T0)
    store.set_watermark("a/b", 7)
    store.set_watermark("analyze", T0 + 1)

    assert (store.watermark("analyze"), store.watermark("a/b")) == (T0 + 1, 7)


def test_nothing_is_set_aside_in_good_times(store):
    """The list is empty until something is damaged."""
    store.append("step", steps([T0]), "s1")
    assert times(store) == [T0]

    assert store.set_aside() == []


def test_urls_are_told_apart(tmp_path):
    """A store of no known kind is refused with the kinds there are."""
    with pytest.raises(UsageError, match="memory:"):
        open_store("ftp://somewhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="it is a file"):
        open_store(str(tmp_path / "file"))
    assert open_store(f"file://{tmp_path}").url == str(tmp_path)
    assert open_store("memory:").url == "memory:"


def test_not_a_number_and_infinity_come_back(store):
    """NaN is not ready yet, null is not measured: they stay what they are."""
    values = [math.nan, math.inf, -0.0, None]
    store.append("step", records.batch("step", {"@timestamp": [T0, T0 + 1, T0 + 2, T0 + 3], "duration_s": values}), "s1")

    assert [str(row["duration_s"]) for row in rows(store)] == ["nan", "inf", "-0.0", "None"]
