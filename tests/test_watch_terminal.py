"""`pinchpoint watch` at a terminal: a pseudo terminal stands for the one a person sits at."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from people import WATCH, Person

PYTHON = [sys.executable, "-S", "-u", "-c"]
FACTS = ("import os, sys\nprint('tty', *[os.isatty(number) for number in (0, 1, 2)])\n"
         "print('size', *os.get_terminal_size(1))\n")



@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    """Starts `watch -- COMMAND…` at a terminal, or the words given when they are to be more."""
    people: list[Person] = []

    def start(*command: str, shell: str | None = None) -> Person:
        words = [*WATCH, "--no-verdict", "--store", str(tmp_path / "lake"), "--", *command]
        if shell is not None:
            quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
            words = ["/bin/sh", "-c", shell.replace("WATCH", quoted)]
        people.append(Person(words))
        return people[-1]

    yield start
    for person in people:
        person.send_away()


Sit = Callable[..., Person]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_terminal_stays_a_terminal(sit: Sit) -> None:
    """All three streams are a terminal of the same size, the controlling one, and ours is as before at the end."""
    person = sit(*PYTHON, "input()\n" + FACTS + "print('controlling', os.isatty(os.open('/dev/tty', os.O_RDWR)))\nsys.exit(5)")
    person.until(person.is_raw)
    person.type(b"\r")

    person.wait_for(b"tty True True True\r\nsize 97 31\r\ncontrolling True\r\n")
    assert person.end() == 5


def test_the_terminal_is_given_back(sit: Sit) -> None:
    """The modes are those from before, also when the command fails."""
    person = sit(*PYTHON, "input(); 1 / 0", shell="WATCH; echo status $?; read line")
    person.until(person.is_raw)
    person.type(b"\r")
    person.wait_for(b"status 1")

    assert person.mode_is_as_before()


def test_a_new_size_reaches_the_command(sit: Sit) -> None:
    """A window that changes its size tells the command."""
    # not signal.pause(): a signal that comes just before it would be waited for in vain
    person = sit(*PYTHON, "import os, signal, time\nnews = []\nsignal.signal(signal.SIGWINCH, lambda *_: news.append(1))\n"
                 "print('ready')\nwhile not news: time.sleep(0.01)\nprint('now', *os.get_terminal_size(0))")
    person.wait_for(b"ready")

    person.resize(50, 20)

    person.wait_for(b"now 50 20")
    assert person.end() == 0


def test_interrupt_key_reaches_the_command_once(sit: Sit) -> None:
    """^C interrupts the command one time, and watch ends as the command does."""
    person = sit(*PYTHON, "import signal, time, os\ncount = []\nsignal.signal(signal.SIGINT, lambda *_: count.append(1))\nprint('ready')\n"
                 "while not count: time.sleep(0.01)\ndeadline = time.monotonic() + 0.3\n"
                 "while time.monotonic() < deadline: time.sleep(0.05)\nos._exit(40 + len(count))")
    person.wait_for(b"ready")

    person.type(b"\x03")

    assert person.end() == 41


def test_interrupt_key_ends_an_ordinary_command(sit: Sit) -> None:
    """A command that does not handle ^C ends by it, and so does watch."""
    person = sit("sh", "-c", "echo ready; sleep 100")
    person.wait_for(b"ready")

    person.type(b"\x03")

    assert person.end() == -signal.SIGINT


def test_quit_key_and_end_of_input_reach_the_command(sit: Sit) -> None:
    """^D ends the input, ^\\ quits."""
    person = sit("sh", "-c", "echo ready; cat; echo end; sleep 100")
    person.wait_for(b"ready")
    person.until(person.is_raw)

    person.type(b"line\r\x04")
    person.wait_for(b"line\r\nline\r\nend")
    person.type(b"\x1c")

    assert person.end() == -signal.SIGQUIT


def test_interrupt_key_beside_a_pipe_comes_once(sit: Sit) -> None:
    """With the output in a pipe the keys stay with the real terminal: ^C reaches the command one time, stderr stays a terminal."""
    code = ("import signal, time, os, sys\ncount = []\nsignal.signal(signal.SIGINT, lambda *_: count.append(1))\n"
            "print(*[os.isatty(number) for number in (0, 1, 2)], file=sys.stderr)\n"
            "while not count: time.sleep(0.01)\ndeadline = time.monotonic() + 0.3\nwhile time.monotonic() < deadline: time.sleep(0.05)\n"
            "print('got', len(count))")
    person = sit(*PYTHON, code, shell="trap : INT; WATCH | (trap '' INT; cat)")
    person.wait_for(b"True False True\r\n")

    person.type(b"\x03")

    person.wait_for(b"got 1\r\n")
    person.end()


def test_stop_key_stops_both_and_they_go_on(sit: Sit) -> None:
    """^Z gives the terminal back to the shell, `fg` goes on where it was."""
    person = sit(*PYTHON, "import os; print('pid', os.getpid()); print('got', input())", shell="set -m; WATCH; echo stopped; fg")
    person.wait_for(b"pid ")
    person.until(lambda: b"\n" in person.seen and person.is_raw())
    pid = int(person.seen.split()[0])

    person.type(b"\x1a")
    person.wait_for(b"stopped")
    person.until(lambda: person.is_raw() and state(pid) != "T")
    person.type(b"on\r")

    person.wait_for(b"got on")
    assert person.end() == 0


def test_a_terminal_that_hangs_up_ends_the_command(sit: Sit, tmp_path: Path) -> None:
    """When the window is closed the command is told, once, as if it sat there itself."""
    told = tmp_path / "told"
    person = sit(*PYTHON, f"import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: open({str(told)!r}, 'a').write('x'))\n"
                 f"import os\nprint('ready')\nwhile not os.path.exists({str(told)!r}): time.sleep(0.01)\n")
    person.wait_for(b"ready")

    person.leave()

    person.end()
    assert told.read_text() == "x"


def test_full_screen_programs_get_bytes_as_they_are(sit: Sit) -> None:
    """A program that wants every key itself gets ^C and ^Z as bytes, and its output is not translated."""
    person = sit(*PYTHON, "import os, tty\ntty.setraw(0)\nos.write(1, b'ready\\n')\n"
                 "data = b''\nwhile len(data) < 3: data += os.read(0, 10)\nos.write(1, repr(data).encode() + b'.\\n.')")
    person.wait_for(b"ready\n")

    person.type(b"\x03\x1aq")

    person.wait_for(b"b'\\x03\\x1aq'.\n.")
    assert person.end() == 0


def test_a_background_job_does_not_touch_the_terminal(sit: Sit) -> None:
    """Started with & it leaves the modes of the terminal alone."""
    person = sit("sh", "-c", "echo back; sleep 0.3", shell="set -m; WATCH & wait; echo status $?")
    raw: list[Any] = []
    person.until(lambda: raw.append(person.is_raw()) or b"status 0" in person.seen)

    assert b"back" in person.seen
    assert not any(raw)
