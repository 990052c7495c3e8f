"""Names of hours and files in the lake.

A lake is `<root>/<kind>/<hour>/<file>`. A segment is written as one file per hour it touches:

- `<segment>.parquet`: the whole segment; it is there, or it is not
- `<segment>~<last hour>.parquet`: a part of a segment of several hours; it counts once the last hour holds `<segment>.whole`
- `joined/<number>.parquet`: segments that were joined; the highest number counts, and its footer says what it stands for

Segments of derived kinds can be written again: theirs are `<segment>@<version>…`, and the highest version counts.
"""

import dataclasses
import datetime
import re

from pinchpoint.clock import NS
from pinchpoint.errors import StoreError

HOUR_NS = 3600 * NS

JOINED = "joined"
WHOLE = ".whole"
PARQUET = ".parquet"

_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,150}")
_FILE = re.compile(r"([A-Za-z0-9._-]+)(?:@(\d+))?(?:~(\d{4}-\d\d-\d\dT\d\d))?\.parquet")
_JOINED = re.compile(r"(\d+)\.parquet")
_MARKER = re.compile(r"([A-Za-z0-9._-]+)(?:@(\d+))?\.whole")
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Stem:
    """One version of a segment; segments that cannot be written again have version 0."""

    segment: str
    version: int = 0

    def __str__(self) -> str:
        return f"{self.segment}@{self.version}" if self.version else self.segment


def check_segment(segment_id: str) -> None:
    """Refuse an id that could not be a file's name. Raises: StoreError."""
    if not _SEGMENT.fullmatch(segment_id):
        raise StoreError(f"segment id {segment_id!r}: expected 1 to 150 letters, digits, '-', '_' or '.'")


def hour_name(hour: int) -> str:
    """The directory of an hour, counted since 1970.

    >>> hour_name(490896)
    '2026-01-01T00'
    """
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(hours=hour)).strftime("%Y-%m-%dT%H")


def parse_hour(name: str) -> int | None:
    """The number of an hour since 1970; None for a name that is not an hour's.

    >>> parse_hour("2026-01-01T00")
    490896
    """
    if not _HOUR.fullmatch(name):
        return None
    try:
        span = datetime.datetime.strptime(name, "%Y-%m-%dT%H") - datetime.datetime(1970, 1, 1)
    except ValueError:
        return None
    return span.days * 24 + span.seconds // 3600


def data_name(stem: Stem, last_hour: int | None) -> str:
    """The file of a segment in one hour; `last_hour` for a part of a segment of several hours, else None.

    >>> data_name(Stem("a-1"), None), data_name(Stem("a-1", 7), 490896)
    ('a-1.parquet', 'a-1@7~2026-01-01T00.parquet')
    """
    return f"{stem}{PARQUET}" if last_hour is None else f"{stem}~{hour_name(last_hour)}{PARQUET}"


def parse_data(name: str) -> tuple[Stem, int | None] | None:
    """What `data_name` was made of; None for another file."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    segment, version, last = match.groups()
    return Stem(segment, int(version or 0)), None if last is None else parse_hour(last)


def parse_marker(name: str) -> Stem | None:
    """The version of a segment that a `.whole` file declares written; None for another file."""
    match = _MARKER.fullmatch(name)
    return None if match is None else Stem(match.group(1), int(match.group(2) or 0))


def joined_name(number: int) -> str:
    """The file of the joined segments of an hour, of the number-th time they were joined."""
    return f"{number}{PARQUET}"


def parse_joined(name: str) -> int | None:
    """The number in `joined_name`; None for another file."""
    match = _JOINED.fullmatch(name)
    return None if match is None else int(match.group(1))


def parse_stem(text: str) -> Stem:
    """The inverse of `str(stem)`."""
    segment, _, version = text.partition("@")
    return Stem(segment, int(version or 0))
