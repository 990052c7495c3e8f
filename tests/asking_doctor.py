"""What `pinchpoint doctor` answers, for tests of it."""

import json
from typing import Any

import pytest

from pinchpoint import cli


class Answer:
    """Exit status and checks of one call."""

    def __init__(self, status: int, checks: list[dict[str, Any]]) -> None:
        self.status = status
        self.checks = checks

    def of(self, name: str) -> dict[str, Any]:
        """The one check of a name."""
        [found] = [check for check in self.checks if check["name"] == name]
        return found

    def bad(self) -> dict[str, str]:
        """State by name of everything that is not as it should be."""
        return {check["name"]: check["state"] for check in self.checks if check["state"] != "ok"}


def ask(capsys: pytest.CaptureFixture[str], *args: str) -> Answer:
    """Call the command in this process."""
    status = cli.run(cli.root, ["doctor", *args, "--format", "json"])
    return Answer(status, json.loads(capsys.readouterr().out))
