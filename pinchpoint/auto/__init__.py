"""Time training code that was not changed for it: hooks that turn PyTorch, JAX and others into calls of the SDK.

`import pinchpoint.auto` is all a script needs; `pinchpoint watch` does it by itself. Where nobody collects it does nothing.

As the SDK, the files of this package run on Python 3.9 and import the standard library alone. No framework is imported: a hook is
laid when the job itself has imported one.
"""

from __future__ import annotations

import os

from pinchpoint.auto.importing import watch_imports

if os.environ.get("PINCHPOINT_DIR"):
    watch_imports()
