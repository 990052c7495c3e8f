"""Run operations on a lake, each in a process that kills itself with SIGKILL at its n-th change of the file system.

Reads one JSON object a line: `{"root": …, "operation": "append" | "compact" | "splits", "kill_at": n, "kind": …, "segment": …,
"batch": path}` and answers `killed`, `done` or `failed` for each. A process starts as a fork of this one, which loads pyarrow once.
"""

import json
import os
import signal
import sys
import traceback

import pandas as pd  # noqa: F401 - pyarrow loads it when it is first used, which here would be once in every process
import pyarrow as pa

import pinchpoint.store.joining
import pinchpoint.store.lake

# those that change what is on disk: dying between two of them is dying before the second
CALLS = ("open", "write", "replace", "mkdir", "unlink", "rmdir")


class Countdown:
    """Kills the process before the n-th of the calls; a write that is killed has written half."""

    def __init__(self, kill_at):
        self.left = kill_at
        for name in CALLS:
            setattr(os, name, self.counted(name, getattr(os, name)))

    def counted(self, name, call):
        def counting(*args, **options):
            if name != "open" or args[1] & os.O_CREAT:
                self.tick()
            if name == "write" and self.left == 1:
                call(args[0], args[1][:len(args[1]) // 2])
            if name == "write":
                self.tick()
            return call(*args, **options)

        return counting

    def tick(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(order):
    store = pinchpoint.store.lake.LakeStore(order["root"])
    if order["operation"] == "compact":
        Countdown(order["kill_at"])
        store.compact()
        return
    if order["operation"] == "splits":
        Countdown(order["kill_at"])
        store.splits(order["kind"])
        return
    with pa.OSFile(order["batch"]) as file:
        batch = pa.ipc.open_file(file).read_all().combine_chunks().to_batches()[0]
    Countdown(order["kill_at"])
    store.append(order["kind"], batch, order["segment"])


def main():
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "failed" if os.WEXITSTATUS(status) else "done", flush=True)


if __name__ == "__main__":
    main()
