"""Bring what light writers landed in a lake, packed NDJSON, into its segments: each record once, whenever it is cut short.

A landed file becomes one segment of each kind that is in it, all under its own name. Writing a segment again changes nothing, so
the file is deleted last, and whoever finds it before that, after a crash or at the same moment, only repeats what was done.
"""

import errno
import re
import zlib
from collections.abc import Iterator

from pinchpoint import fields
from pinchpoint.rows import Row, parse_row, to_batch
from pinchpoint.store.incoming import prepare
from pinchpoint.store.visible import Lake
from pinchpoint.store.writing import write

FOLDER = "_landing"
_NAME = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,149})\.ndjson\.gz")
_GZIP = 31
#: Agents land 4 MiB of documents at a time: what unpacks to more than this is damaged, or a bomb.
_MOST_BYTES = 256 << 20
_MAY_NOT = (errno.EACCES, errno.EPERM, errno.EROFS)


def bring_in(lake: Lake) -> None:
    """Make segments of all that has landed; in a lake that one may only read, it stays for somebody who may write.

    Raises: OSError when the lake cannot be read or written for another reason.
    """
    for entry in sorted(lake.files.files(FOLDER), key=lambda one: one.name):
        found = _NAME.fullmatch(entry.name)
        path = f"{FOLDER}/{entry.name}"
        if found is None or lake.aside.holds(path):
            continue
        try:
            _bring_in(lake, path, found[1])
        except FileNotFoundError:  # brought in by another process
            continue
        except OSError as error:
            if error.errno in _MAY_NOT:
                return
            raise


def _bring_in(lake: Lake, path: str, segment_id: str) -> None:
    try:
        data = _unpacked(lake.files.read(path))
    except (zlib.error, ValueError) as error:
        lake.aside.put(path, f"landed damaged: {error}")
        return
    rows: dict[str, list[Row]] = {kind: [] for kind in fields.SHIPPED}
    rejected = [why for why in _parse(data, rows) if why is not None]
    for kind, some in rows.items():
        if some:
            write(lake, kind, prepare(kind, to_batch(kind, some)), segment_id)
    if rejected:
        # what can be read of it is in the lake now, and its records are not taken twice should it be landed again
        lake.aside.put(path, f"{len(rejected)} lines are no records, the first because: {rejected[0]}", len(rejected))
    else:
        lake.files.delete(path)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    whole = unpacker.decompress(data, _MOST_BYTES)
    if not unpacker.eof:
        raise ValueError("it is cut off" if len(whole) < _MOST_BYTES else f"it unpacks to more than {_MOST_BYTES} bytes")
    return whole


def _parse(data: bytes, rows: dict[str, list[Row]]) -> Iterator[str | None]:
    """Sort lines into rows by kind; gives why a line is no record, None for one that is."""
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = parse_row(line)
            rows[row.__struct_config__.tag].append(row)
        except ValueError as error:
            yield str(error)
        except KeyError as error:
            yield f"a record of kind {error} is made by the analysis, not landed"
        else:
            yield None
