"""Where the records of recorded inputs lie while they are analysed: in memory, and on disk once they are many."""

import contextlib
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from pinchpoint.store import Store, open_store
from pinchpoint.store.memory import MemoryStore, shared

#: Bytes of records that stay in memory: those of a million steps. A lake writes a file for each hour of each input.
MOST_BYTES = 512 << 20


class Recorded:
    """A store that moves to disk when it grows."""

    def __init__(self, memory: MemoryStore, folder: str, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._memory: MemoryStore | None = memory
        self._store: Store = memory
        self._folder, self._bytes = folder, 0

    @property
    def url(self) -> str:
        """What the analysis opens it by, once everything is written."""
        return self._store.url

    def append(self, kind: str, batch: pa.RecordBatch, segment_id: str) -> None:
        """Write a batch; as in every store, what is written under the same id again changes nothing."""
        self._store.append(kind, batch, segment_id)
        self._bytes += batch.nbytes
        if self._memory is not None and self._bytes > self._most_bytes:
            self._store = open_store(self._folder)
            for kept in self._memory.segments():
                self._store.append(kept[0], kept[2], kept[1])
            self._memory.clear()
            self._memory = None


@contextlib.contextmanager
def recorded(most_bytes: int = MOST_BYTES) -> Iterator[Recorded]:
    """An empty store, which is gone when the context ends.

    Args:
        most_bytes: of records that stay in memory.
    """
    with shared() as memory, tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        yield Recorded(memory, folder, most_bytes)
