"""Keep on disk up to where a source was read."""

import os
from pathlib import Path
from typing import Any

import orjson


class Position:
    """One small JSON object in a file; a torn or missing one is as if nothing was ever read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any]:
        """What was saved last."""
        try:
            found = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def save(self, position: dict[str, Any]) -> None:
        """Replace it as a whole.

        Raises: OSError when the disk takes nothing; the old one is still there then.
        """
        new = self._path.with_name(f"{self._path.name}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(orjson.dumps(position))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
