"""The lake while several processes write, read, join and drop at once."""

import collections
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import StoreError
from pinchpoint.store import Split, open_store
from pinchpoint.store.files import LocalFiles
from pinchpoint.store.lake import LakeStore

T0 = 1_767_225_600 * NS
HOUR = 3600 * NS
DAY = Split("step", T0 - 24 * HOUR, T0 + 24 * HOUR, 0)
PART = 50  # records of a segment in each hour

COMMON = """
import sys
from pinchpoint import records
from pinchpoint.store import open_store
T0, HOUR, PART = 1_767_225_600 * 10**9, 3600 * 10**9, 50
def batch(kind, segment, first_hour, hours, value=0.0):
    times = [T0 + (first_hour + hour) * HOUR + number for hour in range(hours) for number in range(PART)]
    column = "duration_s" if kind == "step" else "window_s"
    return records.batch(kind, {"@timestamp": times, "event.id": [f"{segment}-{time}" for time in times], "run.id": [segment] * len(times),
                                column: [value] * len(times)})
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""


class Processes:
    """Python processes that share a lake, started together."""

    def __init__(self, root, *bodies):
        self.all = [subprocess.Popen([sys.executable, "-c", COMMON + body, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True) for body in bodies]
        for process in self.all:
            assert process.stdout.readline() == "ready\n"
        for process in self.all:
            process.stdin.write("go\n")
            process.stdin.flush()

    def running(self):
        return any(process.poll() is None for process in self.all)

    def end(self):
        return [process.wait(60) for process in self.all]


def counts(store, split=DAY):
    """How many records of each segment are read, and that none is read twice."""
    table = [row for part in store.read(split, ["event.id", "run.id"]) for row in part.to_pylist()]
    ids = [row["event.id"] for row in table]
    assert len(ids) == len(set(ids))
    return collections.Counter(row["run.id"] for row in table)


def test_writers_in_processes(tmp_path):
    """Two processes append at once, some segments both of them: every record is there once."""
    body = """
for number in range(25):
    store.append("step", batch("step", f"shared-{number}", number % 3, 2), f"shared-{number}")
    store.append("step", batch("step", f"{sys.argv[0]}NAME-{number}", number % 3, 1), f"NAME-{number}")
"""
    processes = Processes(tmp_path, body.replace("NAME", "one"), body.replace("NAME", "two"))

    assert processes.end() == [0, 0]
    found = counts(open_store(str(tmp_path)))
    assert len(found) == 75
    assert all(many == (2 * PART if name.startswith("shared") else PART) for name, many in found.items())


def test_joining_while_reading_and_writing(tmp_path):
    """What a reader sees only grows, each segment whole and each record once, while others write and join."""
    write = """
for number in range(40):
    store.append("step", batch("step", f"NAME-{number}", number % 2, 1 + number % 3), f"NAME-{number}")
"""
    join = """
for _ in range(25):
    store.compact()
"""
    processes = Processes(tmp_path, write.replace("NAME", "one"), write.replace("NAME", "two"), join, join)
    store, seen, reads = open_store(str(tmp_path)), collections.Counter(), 0
    while processes.running():
        found = counts(store)
        reads += 1

        assert seen.keys() <= found.keys()
        assert all(many == (1 + int(name.rpartition("-")[2]) % 3) * PART for name, many in found.items())
        seen = found
    assert processes.end() == [0, 0, 0, 0]
    assert reads > 5
    store.compact()
    assert len(counts(store)) == 80
    assert len(list((tmp_path / "step").rglob("*.parquet"))) == 4


def test_reading_a_derived_segment_while_it_is_replaced(tmp_path):
    """A reader sees one version of it, whole, whichever hours it moves to, also while it is joined."""
    open_store(str(tmp_path)).append("feature", records.batch("feature", {"@timestamp": [T0]}), "other")
    write = """
for number in range(1, 50):
    store.append("feature", batch("feature", "f", number % 3, 1 + number % 2, float(number)), "f1")
"""
    join = """
for _ in range(25):
    store.compact()
"""
    processes = Processes(tmp_path, write, join)
    store, last, reads = open_store(str(tmp_path)), 0.0, 0
    while processes.running():
        table = [row for part in store.read(Split("feature", DAY.start, DAY.end, 0), ["window_s", "run.id"]) for row in part.to_pylist()]
        values = [row["window_s"] for row in table if row["run.id"] == "f"]
        reads += 1

        assert len(table) - len(values) == 1
        if values:
            assert set(values) == {values[0]}
            assert len(values) == PART * (1 + int(values[0]) % 2)
            assert values[0] >= last
            last = values[0]
        else:
            assert last == 0.0
    assert processes.end() == [0, 0]
    assert reads > 5 and last > 0


class Interrupted(LocalFiles):
    """Does something else just before its n-th operation on records."""

    def __init__(self, root, at, action):
        super().__init__(root)
        self.left, self.action = at, action

    def _path(self, path):
        if path.startswith(("step/", "feature/")):
            self.left -= 1
            if self.left == 0:
                self.action()
        return super()._path(path)


def segment(kind, name, times, value=0.0):
    column = "duration_s" if kind == "step" else "window_s"
    return records.batch(kind, {"@timestamp": times, "event.id": [f"{name}-{time}" for time in times], "run.id": [name] * len(times),
                                column: [value] * len(times)})


def compact(store, kind):
    store.compact()


def compact_twice(store, kind):
    store.compact()
    append(store, kind)
    store.compact()


def append(store, kind):
    store.append(kind, segment(kind, "late", [T0 + 9, T0 + HOUR + 9]), "late")


def replace(store, kind):
    store.append(kind, segment(kind, "s1", [T0 + HOUR + 7, T0 + 2 * HOUR, T0 + 2 * HOUR + 1], 2.0), "s1")


def replace_in_one_hour(store, kind):
    store.append(kind, segment(kind, "s0", [T0 + 1, T0 + 2], 2.0), "s0")


def grow(store, kind):
    store.append(kind, segment(kind, "s0", [T0 + 1, T0 + 2 * HOUR], 2.0), "s0")


def reach_back(store, kind):
    store.append(kind, segment(kind, "s2", [T0 + 3, T0 + HOUR + 3], 2.0), "s2")


def retain(store, kind):
    store.retain(kind, T0 + HOUR)


def prepare(root, kind):
    store = open_store(str(root))
    store.append(kind, segment(kind, "s0", [T0, T0 + 1]), "s0")
    store.append(kind, segment(kind, "s1", [T0 + 2, T0 + HOUR, T0 + HOUR + 1]), "s1")
    store.append(kind, segment(kind, "s2", [T0 + HOUR + 3]), "s2")


def copied(folder, name):
    shutil.copytree(folder / "start", folder / str(name))
    return open_store(str(folder / str(name)))


@pytest.mark.parametrize(("kind", "action"), [
    ("step", compact), ("step", compact_twice), ("step", append), ("step", retain),
    ("feature", compact_twice), ("feature", replace), ("feature", replace_in_one_hour), ("feature", retain)])
def test_whatever_happens_between_two_operations_of_a_reader(tmp_path, kind, action):
    """The reader sees each segment as it was before or as it is after, whole, and each record once."""
    prepare(tmp_path / "start", kind)
    before, at, left = by_segment(open_store(str(tmp_path / "start")), kind), 0, 0
    while left <= 0:
        at += 1
        store = copied(tmp_path, at)
        files = Interrupted(Path(store.url), at, lambda store=store: action(store, kind))
        found = by_segment(LakeStore(store.url, files=files), kind)
        after, left = by_segment(store, kind), files.left

        if action is retain:
            assert all(before[name] >= found.get(name, set()) >= after.get(name, set()) for name in before)
        else:
            assert all(found.get(name) in (before.get(name), after.get(name)) for name in after)
    assert at > 4


class TornListing(LocalFiles):
    """Something else happens during its n-th listing, which misses what was made or deleted meanwhile, or shows both."""

    def __init__(self, root, at, shows_both, action):
        super().__init__(root)
        self.left, self.shows_both, self.action = at, shows_both, action

    def files(self, folder):
        self.left -= 1
        if self.left != 0:
            return super().files(folder)
        before = {entry.name: entry for entry in super().files(folder)}
        self.action()
        after = {entry.name: entry for entry in super().files(folder)}
        names = before.keys() | after.keys() if self.shows_both else before.keys() & after.keys()
        return [{**before, **after}[name] for name in names]


class Dying(LocalFiles):
    """Goes no further after a number of deletions."""

    def __init__(self, root, deletions):
        super().__init__(root)
        self.left = deletions

    def delete(self, path):
        self.left -= 1
        if self.left < 0:
            raise OSError("gone")
        super().delete(path)


@pytest.mark.parametrize("shows_both", [False, True])
@pytest.mark.parametrize(("kind", "action", "hours"), [
    ("step", compact, 24), ("step", compact_twice, 24), ("feature", replace, 24), ("feature", replace_in_one_hour, 24),
    ("feature", reach_back, 24), ("feature", grow, 1)])
def test_a_listing_is_no_snapshot(tmp_path, kind, action, hours, shows_both):
    """Nothing is missed or seen twice, even when the other process stopped half-way through deleting what it replaced."""
    prepare(tmp_path / "start", kind)
    before = by_segment(open_store(str(tmp_path / "start")), kind, hours)
    for deletions in (1, 99):
        at, left = 0, 0
        while left <= 0:
            at += 1
            store = copied(tmp_path, f"{deletions}-{at}")

            def stop_half_way(store=store, deletions=deletions):
                with contextlib.suppress(StoreError):
                    action(LakeStore(store.url, files=Dying(Path(store.url), deletions)), kind)

            files = TornListing(Path(store.url), at, shows_both, stop_half_way)
            found = by_segment(LakeStore(store.url, files=files), kind, hours)
            left = files.left
            after = by_segment(store, kind, hours)

            assert all(found.get(name) in (before.get(name), after.get(name)) for name in after)
        assert at > 4


@pytest.mark.parametrize(("kind", "main", "action"), [
    ("step", append, append), ("step", append, compact), ("step", compact, append), ("step", retain, append),
    ("feature", replace, replace), ("feature", replace, compact), ("feature", compact, replace),
    ("feature", compact, replace_in_one_hour), ("feature", retain, replace)])
def test_whatever_happens_between_two_operations_of_a_writer(tmp_path, kind, main, action):
    """The lake ends as if one had come after the other, whichever is first, also when both write the same."""
    prepare(tmp_path / "start", kind)
    expected = []
    for number, order in enumerate(((main, action), (action, main))):
        store = copied(tmp_path, f"expected-{number}")
        for step in order:
            step(store, kind)
        expected.append(by_segment(store, kind))
    at, left = 0, 0
    while left <= 0:
        at += 1
        store = copied(tmp_path, at)
        files = Interrupted(Path(store.url), at, lambda store=store: action(store, kind))
        main(LakeStore(store.url, files=files), kind)
        left = files.left
        if left <= 0:
            store.compact()
            assert by_segment(store, kind) in expected
    assert at > 4


def by_segment(store, kind, hours=24):
    """The times and values of each segment, of the first hours."""
    column = "duration_s" if kind == "step" else "window_s"
    rows = [row for part in store.read(Split(kind, T0, T0 + hours * HOUR, 0), ["@timestamp", "run.id", column]) for row in part.to_pylist()]
    found = collections.defaultdict(set)
    for row in rows:
        one = (row["@timestamp"].value, row[column])
        assert one not in found[row["run.id"]]
        found[row["run.id"]].add(one)
    return dict(found)
