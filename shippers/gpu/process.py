"""The reading process as the agent has it: started, listened to without waiting, and killed."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

_MOST_BYTES = 4 << 20


class ReadingProcess:
    """Runs `shippers.gpu.child` until it ends or is killed."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        """task: the fields of `child.Task`. Raises: OSError when it cannot be started."""
        # -P: whoever is watched may have a json.py in the working directory; a session of its own: the keys of a terminal end the
        # command that is watched, and the agent ends this one
        command = [sys.executable, "-P", "-m", "shippers.gpu.child", json.dumps(task)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0)
        self._orders, self._answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        os.set_blocking(self._answers.fileno(), False)
        os.set_blocking(self._orders.fileno(), False)
        self._rest = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines(self) -> list[bytes]:
        """The whole lines that have arrived; waits for nothing."""
        parts, size = [self._rest], 0
        while size < _MOST_BYTES:
            try:
                data = os.read(self._answers.fileno(), 1 << 16)
            except BlockingIOError:
                break
            if not data:
                break
            parts.append(data)
            size += len(data)
        *lines, self._rest = b"".join(parts).split(b"\n")
        return lines

    def fileno(self) -> int:
        """To wait until lines arrive."""
        return self._answers.fileno()

    def order(self, index: int) -> None:
        """Have it read this GPU too."""
        with contextlib.suppress(OSError):  # it has ended, or hangs: the next one is told at its start
            self._orders.write(b"%d\n" % index)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self, wait_s: float) -> bool:
        """End it; False when it has not ended within that time, as when the kernel holds it in a call of the driver."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        return self.has_ended()

    def leave(self, wait_s: float) -> None:
        """Have it end by itself, and kill it when it does not."""
        self._orders.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        if not self.has_ended():
            self.kill(wait_s)
        self.close()

    def close(self) -> None:
        """Let go of its pipes."""
        self._orders.close()
        self._answers.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("asked for a pipe, and got none")
    return stream
