"""Read how full the file systems are, without waiting for one that hangs."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from shippers.sources.patience import Patience
from shippers.sources.reading import ROOT, Reading

#: Kinds that hold no files of anybody. tmpfs counts at /dev/shm only, where data loaders pass batches.
_NOT_FOR_FILES = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal", "fuse.snapfuse", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs",
    "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs"))
#: The kernel answers for these from memory; others may ask a server or a program, which may never answer.
_LOCAL = frozenset(("btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"))
_MOST_MOUNTS = 64
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One file system where it is mounted."""

    path: str
    kind: str
    device: str


class FilesystemSource:
    """Readings of each file system that holds files, also network ones; one that does not answer is a reading too.

    Args:
        host: name of this host.
        root: where the kernel's files are.
        timeout_s: for one file system. One that hangs is waited for once, until it answers again.
        statvfs: asks the kernel.
    """

    def __init__(self, host: str, *, root: Path = ROOT, timeout_s: float = 1.0,
                 statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> None:
        self._host, self._timeout_s, self._statvfs = host, timeout_s, statvfs
        self._mountinfo = root / "proc/self/mountinfo"
        self._patience: dict[str, Patience] = {}

    def read(self) -> list[Reading]:
        """One reading of each file system."""
        # of several at one place the last one is seen
        mounts = {mount.path: mount for mount in self._mounts()}
        self._patience = {path: self._patience.get(path) or Patience() for path in mounts}
        return [self._reading(mount) for mount in mounts.values()]

    def _mounts(self) -> Iterator[Mount]:
        try:
            lines = self._mountinfo.read_text(errors="replace").splitlines()
        except OSError:
            return
        seen: set[str] = set()
        for line in lines:
            left, _, right = line.partition(" - ")
            fields, kind_and_device = left.split(" "), right.split(" ")
            if len(fields) < 6 or len(kind_and_device) < 2:
                continue
            path, kind = unescape(fields[4]), kind_and_device[0]
            # the overlays of containers are as full as the disk below them; a bind mount is the same file system at a second place
            skipped = (kind in _NOT_FOR_FILES and path != "/dev/shm") or (kind == "overlay" and path != "/")  # noqa: S108
            if skipped or fields[2] in seen or len(seen) >= _MOST_MOUNTS:
                continue
            seen.add(fields[2])
            yield Mount(path, kind, unescape(kind_and_device[1]))

    def _reading(self, mount: Mount) -> Reading:
        labels = {"device": mount.device, "fstype": mount.kind}
        identity = f"{self._host}{mount.path}"
        try:
            found = (self._statvfs(mount.path) if mount.kind in _LOCAL
                     else self._patience[mount.path].call(lambda: self._statvfs(mount.path), self._timeout_s))
        except OSError as error:  # a stale handle is as bad as no answer; one that may not be looked at is neither
            metrics = {} if isinstance(error, PermissionError) else {"filesystem.unresponsive": 1.0}
            return Reading("filesystem", identity, metrics, labels=labels)
        metrics = {"filesystem.unresponsive": 0.0}
        if found.f_blocks:
            metrics["filesystem.total_bytes"] = float(found.f_blocks * found.f_frsize)
            metrics["filesystem.available_bytes"] = float(found.f_bavail * found.f_frsize)
        if found.f_files:
            metrics["filesystem.inodes"] = float(found.f_files)
            metrics["filesystem.free_inodes"] = float(found.f_favail)
        return Reading("filesystem", identity, metrics, labels=labels)


def unescape(text: str) -> str:
    r"""A path as it is, of one as the kernel writes it.

    >>> unescape("/my\\040data")
    '/my data'
    """
    return _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), text)
