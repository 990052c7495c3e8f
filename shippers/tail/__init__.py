"""Follow log files through rotation, truncation, half lines and restarts, so that each line arrives once."""

from shippers.tail.lane import Tail
from shippers.tail.registry import Registry
from shippers.tail.settings import FileSet
from shippers.tail.survey import Survey

__all__ = ["FileSet", "Registry", "Survey", "Tail"]
