"""Evidence and findings: what an answer rests on is written beside it, bounded, and the same from every store."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from runs import START, run_view

from models import verdict
from models.causes import load
from models.evidence import POINTS, RANK_POINTS
from models.laying import build
from models.report.saved import evidence_of
from models.view import Event, Line
from pinchpoint import records
from pinchpoint.clock import NS, parse_time
from pinchpoint.store.lake import LakeStore
from pinchpoint.store.memory import MemoryStore
from pipelines.keeping import save_kept
from pipelines.log_features import log_features


def straggler(ranks=4, steps=400, slow=2, window_s=1.0):
    """One rank computes three times as long from the middle on."""
    own = np.full((steps, ranks), 0.1)
    own[steps // 2:, slow] = 0.3
    return run_view(own, window_s=window_s)


def answered(view):
    answer = verdict.explain(view, load())
    return answer["incidents"][0], answer["kept"][answer["incidents"][0]["id"]]


def rows(store, kind):
    found = [row for split in store.splits(kind) for batch in store.read(split) for row in batch.to_pylist()]
    return sorted(found, key=lambda row: (row["event.id"], row["@timestamp"]))


@pytest.fixture(params=["memory", "lake"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LakeStore(str(tmp_path))


def test_every_store_keeps_the_same(tmp_path):
    """A lake and memory hold the same evidence and findings, to the last digit."""
    stores = [MemoryStore(), LakeStore(str(tmp_path))]
    incident, kept = answered(straggler())
    for one in stores:
        save_kept(one, incident, kept)

    assert rows(stores[0], "evidence") == rows(stores[1], "evidence") != []
    assert rows(stores[0], "finding") == rows(stores[1], "finding") != []


def test_analysing_again_replaces(store):
    """The same run gives the same ids; with fewer points than before none of the old ones stays."""
    incident, kept = answered(straggler())
    save_kept(store, incident, kept)
    first = rows(store, "evidence")
    save_kept(store, incident, kept)
    again = rows(store, "evidence")
    shorter, of_shorter = answered(straggler(window_s=5.0))
    save_kept(store, shorter | {"id": incident["id"]}, of_shorter)

    assert again == first
    assert len(rows(store, "evidence")) < len(first)


def test_series_say_what_happened():
    """The symptom climbs from its baseline, the slow rank leaves the others, and the facts cross their limits at the onset."""
    incident, kept = answered(straggler())
    by_name = {(one.name, one.entity_kind, one.entity_id): one for one in kept.series}
    step_time = by_name["step_time", "run", "r"]
    ratio = next(one for one in kept.series if one.name == "straggler.ratio")

    assert step_time.baseline == pytest.approx(0.102, rel=0.05)
    assert step_time.values[0] == pytest.approx(0.102, rel=0.05)
    assert step_time.values[-1] == pytest.approx(0.302, rel=0.05)
    assert by_name["rank", "rank", "2"].values[-1] == pytest.approx(0.3, rel=0.05)
    assert by_name["rank.median", "run", "r"].values[-1] == pytest.approx(0.1, rel=0.05)
    assert (ratio.limit, ratio.cause_id) == (1.1, incident["causes"][0]["id"])
    assert ratio.values[0] < ratio.limit < ratio.values[-1]


def test_findings_name_run_and_straggler():
    """The run and the rank that is out of line are findings; the ranks in line are none."""
    incident, kept = answered(straggler())

    assert [(one.entity_kind, one.entity_id) for one in kept.findings] == [("run", "r"), ("rank", "2")]
    assert kept.findings[0].lost_seconds == incident["symptom"]["lost_seconds"]
    assert kept.findings[1].score == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize(("ranks", "steps", "window_s"), [(1, 4000, 0.1), (300, 200, 0.1)])
def test_what_is_kept_is_bounded(ranks, steps, window_s):
    """At most 500 points a series, 64 ranks, 100 points a rank, however long and wide the run."""
    own = np.full((steps, ranks), 0.1)
    own[steps // 2:] = 0.3
    _, kept = answered(run_view(own, window_s=window_s, data_wait=np.where(np.arange(steps) < steps // 2, 0.01, 0.4)))
    of_ranks = [one for one in kept.series if one.entity_kind == "rank" and one.name.startswith(("rank", "phase."))]

    assert max(len(one.values) for one in kept.series) <= POINTS
    assert max(len(one.values) for one in of_ranks) <= RANK_POINTS
    assert len({one.entity_id for one in of_ranks}) == min(ranks, 64)
    assert len({one.entity_id for one in of_ranks if one.name != "rank"}) <= 8
    assert all(len(one.times) == len(one.values) for one in kept.series)


def test_nothing_measured_is_left_out(store):
    """A stretch in which no step began has no record: absent is not zero."""
    incident, kept = answered(straggler())
    save_kept(store, incident, kept)

    assert all(row["value"] is not None for row in rows(store, "evidence"))
    assert min(row["@timestamp"].value if hasattr(row["@timestamp"], "value") else int(row["@timestamp"].timestamp() * NS)
               for row in rows(store, "evidence")) >= START


def test_lines_and_changes_around_the_onset_are_kept(store):
    """What the logs said and what was changed lies beside the incident, in order of time; what is far away does not.

    Of much that was said the nearest is kept.
    """
    onset = parse_time(answered(straggler())[0]["start"])
    far = [Line(START - 3600 * NS, "h", "log.error_lines", "long before")]
    many = [Line(onset + number * 1_000_000, "h", "log.error_lines", f"error {number}") for number in range(100)]
    view = dataclasses.replace(straggler(), lines=[*far, *many], events=[Event(onset - NS, "deploy", "image 42", {}, "h")])
    incident, kept = answered(view)
    save_kept(store, incident, kept)
    _, said = evidence_of(store, incident)

    assert (said[0].action, said[0].text, said[0].host) == ("deploy", "image 42", "h")
    assert [one.text for one in said[1:]] == [f"error {number}" for number in range(40)]


def test_the_first_line_of_each_kind_and_window_comes_from_the_logs():
    """Log records become counts, and the first line of each kind stands in the view of the run; a line's tabs and length are cut."""
    size = 4
    logs = records.batch("log", {
        "@timestamp": [START + number * NS // 4 for number in range(size)], "event.id": [str(number) for number in range(size)],
        "run.id": ["r"] * size, "host.name": ["h"] * size,
        "message": ["fine", "ERROR\tone " + "x" * 1000, "ERROR two", "CUDA out of memory"]})
    features = log_features(pa.Table.from_batches([logs]), 1.0)
    view = build("r", pa.Table.from_batches([features]), [], 1.0)

    assert [(one.kind, one.text[:9], len(one.text)) for one in view.lines] == [
        ("log.error_lines", "ERROR one", 500), ("log.oom_lines", "CUDA out ", 18)]
