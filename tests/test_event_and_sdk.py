"""The commands `event` and `sdk`."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pinchpoint.clock import format_time
from pinchpoint.errors import UsageError
from pinchpoint.store import open_store
from shippers.cli import event, sdk


def events(url: str) -> list[dict[str, Any]]:
    store = open_store(url)
    return [row for split in store.splits("event") for batch in store.read(split) for row in batch.to_pylist()]


def test_an_event_is_recorded(tmp_path: Path) -> None:
    """What, why, where and when are kept, details as labels; saying it again records it once."""
    words = ["deploy", "--store", str(tmp_path), "--reason", "new image", "--run", "r", "--host", "h", "--at", "2026-01-01T00:00:00Z",
             "version=1.4=b", "empty="]

    first, again = (CliRunner().invoke(event, words) for _ in range(2))

    assert (first.exit_code, first.stdout) == (0, again.stdout)
    assert "Recorded deploy at 2026-01-01T00:00:00Z" in first.stderr
    [row] = events(str(tmp_path))
    assert (row["event.action"], row["event.reason"], row["run.id"], row["host.name"]) == ("deploy", "new image", "r", "h")
    assert (row["event.id"], dict(row["labels"])) == (first.stdout.strip(), {"version": "1.4=b", "empty": ""})
    assert format_time(row["@timestamp"].value) == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(("words", "message"), [
    (["deploy", "version"], "KEY=VALUE"), (["deploy", "--at", "yesterday"], "--at: expected a time"), ([" "], "an event needs a word"),
])
def test_wrong_usage_says_what_is_meant(tmp_path: Path, words: list[str], message: str) -> None:
    """A word that is no detail, a time that is none, and an event without a name are refused."""
    done = CliRunner().invoke(event, ["--store", str(tmp_path), *words])

    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_sdk_prints_a_folder() -> None:
    """One line, the folder, which holds the package and nothing else."""
    done = CliRunner().invoke(sdk)

    assert [path.name for path in Path(done.stdout.strip()).iterdir()] == ["pinchpoint"]
