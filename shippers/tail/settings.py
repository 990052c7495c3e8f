"""What is followed, and how it is to be read."""

import dataclasses
import re
from collections.abc import Mapping

from pinchpoint.errors import ConfigError

FORMATS = ("auto", "text", "json", "logfmt", "cri", "docker", "training")
#: Lines of text of a training job: errors and times of steps in them become records of their own.
TRAINING = "training"
PYTHON = "python"


@dataclasses.dataclass(frozen=True, slots=True)
class FileSet:
    """Files that are read alike; their constants go into each of their documents.

    Raises: ConfigError for a value that cannot be meant.
    """

    paths: tuple[str, ...]
    """Absolute paths, globs allowed."""
    format: str = "auto"
    multiline: str = PYTHON
    """`python` joins tracebacks; else a regular expression that begins a record, whose other lines are joined to it."""
    run: str | None = None
    rank: int | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigError("ship.files.paths: name at least one file or glob")
        for path in self.paths:
            if not path.startswith("/"):
                raise ConfigError(f"ship.files.paths: expected an absolute path, got {path!r}")
        if self.format not in FORMATS:
            raise ConfigError(f"ship.files.format: expected one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.multiline != PYTHON:
            try:
                re.compile(self.multiline.encode())
            except re.error as error:
                raise ConfigError(f"ship.files.multiline: no regular expression: {error}, got {self.multiline!r}") from error
