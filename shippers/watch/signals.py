"""Receive signals as events, with who sent them, which a Python handler is not told."""

import ctypes
import os
import resource
import signal
import struct
from typing import NamedTuple

_FORWARDED = frozenset({
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM, signal.SIGXCPU,
})
_HANDLED = frozenset({signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGCHLD})
_SI_KERNEL = 0x80
_RECORD_BYTES = 128
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


class Signal(NamedTuple):
    """A signal that arrived."""

    number: signal.Signals
    from_terminal: bool
    """A key or a hang-up: the kernel sent it to the whole foreground group, not to this process alone."""


class SignalQueue:
    """Signals wait here until they are read; `descriptor` becomes readable when there is one.

    Signals this process was started to ignore (nohup, a background job of a script) stay ignored, here and in its children.
    """

    def __init__(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent may have left it ignored, and nothing could be waited for
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # setting the terminal must not stop us when we are moved to the background
        wanted = {number for number in _FORWARDED | _HANDLED if signal.getsignal(number) != signal.SIG_IGN}
        self.original_mask = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        self.descriptor = _signalfd(wanted)

    def read(self) -> list[Signal]:
        """The signals that wait, in the order of their numbers."""
        try:
            data = os.read(self.descriptor, 32 * _RECORD_BYTES)
        except BlockingIOError:
            return []
        return [Signal(signal.Signals(number), code == _SI_KERNEL)
                for number, _, code in (struct.unpack_from("=Iii", data, start) for start in range(0, len(data), _RECORD_BYTES))]

    def close(self) -> None:
        """Signals act on this process as they did before."""
        os.close(self.descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.original_mask)


def _signalfd(numbers: set[signal.Signals]) -> int:
    mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in numbers))  # a sigset_t has 1024 bits
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return descriptor


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they stay in sight; without effect where not allowed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def stop_as_asked() -> None:
    """Stop this process as ^Z stops one, and return when it is continued; at once where nobody could continue it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})


def die_by(number: int) -> None:
    """End this process by a signal, so that its parent sees what ended the command; no core is dumped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a core pattern that is a pipe disregards the limit
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
