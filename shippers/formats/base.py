"""What every format offers: it recognises its inputs by looking inside, and reads them as batches of records."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from shippers.redact import redact

if TYPE_CHECKING:
    from shippers.formats.trace_meetings import Meetings

Batch = tuple[str, pa.RecordBatch]
"""A kind of record, and a batch in exactly the schema of that kind."""

_SECRET = re.compile(r"pass(?:word|wd|phrase)|secret|key|credential|auth|token$|token_", re.IGNORECASE)
_MOST_SETTINGS = 1000
#: Rows of a batch, at most.
MOST_ROWS = 65_536


class Reading:
    """One input being read: an iterator of batches, and what is known of the input once it is through."""

    def __init__(self, path: Path, reader: str, read: "Callable[[Path, Reading], Iterator[Batch]]",
                 rejected_to: Path | None = None) -> None:
        self.path = path
        self.reader = reader
        self.records = 0
        self.rejected = 0
        self.notes: list[str] = []
        #: Operators and kernels that took most time, of formats that tell.
        self.summary: list[dict[str, Any]] = []
        #: Seconds by family of operations, and how the run was set up, of formats that tell.
        self.families: dict[str, float] = {}
        self.settings: dict[str, str] = {}
        #: Collectives of the ranks whose traces these are, to be held against those of other ranks (`trace_ranks`).
        self.meetings: list[Meetings] = []
        self._read = read
        self._aside = _Aside(rejected_to)

    def __iter__(self) -> Iterator[Batch]:
        for kind, batch in self._read(self.path, self):
            self.records += batch.num_rows
            yield kind, batch

    def set(self, name: str, value: str) -> None:
        """Note a setting of the run, for comparisons; unless its name is that of a secret, or there are too many."""
        if len(self.settings) < _MOST_SETTINGS and not _SECRET.search(name):
            self.settings[name] = redact(value.encode("utf-8", "replace")).decode("utf-8", "replace")

    def reject(self, item: bytes, reason: str) -> None:
        """Count what cannot be read, and set it aside where it can be looked at."""
        self.rejected += 1
        self._aside.keep(item, reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """One format of inputs."""

    name: str
    recognises: Callable[[bytes], bool]
    """Looks at up to 256 KiB of the (decompressed) beginning."""
    read: Callable[[Path, Reading], Iterator[Batch]]


class _Aside:
    """The first rejected items of an input with the reason of each, as far as there is a place for them."""

    _MOST_ITEMS, _MOST_ITEM_BYTES, _MOST_BYTES = 1000, 4096, 1 << 20

    def __init__(self, path: Path | None) -> None:
        self._path, self._items, self._bytes = path, 0, 0

    def keep(self, item: bytes, reason: str) -> None:
        if self._path is None or self._items >= self._MOST_ITEMS:
            return
        why = " ".join(reason.split())[:400].encode("utf-8", "replace")
        line = why + b"\t" + item[: self._MOST_ITEM_BYTES].replace(b"\n", b" ") + b"\n"
        if self._bytes + len(line) > self._MOST_BYTES:
            return
        self._items += 1
        self._bytes += len(line)
        with self._path.open("ab") as file:
            file.write(line)
