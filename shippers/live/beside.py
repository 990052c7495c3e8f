"""The live view of a command that is watched: a process of its own, which may be slow, hang or die without harm to anybody."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from pinchpoint.config import Config

#: What takes a terminal out of the view, where the view itself could not.
_LEAVE = b"\x1b[?25h\x1b[?1049l"
_END_S = 2.0


class LiveView:
    """The process that draws; it ends when this end of its input is closed, so also when watch is killed."""

    def __init__(self, terminal: int, folder: Path, run_id: str, config: Config) -> None:
        """Start it.

        Args:
            terminal: descriptor of the terminal it draws on.
            folder: where the records of the run wait.
            run_id: the run.
            config: settings.
        """
        self.terminal = terminal
        task = {"folder": str(folder), "run": run_id, "config": None if config.source is None else str(config.source.absolute())}
        # -P: whoever is watched may have a json.py in the working directory; in our process group, where SIGWINCH arrives
        self._process = subprocess.Popen([sys.executable, "-P", "-m", "shippers.live.child", json.dumps(task)], stdin=subprocess.PIPE,
                                         stdout=terminal, stderr=subprocess.DEVNULL, bufsize=0)
        self.pid = self._process.pid
        self.open = True

    @property
    def holds_screen(self) -> bool:
        """Whether it draws on the whole screen, so that nobody else may write there."""
        return self.open and os.environ.get("TERM") not in (None, "dumb", "unknown")

    def close(self, status: int | None = None) -> None:
        """End it, and make sure that the terminal shows what it showed before; safe to call at any time.

        Args:
            status: how it ended, where somebody has waited for it already.
        """
        if not self.open:
            return
        left = self.holds_screen
        self.open = False
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if status is None:
            try:
                status = self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                status = self._process.wait()
        if left and status != 0:
            with contextlib.suppress(OSError):
                os.write(self.terminal, _LEAVE)
