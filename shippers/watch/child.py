"""Start the command with streams of the same kind as ours, and tell how it ended."""

import dataclasses
import errno
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinchpoint.errors import PinchpointError
from shippers.watch.terminal import PseudoTerminal, Terminal

STDIN, STDOUT, STDERR = 0, 1, 2
# The first two by Python for itself, the last by our signal queue.
_IGNORED_BY_US = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU)
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


class CannotStartError(PinchpointError):
    """The command cannot be started; `exit_status` is the one a shell gives: 127 not found, 126 not to be executed."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status

    def __reduce__(self) -> tuple[type["CannotStartError"], tuple[str, int]]:
        return type(self), (str(self), self.exit_status)


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """One stream the command writes: from where we read it, to where it belongs, and what it is called in the records."""

    source: int
    target: int
    name: str


@dataclasses.dataclass(slots=True)
class Child:
    """The command while it runs."""

    pid: int
    outputs: list[Output]
    screen: PseudoTerminal | None
    """The pseudo terminal, where one of our streams is a terminal."""
    terminal: Terminal | None
    """Our terminal, where the command has its keys through the pseudo terminal: then it is in a session of its own."""

    @property
    def interactive(self) -> bool:
        return self.terminal is not None

    def kill(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the command, or to its whole group where it is in one of its own."""
        try:
            if group and self.interactive:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # it has ended, or became another user's (sudo), as for a shell


def reserve_standard_streams() -> None:
    """Fill closed descriptors 0, 1 and 2, so that no pipe of ours gets one of these numbers."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def start(command: Sequence[str], environment: Mapping[str, str], mask: set[int | signal.Signals]) -> Child:
    """Start the command.

    A stream of ours that is a terminal is one for the command too. Where keys and screen are both ours, and we are in the
    foreground, the command gets a session on a pseudo terminal of its own. Else it stays in our session and group, with our
    standard input as it is: whatever reads the terminal beside us (a pager) is not disturbed, and keys signal us both.

    Args:
        command: program and arguments.
        environment: the whole environment of the command.
        mask: the signal mask it starts with.
    Raises: CannotStartError.
    """
    program = find_program(command[0], environment.get("PATH"))
    screens = [descriptor for descriptor in (STDOUT, STDERR) if os.isatty(descriptor)]
    keys = Terminal(STDIN) if os.isatty(STDIN) and STDOUT in screens else None
    terminal = keys if keys is not None and keys.is_ours() else None
    screen = PseudoTerminal(terminal or Terminal(screens[0]), translate=terminal is not None) if screens else None
    actions: list[tuple[Any, ...]] = []
    outputs, ours = [], []
    if screen is not None:
        outputs.append(Output(screen.near, screens[0], _NAMES[screens[0]]))
        # Opening it is what makes it the controlling terminal of a new session.
        actions += [(os.POSIX_SPAWN_OPEN, descriptor, screen.path, os.O_RDWR | (0 if terminal else os.O_NOCTTY), 0)
                    for descriptor in ([STDIN, *screens] if terminal else screens)]
    pipes: dict[tuple[int, int], int] = {}
    for descriptor in (STDOUT, STDERR):
        if descriptor in screens or not os.get_inheritable(descriptor):
            continue
        place = os.fstat(descriptor)
        file = (place.st_dev, place.st_ino)
        if file not in pipes:  # with `2>&1` both go through one pipe, which keeps their order
            source, pipes[file] = os.pipe()
            ours.append(pipes[file])
            outputs.append(Output(source, descriptor, _NAMES[descriptor]))
        actions.append((os.POSIX_SPAWN_DUP2, pipes[file], descriptor))
    try:
        pid = _spawn(program, command, environment, actions, mask, session=terminal is not None)
    finally:
        for descriptor in ours:
            os.close(descriptor)
    return Child(pid, outputs, screen, terminal)


def _spawn(program: str, command: Sequence[str], environment: Mapping[str, str], actions: list[tuple[Any, ...]],
           mask: set[int | signal.Signals], *, session: bool) -> int:
    def spawn(path: str, arguments: list[str]) -> int:
        return os.posix_spawn(path, arguments, environment, file_actions=actions, setsid=session, setsigmask=mask,
                              setsigdef=_IGNORED_BY_US)

    try:
        return spawn(program, list(command))
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without `#!`: shells run it themselves
            return spawn("/bin/sh", ["/bin/sh", program, *command[1:]])
        raise CannotStartError(f"cannot execute {program}: {error.strerror}", 126) from error


def find_program(name: str, path: str | None) -> str:
    """The file a shell would run for a name.

    Raises: CannotStartError with status 127 where there is none, 126 where it is a directory or not executable.
    """
    found = shutil.which(name, path=path)
    if found is not None:
        return found
    if "/" not in name:
        raise CannotStartError(f"command not found: {name}. Check its spelling and PATH, or give its path.", 127)
    if Path(name).is_dir():
        raise CannotStartError(f"{name} is a directory", 126)
    if Path(name).exists():
        raise CannotStartError(f"{name} is not executable. Make it so with chmod +x, or name its interpreter: … -- python {name}", 126)
    raise CannotStartError(f"no such file: {name}", 127)
