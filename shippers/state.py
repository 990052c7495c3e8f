"""The folder in which an agent remembers: whose it is, and how files in it are replaced."""

import fcntl
import os
from pathlib import Path

from pinchpoint.errors import UsageError

_LOCK = "lock"


def default_folder() -> Path:
    """`/var/lib/pinchpoint` for root, else `$XDG_STATE_HOME/pinchpoint`."""
    if os.geteuid() == 0:
        return Path("/var/lib/pinchpoint")
    import platformdirs

    return platformdirs.user_state_path("pinchpoint")


def lock(folder: Path) -> int:
    """A descriptor that holds the folder for this process alone; the process id stands in the file.

    Raises: UsageError when another agent has it, or when it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write to the state folder {folder}: {error.strerror}. Name another with --state-dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held_by = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise UsageError(f"another agent (process {held_by}) works with {folder}. Stop it, or give this one a folder of its own "
                         "with --state-dir") from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError:
        pass  # a full disk: the lock holds without the number
    return descriptor


def holder(folder: Path) -> int | None:
    """The process that holds the folder; None when no agent runs. Raises: OSError when that cannot be looked at."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0)
        return int(text) if text.strip().isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def replace_file(path: Path, data: bytes, mode: int = 0o600, temporary: Path | None = None) -> None:
    """Write a file, whole or not at all; when this returns it is durable.

    Args:
        path: the file; its folder is made.
        data: all of it.
        mode: of a file that is made.
        temporary: where it is written first, on the same file system; None is beside it.
    Raises: OSError.
    """
    temporary = temporary or path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
