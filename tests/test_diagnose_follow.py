"""`diagnose --follow`: a log that is still being written is looked at again and again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("pinchpoint"))
STEPS = 200


def lines(seconds, first):
    """What Megatron-LM prints of so many steps."""
    return "".join(f" iteration {first + number:8d}/ 10000 | consumed samples: {8 * number} | elapsed time per iteration (ms): "
                   f"{1000 * seconds * (1 + 0.01 * (number % 3)):.1f} | learning rate: 1.0E-04 |\n" for number in range(STEPS))


class Followed:
    """The command as a process."""

    def __init__(self, *arguments, **more):
        self.process = subprocess.Popen([COMMAND, "diagnose", "--follow", "--every", "1s", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        self.out = ""

    def until(self, text, within_s=90.0):
        """Read what it prints up to a line that has this in it."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            line = self.process.stdout.readline()
            self.out += line
            if text in line:
                return
            assert line, f"it ended: {self.out}{self.process.stderr.read()}"
        pytest.fail(f"no {text!r} in {self.out}")

    def end(self):
        """Status, once it has ended by itself."""
        out, _ = self.process.communicate(timeout=90)
        self.out += out
        return self.process.returncode


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(lines(0.5, 1))
    return path


def test_the_answer_is_told_again_when_it_changes(log):
    """A run that is healthy and then gets slow: two answers, and the gate ends it as soon as it is slow."""
    followed = Followed("--fail-on", "slow", str(log))
    followed.until("HEALTHY")
    with log.open("a") as file:
        file.write(lines(1.0, STEPS + 1))

    assert followed.end() == 3
    assert "SLOW" in followed.out
    assert followed.out.count("UTC ──") == 2


def test_an_interrupt_ends_it_with_the_last_answer(log):
    """^C is how following ends; the status is that of the last answer."""
    followed = Followed(str(log))
    followed.until("HEALTHY")
    followed.process.send_signal(signal.SIGINT)

    assert followed.end() == 0


def test_standard_input_is_followed_to_its_end(log):
    """What a pipe brings is answered when it ends, as `diagnose` answers it; as JSON an answer is one line."""
    followed = Followed("--format", "json", "-", stdin=subprocess.PIPE)
    out, _ = followed.process.communicate(lines(0.5, 1) + lines(1.0, STEPS + 1), timeout=90)
    whole = subprocess.run([COMMAND, "diagnose", "--format", "json", "-"], capture_output=True, text=True,
                           input=lines(0.5, 1) + lines(1.0, STEPS + 1), check=True)
    last = json.loads(out.splitlines()[-1])

    assert last["verdict"] == "slow"
    assert last["observed"]["steps"] == json.loads(whole.stdout)["observed"]["steps"] == 2 * STEPS


def test_a_file_that_is_not_there_is_said(tmp_path):
    """Before anything is followed."""
    followed = Followed(str(tmp_path / "none.log"))

    assert followed.end() == 2
