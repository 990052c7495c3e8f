"""The lake after kill -9 at every point of a write and of joining."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.store import open_store

T0 = 1_767_225_600 * NS
HOUR = 3600 * NS


class Killer:
    """Processes that die at a chosen change of the file system."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("lake_killer.py"))], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def run(self, root, operation, kill_at, kind="", segment="", batch=None):
        """Returns killed, done or failed."""
        path = self.tmp_path / "batch.arrow"
        if batch is not None:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
                writer.write(batch)
        order = {"root": str(root), "operation": operation, "kill_at": kill_at, "kind": kind, "segment": segment, "batch": str(path)}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def at_every_point(self, start, operation, **details):
        """For each point a copy of a lake in which the operation was killed there."""
        for kill_at in range(1, 1000):
            root = self.tmp_path / "killed"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(start, root)
            answer = self.run(root, operation, kill_at, **details)
            assert answer in ("killed", "done")
            yield open_store(str(root))
            if answer == "done":
                assert kill_at > 5
                return
        raise AssertionError("the operation never ended")


@pytest.fixture
def killer(tmp_path):
    killer = Killer(tmp_path)
    yield killer
    killer.process.stdin.close()
    killer.process.wait(20)


def batch(kind, times, value=0.0):
    column = "duration_s" if kind == "step" else "window_s"
    return records.batch(kind, {"@timestamp": times, "event.id": [None if time % 2 else f"e{time}" for time in times],
                                column: [value] * len(times)})


def contents(store, kind):
    """Time and value of each record, sorted."""
    column = "duration_s" if kind == "step" else "window_s"
    return sorted((row["@timestamp"].value, row[column]) for split in store.splits(kind, align_s=86400)
                  for part in store.read(split, ["@timestamp", column]) for row in part.to_pylist())


@pytest.fixture
def start(tmp_path):
    """A lake with some segments, also of several hours, some joined."""
    store = open_store(str(tmp_path / "start"))
    store.append("step", batch("step", [T0, T0 + 1, T0 + HOUR]), "old-1")
    store.append("step", batch("step", [T0, T0 + 3]), "old-2")
    store.append("feature", batch("feature", [T0, T0 + 1, T0 + HOUR], 1.0), "f1")
    store.append("feature", batch("feature", [T0 + 1], 1.0), "f2")
    store.compact()
    store.append("step", batch("step", [T0 + 5, T0 + HOUR, T0 + HOUR + 5]), "old-3")
    store.append("feature", batch("feature", [T0, T0 + HOUR + 1], 2.0), "f3")
    return tmp_path / "start"


@pytest.mark.parametrize("times", [[T0 + 4, T0 + 5, T0 + 7], [T0 + 4, T0 + 5, T0 + HOUR + 1, T0 + 3 * HOUR]],
                         ids=["one hour", "three hours"])
def test_a_killed_append_leaves_all_or_nothing(killer, start, times):
    """Either the whole segment is read or none of it; written again, every record is there once."""
    before = contents(open_store(str(start)), "step")
    mine = batch("step", times)
    whole = sorted({*before, (T0 + 4, 0.0)} | {(time, 0.0) for time in times if not time % 2}) + [
        (time, 0.0) for time in times if time % 2]
    seen = set()
    for store in killer.at_every_point(start, "append", kind="step", segment="new", batch=mine):
        found = contents(store, "step")
        seen.add(len(found))

        assert found in (before, sorted(whole))
        store.append("step", mine, "new")
        assert contents(store, "step") == sorted(whole)
        store.compact()
        store.append("step", mine, "new")
        assert contents(store, "step") == sorted(whole)
        assert store.set_aside() == []
    assert seen == {len(before), len(whole)}


def test_a_killed_replacement_leaves_the_old_or_the_new(killer, start):
    """A derived segment that is written again is never seen half replaced, also when it moves to other hours."""
    before = contents(open_store(str(start)), "feature")
    mine = batch("feature", [T0 + 9, T0 + 2 * HOUR, T0 + 2 * HOUR + 1], 3.0)
    after = sorted([one for one in before if one not in ((T0 + 1, 1.0), (T0 + HOUR, 1.0))]
                   + [(T0 + 1, 1.0), (T0 + 9, 3.0), (T0 + 2 * HOUR, 3.0), (T0 + 2 * HOUR + 1, 3.0)])
    seen = set()
    for store in killer.at_every_point(start, "append", kind="feature", segment="f1", batch=mine):
        found = contents(store, "feature")
        seen.add(len(found))

        assert found in (before, after)
        store.append("feature", mine, "f1")
        assert contents(store, "feature") == after
        store.compact()
        assert contents(store, "feature") == after
        store.append("feature", batch("feature", []), "f1")
        assert contents(store, "feature") == [one for one in after if one[1] != 3.0]
    assert len(seen) == 2


def test_killed_joining_leaves_each_record_once(killer, start):
    """At whatever point: nothing is missing, nothing is there twice, and joining again ends what was begun."""
    before = {kind: contents(open_store(str(start)), kind) for kind in ("step", "feature")}
    for store in killer.at_every_point(start, "compact"):
        assert {kind: contents(store, kind) for kind in before} == before
        store.append("step", batch("step", [T0 + 5, T0 + HOUR, T0 + HOUR + 5]), "old-3")
        store.compact()

        assert {kind: contents(store, kind) for kind in before} == before
        assert len([path for path in Path(store.url).rglob("*.parquet") if path.stat().st_size]) == 4
