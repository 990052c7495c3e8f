"""What all tests share: nothing of the user is read or written, and a way to call the installed command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["certificates", "services_fixtures", "elastic_stores", "small_disks", "fake_gpus"]

# shared machines stall for seconds: how long one example takes says nothing
hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.load_profile("default")

Pinchpoint = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own data and configuration directories, and no PINCHPOINT_* variable."""
    for name in [name for name in os.environ if name.startswith("PINCHPOINT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg-data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


@pytest.fixture
def pinchpoint(tmp_path: Path) -> Pinchpoint:
    """The installed command in a process of its own: `pinchpoint("causes", "list").stdout`."""

    def call(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "pinchpoint"), *args]
        return subprocess.run(command, **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options})

    return call
