"""Where recorded inputs lie while they are analysed: the answer is the same in memory and on disk, and nothing stays behind."""

from pathlib import Path

import pytest

from pinchpoint import records
from pinchpoint.errors import UsageError
from pinchpoint.store import open_store
from pipelines.analysis import diagnose_run
from shippers.recorded import recorded


def batches():
    for part in range(4):
        size = 100
        times = [(1_767_225_600 + part * size + number) * 10**9 for number in range(size)]
        yield "step", records.batch("step", {
            "@timestamp": times, "event.id": [f"{part}-{number}" for number in range(size)], "run.id": ["r"] * size, "rank": [0] * size,
            "step": [part * size + number for number in range(size)], "duration_s": [1.0] * size, "phase.data_wait_s": [0.4] * size})


def put(store):
    for place, (kind, batch) in enumerate(batches()):
        store.append(kind, batch, f"input-{place}")


@pytest.mark.parametrize(("most_bytes", "in_memory"), [(1 << 30, True), (40_000, False), (0, False)])
def test_the_answer_does_not_depend_on_the_place(most_bytes, in_memory):
    """In memory, moved to disk half way, or on disk from the start."""
    with recorded() as usual:
        put(usual)
        expected = diagnose_run(usual.url)
    with recorded(most_bytes) as store:
        put(store)

        assert store.url.startswith("memory:") == in_memory
        assert diagnose_run(store.url) == expected
    assert expected["observed"]["steps"] == 400


def test_nothing_stays_behind():
    """Neither in memory nor on disk."""
    with recorded() as small, recorded(0) as large:
        put(small)
        put(large)
        urls = small.url, large.url

        assert Path(urls[1]).exists()
    with pytest.raises(UsageError, match="no store at"):
        open_store(urls[0])
    assert not Path(urls[1]).exists()
