"""What a live source returns: the readings of one entity, and the two ways to read a file of the kernel."""

import os
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
_MOST_BYTES = 1 << 18


class Reading(NamedTuple):
    """The readings of one entity at one time; what cannot be measured here is left out of `metrics`."""

    entity_kind: str
    entity_id: str
    metrics: dict[str, float]
    pid: int | None = None
    labels: dict[str, str] | None = None
    time_ns: int | None = None
    """When it was measured, where its source says so."""


def read_once(path: str | Path) -> bytes | None:
    """The content of a small kernel file; None when it is absent, forbidden or its process has ended."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)


class KernelFile:
    """A kernel file that is kept open and read again from its start, which saves half of the cost of a reading."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def read(self) -> bytes | None:
        """Its content now; None when this kernel does not have it or refuses it."""
        if self._descriptor < 0:
            return None
        try:
            return os.pread(self._descriptor, _MOST_BYTES, 0)
        except OSError:  # pressure files exist, yet answer EOPNOTSUPP, where the kernel was started with psi=0
            return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def number_after(data: bytes | None, key: bytes) -> float | None:
    """The number that follows a key in a kernel file; None where there is no such key.

    >>> number_after(b"MemTotal:   12 kB", b"MemTotal:")
    12.0
    """
    if data is None:
        return None
    start = 0 if data.startswith(key) else data.find(b"\n" + key) + 1
    if start == 0 and not data.startswith(key):
        return None
    words = data[start + len(key) : start + len(key) + 32].split(None, 1)
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None
