"""The agent with a lake in object storage."""

import os

import pytest
from test_landing import ids
from test_ship import agent, eventually, lines, ship

from pinchpoint.store import open_store

pytestmark = [pytest.mark.service, pytest.mark.timeout(200)]


def messages(lake: str) -> list[str]:
    store = open_store(lake)
    return [message for split in store.splits("log") for batch in store.read(split, ["message"]) for message in batch.column(0).to_pylist()]


def test_lines_land_in_a_bucket(tmp_path, s3_bucket):
    """Each line and the readings of the host are records of the lake; a second run ships nothing again."""
    (tmp_path / "app.log").write_text(lines(0, 3000))
    first = ship(tmp_path, "--once", "--store", f"{s3_bucket}/lake", tmp_path / "app.log")
    second = ship(tmp_path, "--once", "--store", f"{s3_bucket}/lake", tmp_path / "app.log")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert sorted(messages(f"{s3_bucket}/lake")) == sorted(f"line {number}" for number in range(3000))
    assert ids(f"{s3_bucket}/lake", "metric")


def test_a_bucket_that_cannot_be_reached(tmp_path, s3_bucket):
    """`--once` says what is wrong and fails; nothing counts as shipped, so that the next run ships it."""
    (tmp_path / "app.log").write_text(lines(0, 100))
    nobody = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    failed = ship(tmp_path, "--once", "--store", f"{s3_bucket}/lake", tmp_path / "app.log", env=nobody)
    mended = ship(tmp_path, "--once", "--store", f"{s3_bucket}/lake", tmp_path / "app.log")

    assert failed.returncode == 1
    assert f"cannot write to the lake {s3_bucket}/lake" in failed.stderr
    assert mended.returncode == 0, mended.stderr
    assert sorted(messages(f"{s3_bucket}/lake")) == sorted(f"line {number}" for number in range(100))


def test_two_agents_land_in_one_bucket(tmp_path, s3_bucket):
    """Writers on several hosts need no lock; one that is killed and started again loses nothing and doubles nothing."""
    url = f"{s3_bucket}/lake"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.log").write_text("".join(f"{name} {number}\n" for number in range(500)))
    with agent(tmp_path / "one", "--store", url, tmp_path / "one" / "app.log") as first:
        with agent(tmp_path / "two", "--store", url, tmp_path / "two" / "app.log") as second:
            assert eventually(lambda: len(messages(url)) >= 1000)
            assert second.end() == 0
        first.kill()
    with (tmp_path / "one" / "app.log").open("a") as log:
        log.write("".join(f"one {number}\n" for number in range(500, 600)))
    with agent(tmp_path / "one", "--store", url, tmp_path / "one" / "app.log") as first:
        assert eventually(lambda: len(messages(url)) >= 1100)
        assert first.end() == 0

    assert sorted(messages(url)) == sorted([f"one {number}" for number in range(600)] + [f"two {number}" for number in range(500)])
