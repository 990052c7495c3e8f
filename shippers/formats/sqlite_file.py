"""Open SQLite files that somebody else wrote: read only, nothing of them runs, and a query ends."""

import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pinchpoint.errors import InputError
from shippers.formats.lines import read_chunks

MAGIC = b"SQLite format 3\0"
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_VALUE_BYTES = 1 << 20
#: A query over 50 million rows of ours takes of order a billion instructions of SQLite's machine.
_INSTRUCTIONS, _MOST_CALLS = 1_000_000, 20_000


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads one file; one that is packed with gzip is unpacked beside it first.

    Raises: InputError for what is no database, is damaged, or takes forever.
    """
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        try:
            with closing(_connect(_unpacked(path, Path(folder)))) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"{path}: cannot be read as a database: {error}") from error


def tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Names of the tables and of their columns; views and virtual tables, which run what somebody wrote, are left out."""
    names = [str(name) for name, in connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' LIMIT 1000")]
    return {name: [str(column) for column, in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))] for name in names}


def _unpacked(path: Path, folder: Path) -> Path:
    with path.open("rb") as file:
        if file.read(2) != _GZIP_MAGIC:
            return path
    with (folder / "database").open("wb") as unpacked:
        for chunk in read_chunks(path):
            unpacked.write(chunk)
    return folder / "database"


def _connect(path: Path) -> sqlite3.Connection:
    # immutable: no lock and no journal beside somebody else's file
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0", "temp_store = FILE"):
        connection.execute(f"PRAGMA {pragma}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 1 << 16)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
    calls = 0

    def is_enough() -> int:
        nonlocal calls
        calls += 1
        return int(calls > _MOST_CALLS)

    connection.set_progress_handler(is_enough, _INSTRUCTIONS)
    return connection
