"""Which rank of which run this process is, and where its records go."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pinchpoint.sdk.values import parsed, text

_RANKS = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


class Place(NamedTuple):
    """One rank of one run."""

    folder: str
    run_id: str
    workload: str | None
    rank: int
    world_size: int | None
    host: str


def find_place(folder: str, run_id: object = None, workload: object = None, rank: object = None, world_size: object = None,
               environment: Mapping[str, str] = os.environ) -> Place:
    """The place from what was given, else from the collector and the launcher; what makes no sense counts as not given."""
    host = text(socket.gethostname(), 255).replace("/", "_") or "host"
    found_rank, found_size = _launched(environment)
    given_rank, given_size = parsed(rank), parsed(world_size)
    place = found_rank if given_rank is None else given_rank
    size = found_size if given_size is None else given_size
    return Place(
        # absolute: the training may change its directory
        str(Path.cwd() / folder),
        text(run_id or environment.get("PINCHPOINT_RUN_ID") or f"{host}-{os.getpid()}-{os.urandom(4).hex()}", 200),
        text(workload or environment.get("PINCHPOINT_WORKLOAD") or "", 200) or None,
        # a rank beyond the size: the size is the guess
        place, size if size > place else None, host)


def _launched(environment: Mapping[str, str]) -> tuple[int, int]:
    """Rank and world size from the first launcher that says a rank; they never come from two of them."""
    for rank_name, size_name in _RANKS:
        rank = parsed(environment.get(rank_name))
        if rank is not None:
            return rank, parsed(environment.get(size_name)) or 1
    return 0, 1
