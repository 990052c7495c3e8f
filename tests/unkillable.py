"""Keep a process from ending when it is killed, as a call that hangs in the kernel does."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

#: PTRACE_SEIZE with PTRACE_O_TRACEEXIT: the process runs on, and stops on its way out until its tracer is gone.
_TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(0x4206, int(sys.argv[1]), None, ctypes.c_void_p(0x40)), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def unkillable(pid: int) -> Iterator[None]:
    """Within the context a process that is killed does not end. Skips where processes may not be traced."""
    tracer = subprocess.Popen([sys.executable, "-c", _TRACER, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert tracer.stdout is not None
    try:
        if tracer.stdout.readline().strip() != "0":
            pytest.skip("processes may not be traced here")
        yield
    finally:
        tracer.communicate("")
