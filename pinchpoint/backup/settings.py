"""The settings file in a backup: copied where it holds no secret, put back where there is none."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinchpoint.config import FILE_NAME

_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key|credential)")
_LOGIN = re.compile(r"://[^/@\s]+@")


def content(source: Path | None) -> tuple[bytes | None, str | None]:
    """What is to be kept of a settings file, and why nothing is; both None where there is no file."""
    if source is None:
        return None, None
    data = source.read_bytes()
    secret = next(_secrets(tomllib.loads(data.decode("utf-8")), ""), None)
    if secret is None:
        return data, None
    return None, f"{source} holds a secret ({secret}), so it was left out: keep a copy of it in a safe place"


def _secrets(value: Any, name: str) -> Iterator[str]:
    """Names of settings that hold a secret; the name of a file that holds one is none."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _secrets(below, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for below in value:
            yield from _secrets(below, name)
    elif isinstance(value, str):
        last = name.rpartition(".")[2]
        if _LOGIN.search(value) or (_SECRET.search(last) and not last.endswith(("_file", "_files", "_env"))):
            yield name


def put_back(data: bytes, there: Path | None) -> str:
    """Write settings to the file of this user, unless settings are there already; returns what was done."""
    if there is not None:
        same = there.read_bytes() == data
        return f"Settings: {there} is as it was" if same else f"Settings: {there} is another file and was left as it is"
    import platformdirs

    target = platformdirs.user_config_path("pinchpoint") / FILE_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{FILE_NAME}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(target)
    return f"Settings: written to {target}; paths in it start at its folder"
