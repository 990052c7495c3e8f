"""What is not a file waits here for its outputs, bounded in bytes."""

from shippers.spool.spool import Spool, SpoolInput

__all__ = ["Spool", "SpoolInput"]
