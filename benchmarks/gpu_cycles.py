"""Open and close the driver again and again in one process, as the reading process does once, and tell what that leaves behind."""

import json
import sys
import threading
from pathlib import Path

from shippers.gpu.doing import Doing
from shippers.gpu.session import Session


def cycle() -> None:
    """Open, read two rounds of a GPU, listen to its events, close."""
    stop, doing = threading.Event(), Doing(0)
    session = Session(doing, lambda *_: None, stop)
    device = session.device(0, doing)
    session.listener.take_registrations()
    stop.set()
    session.listener.run()
    device.read_fast()
    device.read_slow()
    device.read_fast()
    device.close()
    session.close()


def left() -> tuple[int, int, int]:
    """Open files, threads, resident KiB of this process."""
    status = Path("/proc/self/status").read_text()
    numbers = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("Threads", "VmRSS"))}
    return len(list(Path("/proc/self/fd").iterdir())), int(numbers["Threads"]), int(numbers["VmRSS"])


def main(cycles: int) -> None:
    """Print what is left after a tenth of the cycles and after all of them, as JSON."""
    for _ in range(max(cycles // 10, 1)):
        cycle()
    before = left()
    for _ in range(cycles):
        cycle()
    print(json.dumps([before, left()]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
