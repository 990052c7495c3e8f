"""`python -m shippers.live.child TASK`: draws the run that a watch follows, until its input ends."""

import json
import os
import select
import signal
import sys
from pathlib import Path

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config, load


def main() -> int:
    """Draw until stdin ends; 0 then."""
    # keys are for the command; whoever ends it ends this by closing its input
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    from shippers.live.sources import SpoolSource
    from shippers.live.terminal import screen_of
    from shippers.live.view import PLAIN_EVERY_S, View, stand_back

    stand_back()
    task = json.loads(sys.argv[1])
    config = Config() if task["config"] is None else load(Path(task["config"]))
    view = View(SpoolSource(Path(task["folder"]), task["run"]), config, SYSTEM_CLOCK, 1.0)
    with screen_of(sys.stdin.fileno()) as screen:
        if screen is not None:
            view.run(screen, "q closes this view, the command goes on · ^C interrupts the command")
            return 0
    while not select.select([sys.stdin], [], [], PLAIN_EVERY_S)[0]:
        os.write(1, view.line().encode("utf-8", "replace") + b"\r\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
