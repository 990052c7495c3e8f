"""Which run and rank a process on a GPU belongs to."""

import os
from pathlib import Path

from shippers.sources.job_places import Place, place_of, variables
from shippers.sources.process import parse_stat
from shippers.sources.reading import ROOT, read_once

_KEPT = ("run.id", "rank", "job.id", "job.scheduler", "pod.name", "pod.namespace", "container.id")
_MOST = 1000


class ProcessPlaces:
    """Looks at environment and control group of each process once."""

    def __init__(self, root: Path = ROOT) -> None:
        self._proc = f"{root / 'proc'}/"
        self._ticks, self._page_bytes = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        self._known: dict[int, tuple[int, Place]] = {}

    def of(self, pid: int) -> Place:
        """Labels of a process; none where it is of no job, or runs in a name space from which it cannot be seen."""
        stat = parse_stat(read_once(f"{self._proc}{pid}/stat"), self._ticks, self._page_bytes)
        if stat is None:
            self._known.pop(pid, None)
            return {}
        known = self._known.get(pid)
        if known is None or known[0] != stat.started_ticks:
            environment = variables(read_once(f"{self._proc}{pid}/environ") or b"")
            place = place_of(environment, (read_once(f"{self._proc}{pid}/cgroup") or b"").decode(errors="replace"))
            known = (stat.started_ticks, {name: place[name] for name in _KEPT if name in place} | {"process.name": stat.name})
            if len(self._known) >= _MOST:
                self._known.clear()  # most of them have ended long ago
            self._known[pid] = known
        return known[1]
