"""Copy files between places, with checksums, without copying what is there already and without leaving the folders that are meant."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pinchpoint.backup.manifest import File
from pinchpoint.errors import StoreError
from pinchpoint.store.files import Files, LocalFiles

_BLOCK_BYTES = 1 << 20

#: Called with the number of bytes that were just dealt with.
Advance = Callable[[float], None]


def copy(source: Files, path: str, target: Files, to: str, advance: Advance, expected: str | None = None) -> File:
    """Copy a file, unless the same lies there; returns it under its new path.

    Args:
        source: where it is.
        path: under which it is there.
        target: where it goes.
        to: under which it is there then.
        advance: told of the progress.
        expected: its checksum, where that is known.
    Raises: FileNotFoundError when it is not there; StoreError when it has another checksum, then nothing was written.
    """
    check_inside(target, to)
    there, here = target.entry(to), source.entry(path)
    if there is not None and here is not None and there.size == here.size:
        same = checksum(source, path)
        if checksum(target, to) == same and expected in (None, same):
            advance(here.size)
            return File(to, here.size, same)
    digest, size = hashlib.sha256(), 0
    with source.open(path) as file, target.scratch() as scratch:
        with scratch.open("xb") as copied:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                copied.write(block)
                size += len(block)
                advance(len(block))
        if expected not in (None, digest.hexdigest()):
            raise StoreError(f"{source.root}/{path} changed while it was read. Call the same again")
        target.adopt(scratch, to)
    return File(to, size, digest.hexdigest())


def checksum(files: Files, path: str) -> str:
    """SHA-256 of a file, in hexadecimal digits. Raises: FileNotFoundError."""
    digest = hashlib.sha256()
    with files.open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def check_inside(files: Files, path: str) -> None:
    """Refuse a path that a symbolic link leads out of its folder. Raises: StoreError."""
    if not isinstance(files, LocalFiles):
        return
    root = os.path.realpath(files.root)
    if os.path.realpath(f"{root}/{path}") != f"{root}/{path}":
        raise StoreError(f"{files.root}/{path} is behind a symbolic link, which could lead anywhere. Put the files themselves there")


def walk(files: Files, folder: str) -> Iterator[str]:
    """Every file below a folder."""
    yield from (f"{folder}/{entry.name}" for entry in files.files(folder))
    for name in files.folders(folder):
        yield from walk(files, f"{folder}/{name}")


def delete_tree(files: Files, folder: str) -> None:
    """Delete a folder with all that is in it; what a link leads to stays."""
    if isinstance(files, LocalFiles) and Path(f"{files.root}/{folder}").is_symlink():
        return
    for entry in files.files(folder):
        files.delete(f"{folder}/{entry.name}")
    for name in files.folders(folder):
        delete_tree(files, f"{folder}/{name}")
    files.delete_folder(folder)


@contextlib.contextmanager
def explained(files: Files, what: str) -> Iterator[None]:
    """Turn an OSError into a sentence: what cannot be done, where, why, and that trying again goes on from here."""
    try:
        yield
    except OSError as error:
        step = {errno.ENOSPC: "Make room there", errno.EROFS: "Make it writable", errno.EACCES: "Get the right to do so"}
        about = f" ({error.filename})" if error.filename else ""
        todo = step.get(error.errno or 0, "Mend that")
        raise StoreError(f"cannot {what} {files.root}: {error.strerror or error}{about}. {todo} and call the same again: what was "
                         "copied already is not copied a second time") from error
