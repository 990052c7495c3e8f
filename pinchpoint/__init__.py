"""Why is this AI workload slow, and what would fixing it give back?"""

from pinchpoint.sdk import Run, start

__all__ = ["Run", "start"]
__version__ = "0.1.0"
