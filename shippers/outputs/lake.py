"""Items as segments that land in a lake: packed NDJSON, whole or not at all, without pyarrow on a local disk."""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pinchpoint.clock import Clock
from pinchpoint.errors import StoreError
from shippers.items import Item
from shippers.outputs.base import Sleep
from shippers.outputs.packing import pack
from shippers.state import replace_file

#: The folder of a lake in which light writers leave their segments; `pinchpoint/store/landing.py` brings them in.
LANDING = "_landing"
SUFFIX = ".ndjson.gz"

_MOST_BYTES = 4 << 20
_RETRY_S = 10.0

#: Writes a file of the lake, whole or not at all; when it returns the file is durable. Raises OSError.
Put = Callable[[str, bytes], None]


class LakeOutput:
    """Writes items as landing segments.

    Segment ids are `<writer>-<number>`, and a number is used up, durably, before a file gets it: no two segments ever have one
    id. A batch that is written again after a crash gets another id; its records are known by theirs.
    """

    #: Each batch becomes a file: one a second would burden the lake.
    linger_s = 10.0

    def __init__(self, name: str, url: str, folder: Path, *, clock: Clock, sleep: Sleep, patience_s: float | None = None) -> None:
        """A writer with its own segment ids.

        Args:
            name: of the output.
            url: of the lake.
            folder: where the writer's name and the next number are kept.
            clock: tells the time.
            sleep: waits, and raises StoppedError when the agent ends.
            patience_s: gives up after so many seconds; None never does.
        Raises: StoreError when object storage cannot be used here.
        """
        self.name = name
        self._url, self._clock, self._sleep, self._patience_s = url, clock, sleep, patience_s
        self._put = put_for(url)
        self._ids = SegmentIds(folder / "segments.json")
        self._counts = {"stored": 0.0, "bytes": 0.0, "segments": 0.0, "unanswered": 0.0}
        self._trouble: str | None = None

    def most_bytes(self) -> int:
        return _MOST_BYTES

    def deliver(self, items: Sequence[Item], *, may_leave: bool = False) -> Sequence[Item]:
        data = pack(b"".join([b'{"kind":"%b",%b\n' % (item.kind.encode(), item.document[1:]) for item in items]))
        since_s = self._clock.monotonic_s()
        while True:
            try:
                self._put(f"{LANDING}/{self._ids.take()}{SUFFIX}", data)
                break
            except OSError as error:
                self._counts["unanswered"] += 1
                self._trouble = f"cannot write to the lake {self._url}: {error.strerror or error}"
                if self._patience_s is not None and self._clock.monotonic_s() - since_s >= self._patience_s:
                    raise StoreError(self._trouble) from error
            self._sleep(_RETRY_S)
        self._trouble = None
        self._counts["stored"] += len(items)
        self._counts["bytes"] += len(data)
        self._counts["segments"] += 1
        return ()

    def trouble(self) -> str | None:
        return self._trouble

    def counters(self) -> Mapping[str, float]:
        return dict(self._counts)

    def abort(self) -> None:
        """Nothing: a write to a disk cannot be called back."""

    def close(self) -> None:
        """Nothing is held."""


class SegmentIds:
    """Ids of segments, each given once, also after a crash."""

    _AHEAD = 100

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer, self._next, self._reserved = secrets.token_hex(8), 0, 0
        try:
            about = json.loads(path.read_bytes())
            self._writer, self._next = str(about["writer"]), int(about["next"])
            self._reserved = self._next
        except (OSError, ValueError, LookupError, TypeError):
            pass  # a new writer begins at 0 under a name of its own

    def take(self) -> str:
        """The next id. Raises: OSError when it cannot be written down that it is used."""
        if self._next >= self._reserved:
            replace_file(self._path, json.dumps({"writer": self._writer, "next": self._next + self._AHEAD}).encode())
            self._reserved = self._next + self._AHEAD
        self._next += 1
        return f"{self._writer}-{self._next - 1:09d}"


def put_for(url: str) -> Put:
    """The way to write files of a lake.

    Raises: StoreError where object storage is named and pyarrow is not installed.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme == "file":
        root = Path(rest if colon else url).expanduser().absolute()
        return lambda path, data: _put_local(root, path, data)
    try:
        from pinchpoint.store.files import open_files
    except ImportError as error:
        raise StoreError(f"shipping to {scheme}:// needs pyarrow: pip install 'pinchpoint[analyze]'; or ship to a folder or to "
                         "Elasticsearch") from error
    return open_files(url).put


def _put_local(root: Path, path: str, data: bytes) -> None:
    target = root / path
    if not target.parent.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        for folder in (target.parent, root, root.parent):
            _sync(folder)
    # what a kill leaves there is swept with the other scratch files of the lake
    replace_file(target, data, mode=0o644, temporary=root / "_tmp" / secrets.token_hex(16))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
