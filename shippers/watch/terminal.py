"""Hold our terminal: raw while a command has it through a pseudo terminal, given back as it was."""

import fcntl
import os
import signal
import termios
import tty


class Terminal:
    """The terminal at a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.attributes = termios.tcgetattr(descriptor)
        self.is_raw = False

    def is_ours(self) -> bool:
        """Whether this process is in the foreground, so that keys are meant for it."""
        try:
            return os.tcgetpgrp(self.descriptor) == os.getpgrp()
        except OSError:
            return False

    def make_raw(self) -> None:
        """Pass every key and every byte through, to be made sense of at the far side."""
        if not self.is_raw and self.is_ours():
            self.attributes = termios.tcgetattr(self.descriptor)
            # DRAIN, not FLUSH: keys typed ahead belong to the command.
            tty.setraw(self.descriptor, termios.TCSADRAIN)
            self.is_raw = True

    def restore(self) -> None:
        """Give the terminal back as it was; safe to call at any time."""
        if self.is_raw:
            self.is_raw = False
            try:
                termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self.attributes)
            except termios.error:
                return  # it hung up, nobody is left to restore it for


class PseudoTerminal:
    """A pseudo terminal made in the image of a real one; the command gets `far`, we keep `near`."""

    def __init__(self, like: Terminal, *, translate: bool) -> None:
        """Open it.

        Args:
            like: whose modes and size it takes over.
            translate: whether it turns line feeds into what a screen needs; no where `like` still does that itself.
        """
        self.near, self.far = os.openpty()
        self._like = like
        attributes = list(like.attributes)
        if not translate:
            attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self.far, termios.TCSANOW, attributes)
        os.set_blocking(self.near, False)
        self.copy_size()

    @property
    def path(self) -> str:
        return os.ttyname(self.far)

    def copy_size(self) -> None:
        """Take over the size of the real terminal; the kernel tells the programs inside when it changed."""
        try:
            size = fcntl.ioctl(self._like.descriptor, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.near, termios.TIOCSWINSZ, size)
        except OSError:
            return  # hung up

    def stop_key(self) -> bytes | None:
        """The key that stops a program (^Z) now; None while the program inside wants all keys itself."""
        try:
            attributes = termios.tcgetattr(self.far)
        except termios.error:
            return None
        key: bytes = attributes[6][termios.VSUSP]
        return key if attributes[3] & termios.ISIG and key != b"\0" else None

    def group_is(self, pid: int) -> bool:
        """Whether the keys go to the group of this process."""
        try:
            return os.tcgetpgrp(self.near) == pid
        except OSError:
            return False

    def close_far(self) -> None:
        """Let the near side see the end once no program holds the far side."""
        if self.far >= 0:
            os.close(self.far)
            self.far = -1


def would_stop(pid: int, number: signal.Signals) -> bool:
    """Whether a stop signal meets a process that neither ignores nor handles it."""
    bit = 1 << (number - 1)
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:  # noqa: PTH123 - no Path needed
            masks = {line[:6]: int(line[7:], 16) for line in status if line.startswith(("SigIgn:", "SigCgt:"))}
    except (OSError, ValueError):
        return False
    return not any(mask & bit for mask in masks.values())
