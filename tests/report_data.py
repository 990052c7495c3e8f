"""Incidents with evidence in a store, for tests of the pages."""

import dataclasses
from typing import Any

import numpy as np
from runs import run_view

from models import verdict
from models.causes import load
from models.view import Entity, RunView
from pinchpoint.store import Store
from pinchpoint.store.memory import MemoryStore
from pipelines.keeping import save_kept

CAUSES = load()
CATEGORIES = {cause.name: cause.category for cause in CAUSES.values()}


def wide(ranks: int, steps: int = 240, slow: int = 3) -> RunView:
    """A run of so many ranks of which one computes two and a half times as long from the middle on; made of four real ones."""
    own = np.full((steps, 4), 0.1)
    own[steps // 2:, slow] = 0.25
    view = run_view(own * (1 + 0.02 * np.sin(np.arange(steps * 4)).reshape(steps, 4)), data_wait=np.full(steps, 0.01))
    more = [Entity("rank", str(number), f"node-{number // 8}", number, {}, view.ranks[number % 3].series) for number in range(4, ranks)]
    return dataclasses.replace(view, ranks=[*view.ranks, *more])


def put(store: Store, view: RunView) -> list[dict[str, Any]]:
    """Explain a run and keep all of it; returns the incidents."""
    answer = verdict.explain(view, CAUSES)
    for one in answer["incidents"]:
        save_kept(store, one, answer["kept"][one["id"]])
        store.put_incident(one)
    return answer["incidents"]


def stored(ranks: int = 8) -> tuple[Store, dict[str, Any]]:
    """A store with the incident of a straggler."""
    store = MemoryStore()
    return store, store.incident(put(store, wide(ranks))[0]["id"])
