"""Facts: plain functions over a window's columns, each with a name, a unit and what it needs."""

from models.facts import changes, errors, hang, host, loader, phases, ranks, storage, trace  # noqa: F401  (they enter their facts)
from models.facts.registry import FACTS, Fact, Scope

__all__ = ["FACTS", "Fact", "Scope"]
