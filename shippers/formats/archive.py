"""Archives (zip, tar, tar.gz) of inputs: each file inside is read as the format that it is in."""

import contextlib
import hashlib
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_chunks
from shippers.formats.mlflow import is_part

MOST_FILES = 10_000
#: Of all files together, and in relation to the archive: text packs 5 to 60 times, zeros 1000 times.
MOST_BYTES = 8 << 30
_MOST_RATIO = 400
_AT_LEAST = 1 << 26
#: What stands between two files of a tar is a header; a longer one is no header.
_MOST_HEADER = 1 << 24
_CHUNK = 1 << 18
_DEEPEST = 6
#: A file of a run of MLflow, whose parts are read together: what stands before it, and its path in the run.
_LATER = re.compile(r"^((?:[^\0]*/)?[^/\0]+/)((?:metrics|params|tags)/[^\0]+|meta\.yaml)$")


def recognises(head: bytes) -> bool:
    """Whether it begins like a zip or a tar file."""
    return head[:4] == b"PK\x03\x04" or head[257:262] == b"ustar"


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """What the files hold; one that cannot be read is noted, and the others are read.

    Raises: InputError when nothing can be read, or the archive unpacks to much more than archives do.
    """
    with path.open("rb") as file, tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
        open_members = _of_zip if file.read(2) == b"PK" else _of_tar
        try:
            later: dict[Path, str] = {}
            for number, (name, copy) in enumerate(open_members(path)):
                if number >= MOST_FILES:
                    reading.notes.append(f"more than {MOST_FILES} files in it: the rest is left out")
                    break
                one, waits = _place(Path(folder), number, name)
                with one.open("wb") as unpacked:
                    for chunk in copy():
                        unpacked.write(chunk)
                if waits:
                    later[one] = name
                    continue
                yield from _read_one(name, one, reading)
                one.unlink()
            for one, name in later.items():
                if not is_part(one):
                    yield from _read_one(name, one, reading)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            if not reading.records:
                raise InputError(f"{path}: damaged, or packed in a way that is not read: {error}") from error
            reading.notes.append(f"read up to where it is damaged: {error}")


def _place(folder: Path, number: int, name: str) -> tuple[Path, bool]:
    """Where a file is unpacked to, and whether it is read with others that lie beside it."""
    # by its last part alone, which tells ranks; a path could lead anywhere
    place = folder / str(number) / (Path(name).name[-100:] or "file")
    belongs = _LATER.search(name)
    parts = [part[-100:] for part in belongs[2].split("/") if part not in ("", ".", "..")] if belongs else []
    if belongs and len(parts) <= _DEEPEST:
        beside = folder.joinpath("together", hashlib.sha256(belongs[1].encode("utf-8", "surrogateescape")).hexdigest(), *parts)
        # an archive may hold a file where another has its folder
        with contextlib.suppress(OSError):
            beside.parent.mkdir(parents=True, exist_ok=True)
            if not beside.exists():
                return beside, True
    place.parent.mkdir()
    return place, False


def _read_one(name: str, path: Path, reading: Reading) -> Iterator[Batch]:
    from shippers.formats.catalogue import detect

    before = len(reading.notes)
    try:
        found = detect(path)
        if found is FORMAT:
            raise InputError("an archive in an archive is not read")
        yield from found.read(path, reading)
    except InputError as error:
        reading.notes.append(str(error).partition("\n")[0].removeprefix(f"{path}: "))
    reading.notes[before:] = [f"{name}: {note}" for note in reading.notes[before:]]


Copy = Callable[[], Iterator[bytes]]


class _Budget:
    """Counts what was unpacked, and stops what unpacks to more than an archive of its size does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = min(max(path.stat().st_size * _MOST_RATIO, _AT_LEAST), MOST_BYTES)

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise InputError(f"{self._path}: unpacks to far more than its size; unpack it first if that is right")


def _of_zip(path: Path) -> Iterator[tuple[str, Copy]]:
    budget = _Budget(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue

            def copy(member: zipfile.ZipInfo = member) -> Iterator[bytes]:
                with archive.open(member) as file:
                    while chunk := file.read(_CHUNK):
                        budget.take(len(chunk))
                        yield chunk

            yield member.filename, copy


class _Stream:
    """The unpacked bytes of a tar file, as tarfile asks for them; headers are short."""

    def __init__(self, path: Path) -> None:
        self._chunks, self._rest = read_chunks(path, _CHUNK), b""
        self.header_left = _MOST_HEADER
        self.in_file = False

    def read(self, size: int) -> bytes:
        if not self.in_file:
            self.header_left -= size
            if self.header_left < 0:
                raise tarfile.ReadError("a header that is longer than headers are")
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _of_tar(path: Path) -> Iterator[tuple[str, Copy]]:
    budget, stream = _Budget(path), _Stream(path)
    with contextlib.closing(tarfile.open(fileobj=stream, mode="r|")) as archive:  # type: ignore[call-overload]
        for member in archive:
            if not member.isreg():  # no links: they could lead out
                continue

            def copy(member: tarfile.TarInfo = member) -> Iterator[bytes]:
                stream.in_file = True
                file = archive.extractfile(member)
                while file is not None and (chunk := file.read(_CHUNK)):
                    budget.take(len(chunk))
                    yield chunk
                stream.in_file, stream.header_left = False, _MOST_HEADER

            yield member.name, copy


FORMAT = Format("archive", recognises, read)
