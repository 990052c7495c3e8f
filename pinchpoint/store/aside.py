"""Where files go that cannot be read."""

import json
import threading
from typing import Any

from pinchpoint.store.base import SetAside
from pinchpoint.store.files import Files

FOLDER = "_set_aside"
_REASON = ".reason.json"


class Aside:
    """Moves unreadable files out of the way, each beside a file that says why; in a lake one may not write, remembers them."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._remembered: dict[str, SetAside] = {}
        self._lock = threading.Lock()

    def put(self, path: str, reason: str, records: int | None = None) -> None:
        """Set a file aside; one that is gone already is none of ours."""
        target = f"{FOLDER}/{path}"
        number = 0
        while self._files.entry(target) is not None:  # the same name was set aside before and written again
            number += 1
            target = f"{FOLDER}/{path}.{number}"
        about = {"path": f"{self._files.root}/{target}", "was": f"{self._files.root}/{path}", "reason": reason, "records": records}
        try:
            # the reason first: a file is never moved without one
            self._files.put(target + _REASON, json.dumps(about, indent=1).encode())
            self._files.move(path, target)
        except FileNotFoundError:
            self._files.delete(target + _REASON)
        except OSError:
            with self._lock:
                self._remembered[path] = SetAside(f"{self._files.root}/{path}", reason, records)

    def holds(self, path: str) -> bool:
        """Whether a file stays where it is because it could not be moved."""
        return path in self._remembered

    def all(self) -> list[SetAside]:
        """Everything that was set aside, by path."""
        found = dict(self._remembered)
        for folder in self._walk(FOLDER):
            for entry in self._files.files(folder):
                if entry.name.endswith(_REASON):
                    found[f"{folder}/{entry.name}"] = self._one(f"{folder}/{entry.name}")
        return sorted(found.values(), key=lambda one: one.path)

    def _one(self, path: str) -> SetAside:
        try:
            about: dict[str, Any] = json.loads(self._files.read(path))
            return SetAside(str(about["path"]), str(about["reason"]), about["records"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return SetAside(f"{self._files.root}/{path.removesuffix(_REASON)}", "unknown: the file that says why is damaged too", None)

    def _walk(self, folder: str) -> list[str]:
        return [folder, *(deeper for name in self._files.folders(folder) for deeper in self._walk(f"{folder}/{name}"))]
