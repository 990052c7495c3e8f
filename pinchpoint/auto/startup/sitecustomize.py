"""Prepare this process for hooks, then do what the `sitecustomize` that this one hides would have done."""

import os
import sys


def _prepare() -> None:
    try:
        if os.environ.get("PINCHPOINT_DIR"):
            from pinchpoint.auto.importing import watch_imports

            watch_imports()
    except Exception:  # nothing here may ever stop a job
        return


def _step_aside() -> None:
    """Take this folder off the path: whoever imports `sitecustomize` now gets the one that was hidden."""
    here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would cost each process 5 ms
    sys.path[:] = [path for path in sys.path if path != here]


_prepare()
_step_aside()
_ours = sys.modules.pop(__name__, None)
try:
    import sitecustomize  # type: ignore[import-not-found] # noqa: F401
except ImportError as error:
    if error.name != "sitecustomize":
        raise
finally:
    if _ours is not None:
        sys.modules.setdefault(__name__, _ours)
