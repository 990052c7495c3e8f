"""Whatever is written, rotated, truncated, killed and left unsettled in whatever order, each complete line arrives exactly once by id.

After the quickcheck model of Vector's file watcher (WriteLine, RotateFile, DeleteFile, TruncateFile, Read, Pause, Exit), with copies that
are seen half made, rename chains, compression, a full disk and two outputs added.
"""

import contextlib
import gzip
import os
import resource
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tailing import Agent

LONGEST_CHAIN = 4
OUTPUTS = 2
outputs = st.integers(0, OUTPUTS - 1)


class Logs(RuleBasedStateMachine):
    @initialize(glob=st.booleans(), size=st.sampled_from([1, 30, 700]))
    def begin(self, glob, size):
        self.folder = Path(tempfile.mkdtemp(prefix="tail-model-"))
        self.live = self.folder / "logs" / "app.log"
        self.live.parent.mkdir()
        self.agent = Agent(self.folder / "state", self.folder / "logs" / ("app.log*" if glob else "app.log"), outputs=OUTPUTS)
        self.size, self.written, self.half, self.halves, self.completed = size, 0, None, set(), set()
        self.copying = self.full = False
        self.handed = [[] for _ in range(OUTPUTS)]
        self.stored = [{} for _ in range(OUTPUTS)]
        self.at_risk = [set() for _ in range(OUTPUTS)]
        self.agent.run(1.25)  # what is there before is history; from here on nothing is

    def teardown(self):
        if not hasattr(self, "agent"):
            return
        try:
            self.full = False
            self.copy_end()
            self.write_line()
            for output in range(OUTPUTS):
                self.drain(output)
            self.kill(True)
            for output in range(OUTPUTS):
                self.drain(output)
                self.check(output)
        finally:
            self.agent.kill()
            shutil.rmtree(self.folder)

    def append(self, data):
        with self.live.open("ab") as file:
            file.write(data)

    @rule()
    def write_line(self):
        if self.half is None:
            self.append(self.line(self.written))
            self.written += 1
        else:
            self.append(self.line(self.half)[self.size:])
            self.completed.add(self.half)
            self.half = None

    @rule()
    def write_half(self):
        if self.half is None:
            self.half = self.written
            self.halves.add(self.written)
            self.append(self.line(self.written)[:self.size])
            self.written += 1

    def line(self, number):
        return f"{number:06d} ".encode() * (self.size // 7 + 2) + b"\n"

    @precondition(lambda self: not self.copying)
    @rule(recreated=st.booleans())
    def rotate_by_rename(self, recreated):
        if self.live.exists():
            self.shift()
            self.live.rename(self.numbered(1))
            self.half = None
            if recreated:
                self.append(b"")

    @precondition(lambda self: not self.copying)
    @rule(share=st.sampled_from([0.0, 0.5, 1.0]))
    def copy_begin(self, share):
        if self.live.exists():
            self.shift()
            data = self.live.read_bytes()
            self.numbered(1).write_bytes(data[:int(len(data) * share)])
            self.copying = True

    @precondition(lambda self: self.copying)
    @rule()
    def copy_end(self):
        if self.copying:
            data, copy = self.live.read_bytes(), self.numbered(1)
            with copy.open("ab") as file:
                file.write(data[copy.stat().st_size:])
            os.truncate(self.live, 0)
            self.copying, self.half = False, None

    @precondition(lambda self: not self.copying)
    @rule(number=st.integers(1, LONGEST_CHAIN))
    def compress(self, number):
        plain = self.numbered(number)
        if plain.exists():
            data = plain.read_bytes()
            with gzip.open(f"{plain}.gz", "wb") as file:
                file.write(data)
            plain.unlink()

    @precondition(lambda self: not self.copying)
    @rule()
    def truncate(self):
        if self.live.exists():
            self.risk(self.live)
            os.truncate(self.live, 0)
            self.half = None

    @precondition(lambda self: not self.copying)
    @rule(number=st.integers(0, LONGEST_CHAIN))
    def delete(self, number):
        path = self.live if not number else self.numbered(number)
        if path.exists():
            self.risk(path)
            path.unlink()
            if not number:
                self.half = None

    def numbered(self, number):
        return self.live.with_name(f"app.log.{number}")

    def shift(self):
        for number in range(LONGEST_CHAIN, 0, -1):
            for suffix in ("", ".gz"):
                path, after = Path(f"{self.numbered(number)}{suffix}"), Path(f"{self.numbered(number + 1)}{suffix}")
                if path.exists() and number == LONGEST_CHAIN:
                    self.risk(path)
                    path.unlink()
                elif path.exists():
                    path.rename(after)

    def risk(self, path):
        """What is destroyed before it was settled may be lost."""
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = {line[:6].decode() for line in data.split(b"\n") if line}
        for output in range(OUTPUTS):
            self.at_risk[output] |= lines - {document["message"][:6] for document in self.stored[output].values()}

    @rule(output=outputs, most_bytes=st.sampled_from([1, 500, 1 << 20]))
    def take(self, output, most_bytes):
        with self.disk():
            documents = self.agent.take(output, most_bytes)
        if documents:
            self.handed[output].append((self.agent.token, documents))

    @rule(output=outputs, last=st.booleans())
    def settle(self, output, last):
        if self.handed[output]:
            token, documents = self.handed[output].pop(-1 if last else 0)
            self.store(output, documents)
            with self.disk():
                self.agent.tails[output].settled(token)

    def store(self, output, documents):
        for document in documents:
            before = self.stored[output].setdefault(document["event.id"], document)
            assert before["message"] == document["message"], "two lines were given one id"
            if not self.full_once:
                assert before["@timestamp"] == document["@timestamp"], "a line was given another time when it was read again"

    full_once = False

    @rule()
    def fill_disk(self):
        self.full = not self.full
        self.full_once = True

    @contextlib.contextmanager
    def disk(self):
        """While the disk is full a journal gets a few bytes and no more."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if self.full:
            sizes = [path.stat().st_size for path in (self.folder / "state").rglob("*") if path.is_file()]
            resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes, default=0) + 20, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @rule(seconds=st.sampled_from([0.25, 1.0, 6.0]))
    def wait(self, seconds):
        self.agent.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -3.0, 86_400.0]))
    def jump(self, seconds):
        self.agent.clock._now_ns += int(seconds * 1e9)

    @rule(arrived=st.booleans())
    def kill(self, arrived):
        """Whether what was handed out and not settled had arrived nobody knows."""
        for output in range(OUTPUTS):
            for _, documents in self.handed[output]:
                if arrived:
                    self.store(output, documents)
            self.handed[output].clear()
        self.agent.restart()

    def drain(self, output):
        quiet = 0
        while quiet < 60:
            quiet += 1
            self.take(output, 1 << 20)
            while self.handed[output]:
                self.settle(output, False)
                quiet = 0
            self.wait(0.25)

    @invariant()
    def tells_what_it_does(self):
        for output in range(OUTPUTS if hasattr(self, "agent") else 0):
            assert all(value >= 0 for value in self.agent.tails[output].counters().values())

    def check(self, output):
        whole = {f"{number:06d} " * (self.size // 7 + 2): f"{number:06d}" for number in range(self.written)}
        found = Counter(document["message"] for document in self.stored[output].values())
        numbers = Counter(whole[message] for message in found.elements() if message in whole)
        pieces = {message for message in found if message not in whole}
        for number in range(self.written):
            name = f"{number:06d}"
            if number in self.halves - self.completed:
                assert numbers[name] == 0
            elif number in self.halves:  # taken after a grace, or left behind by a rotation: it may have come in two pieces
                assert numbers[name] <= 1
                assert numbers[name] or name in self.at_risk[output] or any(piece[:6] == name[:len(piece[:6])] for piece in pieces)
            else:
                assert numbers[name] == 1 or (numbers[name] == 0 and name in self.at_risk[output]), f"{name}: {numbers[name]} times"
        assert not pieces or self.halves


TestLogs = Logs.TestCase
TestLogs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, print_blob=False)
