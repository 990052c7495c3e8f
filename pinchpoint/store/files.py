"""The few file operations a lake is made of, on a local disk or on object storage."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from pinchpoint.errors import StoreError, UsageError

TEMPORARY = "_tmp"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file in a directory; size and time together tell whether it was replaced."""

    name: str
    size: int
    mtime_ns: int


class Files(Protocol):
    """Files below one root; every path is relative to it, with `/` between its parts.

    All raise FileNotFoundError for what is not there, other OSErrors for what cannot be done.
    """

    root: str
    """What this was opened with, without secrets."""

    def files(self, folder: str) -> list[Entry]:
        """The files of a folder in no order; none where there is no folder."""

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder, sorted; none where there is no folder."""

    def entry(self, path: str) -> Entry | None:
        """One file; None when it is not there."""

    def read(self, path: str) -> bytes:
        """All bytes of a file."""

    def open(self, path: str) -> pa.NativeFile:
        """A file to read from in any order."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all, in the place of an earlier one; when this returns it is durable."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """A local path to write a large file to; it is gone afterwards unless adopted."""

    def adopt(self, scratch: Path, path: str) -> None:
        """Make a scratch file what `put` would make of its bytes."""

    def move(self, path: str, target: str) -> None:
        """Move a file to another folder."""

    def delete(self, path: str) -> None:
        """Delete a file; one that is not there is no error."""

    def delete_folder(self, folder: str) -> None:
        """Delete a folder if it is empty."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Wait until nobody else joins or drops segments; object storage has no such lock."""


def open_files(url: str) -> Files:
    """The files at a path, file://, s3:// or gs://.

    Raises: UsageError for what is no such place.
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme == "file":
        return LocalFiles(Path(rest if colon else url).expanduser().absolute())
    try:
        filesystem, path = pafs.FileSystem.from_uri(url)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"no store at {_without_secrets(url)!r}: {error}") from error
    return ObjectFiles(filesystem, path, _without_secrets(url))


def _without_secrets(url: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


class LocalFiles:
    """A directory of this machine: what is put there survives a crash and a power cut."""

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise UsageError(f"no store at {str(root)!r}: it is a file, a lake is a directory")
        self.root = str(root)

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def files(self, folder: str) -> list[Entry]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._path(folder)) as entries:
            for one in entries:
                with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                    status = one.stat()
                    if stat.S_ISREG(status.st_mode):
                        found.append(Entry(one.name, status.st_size, status.st_mtime_ns))
        return found

    def folders(self, folder: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._path(folder)) as entries:
            return sorted(one.name for one in entries if one.is_dir())
        return []

    def entry(self, path: str) -> Entry | None:
        try:
            status = Path(self._path(path)).stat()
        except FileNotFoundError:
            return None
        return Entry(path.rpartition("/")[2], status.st_size, status.st_mtime_ns)

    def read(self, path: str) -> bytes:
        return Path(self._path(path)).read_bytes()

    def open(self, path: str) -> pa.NativeFile:
        # not mapped into memory: a file cut short under a mapping kills the process
        return pa.OSFile(self._path(path), "rb")

    def put(self, path: str, data: bytes) -> None:
        with self.scratch() as scratch:
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view):]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._rename(str(scratch), path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        folder = Path(self._path(TEMPORARY))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def adopt(self, scratch: Path, path: str) -> None:
        _sync(str(scratch), os.O_RDONLY)
        self._rename(str(scratch), path)

    def _rename(self, source: str, path: str) -> None:
        target = self._path(path)
        for _ in range(8):  # another process may drop the empty folder just made
            try:
                os.replace(source, target)  # noqa: PTH105
                break
            except FileNotFoundError:
                self._make_folder(path.rpartition("/")[0])
        else:
            raise FileNotFoundError(f"the folder of {target} goes away as often as it is made")
        _sync(target.rpartition("/")[0], os.O_RDONLY | os.O_DIRECTORY)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and write its name to disk: a file in a folder that is lost is lost too."""
        parent = folder.rpartition("/")[0]
        if not Path(self._path(parent)).is_dir():
            self._make_folder(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path(folder))  # noqa: PTH102
        _sync(self._path(parent), os.O_RDONLY | os.O_DIRECTORY)

    def move(self, path: str, target: str) -> None:
        if self.entry(path) is None:
            raise FileNotFoundError(path)
        self._rename(self._path(path), target)
        _sync(self._path(path.rpartition("/")[0]), os.O_RDONLY | os.O_DIRECTORY)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(path))  # noqa: PTH108

    def delete_folder(self, folder: str) -> None:
        with contextlib.suppress(OSError):  # not empty: somebody wrote into it meanwhile
            os.rmdir(self._path(folder))  # noqa: PTH106

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        Path(self.root).mkdir(parents=True, exist_ok=True)
        with Path(self._path("_lock")).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ObjectFiles:
    """Object storage through pyarrow.fs: a file is there when its upload is complete, and there is nothing to sync."""

    def __init__(self, filesystem: pafs.FileSystem, base: str, root: str) -> None:
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        self.root = root

    def _path(self, path: str) -> str:
        return "/".join(part for part in (self._base, path) if part)

    def _infos(self, folder: str) -> list[Any]:
        return list(self._filesystem.get_file_info(pafs.FileSelector(self._path(folder), allow_not_found=True)))

    def files(self, folder: str) -> list[Entry]:
        return [_entry(info) for info in self._infos(folder) if info.type == pafs.FileType.File]

    def folders(self, folder: str) -> list[str]:
        return sorted(info.base_name for info in self._infos(folder) if info.type == pafs.FileType.Directory)

    def entry(self, path: str) -> Entry | None:
        info = self._filesystem.get_file_info(self._path(path))
        return _entry(info) if info.type == pafs.FileType.File else None

    def read(self, path: str) -> bytes:
        with self._filesystem.open_input_stream(self._path(path)) as stream:
            return bytes(stream.read())

    def open(self, path: str) -> pa.NativeFile:
        return self._filesystem.open_input_file(self._path(path))

    def put(self, path: str, data: bytes) -> None:
        with self._output(path) as stream:
            stream.write(data)

    def _output(self, path: str) -> pa.NativeFile:
        try:
            return self._filesystem.open_output_stream(self._path(path))
        except FileNotFoundError:  # storage that knows folders
            self._filesystem.create_dir(self._path(path).rpartition("/")[0])
            return self._filesystem.open_output_stream(self._path(path))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder:
            yield Path(folder) / "segment"

    def adopt(self, scratch: Path, path: str) -> None:
        with scratch.open("rb") as file, self._output(path) as stream:
            shutil.copyfileobj(file, stream, 1 << 22)

    def move(self, path: str, target: str) -> None:
        self.put(target, self.read(path))
        self.delete(path)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(path))

    def delete_folder(self, folder: str) -> None:
        """Nothing: folders of object storage are only names."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield


def _entry(info: Any) -> Entry:
    return Entry(info.base_name, info.size or 0, info.mtime_ns or 0)


_MAY_NOT = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def explained(root: str, what: str) -> Iterator[None]:
    """Turn an OSError into a StoreError that says what could not be done, where, and what may help."""
    try:
        yield
    except OSError as error:
        step = {errno.ENOSPC: " Free space there, or use another lake: --store PATH", errno.ENOTDIR: " A lake is a directory: --store PATH"}
        hint = " Use a lake that you may write to: --store PATH" if error.errno in _MAY_NOT else step.get(error.errno or 0, "")
        raise StoreError(f"cannot {what} in {root}: {error.strerror or error}.{hint}") from error
