"""Read which job has which GPU from the folder in which a scheduler's prologue writes it for dcgm-exporter."""

import os
import re
from pathlib import Path

from pinchpoint.clock import NS
from shippers.sources.reading import read_once

#: They are written in place, so that half a job number can be read; a file counts once it has stood still so long.
_SETTLED_S = 2.0
_NAME = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?")
_JOB = re.compile(rb"[\w.:+-]{1,100}")


def read_job_files(folder: Path, now_ns: int, before: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The jobs of each GPU, by its file name: `0`, or `0.3` for a MIG instance.

    Args:
        folder: with a file for each GPU, a job id on each line.
        now_ns: the time of this host, which wrote the files.
        before: what this returned last; a file that is being written still has what it had then.
    """
    jobs: dict[str, tuple[str, ...]] = {}
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns) for entry in entries
                           if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False))
    except OSError:
        return jobs
    for name, changed_ns in found:
        if 0 <= now_ns - changed_ns < _SETTLED_S * NS:
            jobs[name] = before.get(name, ())
            continue
        lines = (line.strip() for line in (read_once(folder / name) or b"").splitlines())
        jobs[name] = tuple(sorted({line.decode() for line in lines if _JOB.fullmatch(line)}))
    return jobs
