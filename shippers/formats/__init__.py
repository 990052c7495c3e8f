"""Formats of inputs: each one file, found by looking inside.

Nothing is loaded before it is asked for: the agent knows some lines by a module of these, and never needs Arrow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shippers.formats.base import Batch, Format, Reading
    from shippers.formats.catalogue import FORMATS, detect, open_input

__all__ = ["FORMATS", "Batch", "Format", "Reading", "detect", "open_input"]
_HOMES = {"Batch": "base", "Format": "base", "Reading": "base", "FORMATS": "catalogue", "detect": "catalogue", "open_input": "catalogue"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
