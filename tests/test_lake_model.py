"""Whatever is appended, joined and dropped in whatever order, each store holds what a plain model of the contract holds."""

import collections
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.store import open_store

T0 = 1_767_225_600 * NS
HOUR = 3600 * NS

# few of each, so that they meet
ids = st.sampled_from(["a", "b", "c", None])
times = st.builds(lambda hour, offset: T0 + hour * HOUR + offset, st.integers(-1, 2), st.sampled_from([0, 1, HOUR - 1]))
batches = st.lists(st.tuples(times, ids), min_size=1, max_size=6)


class Model:
    """The contract in dictionaries: records of a segment, the segments in the order in which they were written last."""

    def __init__(self):
        self.shipped, self.derived = {}, {}

    def append(self, segment, rows):
        self.shipped.setdefault(segment, rows)

    def replace(self, segment, rows, value):
        self.derived.pop(segment, None)
        self.derived[segment] = [(time, name, value) for time, name in rows]

    def retain(self, hour):
        for segments in (self.shipped, self.derived):
            for segment, rows in list(segments.items()):
                left = [row for row in rows if row[0] >= hour]
                if rows and not left:
                    del segments[segment]
                else:
                    segments[segment] = left

    def steps(self):
        rows = [row for rows in self.shipped.values() for row in rows]
        return collections.Counter(row for row in rows if row[1] is None) + collections.Counter({row for row in rows if row[1]})

    def features(self):
        last = {row[:2]: row for rows in self.derived.values() for row in rows if row[1]}
        nameless = [row for rows in self.derived.values() for row in rows if row[1] is None]
        return collections.Counter(nameless) + collections.Counter(last.values())


class Stores(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory(prefix="lake-model-")
        self.stores = [open_store("memory:"), open_store(self.folder.name)]
        self.model, self.value, self.written = Model(), 0, {}

    def teardown(self):
        self.folder.cleanup()

    @rule(segment=st.sampled_from("stuv"), rows=batches)
    def append(self, segment, rows):
        rows = self.written.setdefault(segment, rows)  # an id names one batch
        self.model.append(segment, rows)
        for store in self.stores:
            store.append("step", records.batch("step", {"@timestamp": [time for time, _ in rows], "event.id": [one for _, one in rows]}),
                         segment)

    @rule(segment=st.sampled_from("stuv"), rows=st.one_of(batches, st.just([])))
    def replace(self, segment, rows):
        self.value += 1
        self.model.replace(segment, rows, float(self.value))
        for store in self.stores:
            store.append("feature", records.batch("feature", {
                "@timestamp": [time for time, _ in rows], "event.id": [one for _, one in rows],
                "window_s": [float(self.value)] * len(rows)}), segment)

    @rule(before=st.sampled_from([None, T0 + HOUR]))
    def compact(self, before):
        for store in self.stores:
            store.compact(before)

    @rule(hour=st.integers(-1, 3), rest=st.integers(0, HOUR - 1))
    def retain(self, hour, rest):
        self.model.retain(T0 + hour * HOUR)
        for store in self.stores:
            for kind in ("step", "feature"):
                store.retain(kind, T0 + hour * HOUR + rest)

    @invariant()
    def all_hold_the_same(self):
        for store in getattr(self, "stores", ()):
            steps = collections.Counter((row["@timestamp"].value, row["event.id"]) for row in read(store, "step", "event.id"))
            features = collections.Counter((row["@timestamp"].value, row["event.id"], row["window_s"])
                                           for row in read(store, "feature", "event.id", "window_s"))

            assert steps == self.model.steps()
            assert features == self.model.features()


def read(store, kind, *columns):
    return [row for split in store.splits(kind, align_s=1800, records=3)
            for part in store.read(split, ["@timestamp", *columns]) for row in part.to_pylist()]


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
