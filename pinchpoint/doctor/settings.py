"""Whether the settings can be read, and what they mean."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pinchpoint import config
from pinchpoint.config import Config
from pinchpoint.doctor.check import Check
from pinchpoint.errors import ConfigError


def read(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[Config, list[Check]]:
    """The settings, or the defaults where they cannot be read, and what there is to say."""
    try:
        found = config.load(explicit, environ)
    except ConfigError as error:
        return Config(), [Check("settings", "fault", f"{error}.", next_step="correct the settings file; its settings are listed in "
                                                                            "docs/reference/settings.md")]
    if found.source is None:
        return found, [Check("settings", "ok", "no settings file, the defaults hold.")]
    return found, [Check("settings", "ok", f"{found.source} is valid."), *_files(found)]


def _files(found: Config) -> Iterator[Check]:
    for path in found.causes.paths:
        if not path.exists():
            yield Check("settings", "fault", f"causes.paths names {path}, which does not exist.",
                        next_step=f"correct causes.paths in {found.source}")
