"""Facts: plain functions over a window's columns, each with a name, a unit and what it needs."""

from models.facts import (  # noqa: F401  (they enter their facts)
    allocator,
    changes,
    collectives,
    errors,
    gpu_clocks,
    gpu_health,
    gpu_links,
    gpu_lost,
    hang,
    host,
    loader,
    network,
    phases,
    pipeline,
    ranks,
    storage,
    trace,
    versions,
)
from models.facts.registry import FACTS, Fact, Scope

__all__ = ["FACTS", "Fact", "Scope"]
