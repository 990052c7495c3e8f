"""The list of what a backup of a lake holds; it is written last, so a backup without one was not finished."""

import json
import re
from typing import Any, NamedTuple

from pinchpoint import fields
from pinchpoint.errors import StoreError
from pinchpoint.store.documents import INCIDENTS, LABELS, WATERMARKS

NAME = "manifest.json"
FORMAT = 1
LAKE = "lake"
SETTINGS = "settings"
SETTINGS_FILE = f"{SETTINGS}/pinchpoint.toml"

_PART = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,255}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOPS = {*fields.KINDS, INCIDENTS, LABELS, WATERMARKS}


class File(NamedTuple):
    """One file of a backup."""

    path: str
    """Relative to the folder of the backup, `/` between its parts."""
    size: int
    sha256: str


class Manifest(NamedTuple):
    """What a finished backup says of itself."""

    made: str
    store: str
    """What was backed up, without secrets."""
    version: str
    """Of pinchpoint."""
    with_records: bool
    files: list[File]

    def encode(self) -> bytes:
        """As it is kept."""
        about = {"format": FORMAT, **self._asdict(), "files": [one._asdict() for one in self.files]}
        return json.dumps(about, indent=1).encode()


def decode(data: bytes, where: str) -> Manifest:
    """What `encode` was given.

    Raises: StoreError for what is no manifest, is of a later format, or names a file outside the lake or the settings.
    """
    try:
        about: dict[str, Any] = json.loads(data)
        if about["format"] > FORMAT:
            raise StoreError(f"{where} was made by pinchpoint {about['version']}, which is newer. Restore it with that version")
        files = [_file(one, where) for one in about["files"]]
        return Manifest(str(about["made"]), str(about["store"]), str(about["version"]), bool(about["with_records"]), files)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{where} is damaged: {error}. Restore another backup: pinchpoint backup --list") from error


def _file(about: dict[str, Any], where: str) -> File:
    one = File(about["path"], about["size"], about["sha256"])
    if not isinstance(one.size, int) or one.size < 0 or not _SHA256.fullmatch(one.sha256):
        raise ValueError(f"{one.path!r} has no size or no checksum")
    top, *parts = one.path.split("/")
    if not all(map(_PART.fullmatch, parts)) or not (one.path == SETTINGS_FILE or (top == LAKE and len(parts) > 1 and parts[0] in _TOPS)):
        raise StoreError(f"{where} names {one.path!r}, which is no file of a lake: this backup was tampered with. Do not restore it")
    return one
