"""Formats of inputs: each one file, found by looking inside."""

from shippers.formats.base import Batch, Format, Reading
from shippers.formats.catalogue import FORMATS, detect, open_input

__all__ = ["FORMATS", "Batch", "Format", "Reading", "detect", "open_input"]
