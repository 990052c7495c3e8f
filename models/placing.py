"""Find out which GPU each rank computes on."""

import dataclasses

import numpy as np

from models.view import Entity, Event, Placed, RunView

#: A GPU that is busy for less than this share of the time is nobody's, while others of its host are busy.
IDLE_RATIO = 0.05


def place(view: RunView) -> list[Placed]:
    """The GPUs of the run, each with its rank, in the order of the ranks.

    A rank's GPU is the one its steps name, else the one its job was given (event `job_assigned`), else the one of the same place on
    its host: ranks of a host and busy GPUs of a host in the order of their numbers.
    """
    assigned = {(event.host, event.rank): event for event in view.events if event.action == "job_assigned"}
    found: list[Placed] = []
    for host in sorted({rank.host or "" for rank in view.ranks}):
        ranks = [rank for rank in view.ranks if (rank.host or "") == host]
        here = gpus_of(view, host)
        told = [_told(rank, here, assigned.get((rank.host, rank.rank))) for rank in ranks]
        chosen = told if any(told) else [*_in_use(here, len(ranks))[: len(ranks)], *([None] * len(ranks))]
        found += [Placed(_with_parent(gpu, view), rank) for gpu, rank in zip(chosen, ranks, strict=False) if gpu is not None]
    return sorted(found, key=lambda one: one.rank.rank or 0)


def gpus_of(view: RunView, host: str) -> list[Entity]:
    """GPUs of a host, in the order of their index."""
    every = view.others.get("gpu", [])
    mine = [gpu for gpu in every if (gpu.host or "") == host]
    if not mine and len({rank.host for rank in view.ranks}) == 1 == len({gpu.host for gpu in every}):
        # where ranks or GPUs were recorded without a host, they can only be on the one there is
        mine = [gpu for gpu in every if not host or not gpu.host]
    return sorted(mine, key=lambda gpu: (_number(gpu.labels.get("gpu.index")), gpu.id))


def _with_parent(gpu: Entity, view: RunView) -> Entity:
    """An instance of a split GPU with what only the whole one is asked for: its clocks, its heat, its links."""
    parent = next((one for one in view.others.get("gpu", []) if one.id == gpu.labels.get("gpu.parent.uuid")), None)
    if parent is None:
        return gpu
    return dataclasses.replace(gpu, series={**parent.series, **gpu.series}, labels={**parent.labels, **gpu.labels})


def _told(rank: Entity, here: list[Entity], assigned: Event | None) -> Entity | None:
    """The GPU that the rank's steps, or the assignment of its job, name."""
    told = {} if assigned is None else assigned.details
    uuid = rank.labels.get("gpu.uuid") or told.get("gpu.uuid")
    if uuid:
        return next((gpu for gpu in here if gpu.id == uuid), None)
    index = told.get("gpu.index")
    return None if index is None else next((gpu for gpu in here if gpu.labels.get("gpu.index") == index), None)


def _in_use(here: list[Entity], ranks: int) -> list[Entity]:
    split = {gpu.labels.get("gpu.parent.uuid") for gpu in here}
    here = [gpu for gpu in here if gpu.id not in split]
    busy = [gpu for gpu in here if (share := gpu.series.get("gpu.busy_ratio")) is None or np.nanmean(share) >= IDLE_RATIO]
    return busy if len(busy) >= ranks else here


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 1 << 30
