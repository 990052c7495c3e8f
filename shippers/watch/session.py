"""Run one command: pass everything through, and write down what it leaves behind."""

import dataclasses
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinchpoint.clock import Clock
from shippers.watch import child as children
from shippers.watch.child import STDIN, Child
from shippers.watch.lines import LineCutter
from shippers.watch.relay import KeyRelay, Relay
from shippers.watch.sampler import Sampler
from shippers.watch.signals import Signal, SignalQueue, adopt_orphans, stop_as_asked
from shippers.watch.spool import RecordWriter
from shippers.watch.terminal import would_stop

if TYPE_CHECKING:
    from shippers.gpu.source import GpuSource
    from shippers.live.beside import LiveView

#: After the end of the command, how long its output may be silent, and how long it may go on, before it is left behind:
#: a process that the command started and did not end may hold it open for days.
_QUIET_S = 0.2
_LINGER_S = 2.0
_MOST_WAITING_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How the command ended."""

    exit_status: int
    """Its exit status; minus the number of the signal that ended it."""
    still_running: int
    """Processes it started that have not ended."""
    records_lost: int
    """Records that could not be written, for the disk is full or the like."""


class Session:
    """One command while it is watched."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], writer: RecordWriter, host: str, clock: Clock,
                 interval_s: float, gpus: "GpuSource | None" = None, view: "LiveView | None" = None) -> None:
        """Start the command; the session closes `gpus` and `view` at its end.

        Raises: CannotStartError.
        """
        self._clock = clock
        self._writer = writer
        self._interval_s = interval_s
        adopt_orphans()
        children.reserve_standard_streams()
        self._signals = SignalQueue()
        try:
            self._child: Child = children.start(command, environment, self._signals.original_mask)
        except BaseException:
            self._signals.close()
            raise
        self._status: int | None = None
        self._ended_s = 0.0
        self._moved_s = 0.0
        self._told_to_leave = False
        self._stop_asked = False
        self._sampler = Sampler(host, clock, interval_s, gpus)
        self._sampler.follow(self._child.pid)
        self._cutters = {output.name: LineCutter(output.name) for output in self._child.outputs}
        self._relays = [Relay(output.source, output.target, self._tap(output.name)) for output in self._child.outputs]
        self._view = view
        if view is not None:
            self._sampler.processes.left_out.add(view.pid)
            for output, relay in zip(self._child.outputs, self._relays, strict=True):
                if view.holds_screen and os.isatty(output.target):
                    relay.hold()
        self._keys: KeyRelay | None = None
        self._chunks: list[tuple[int, str, bytes]] = []
        self._chunks_bytes = 0
        self._poller = select.poll()
        self._polled: dict[int, int] = {}

    def run(self) -> Outcome:
        """Wait for the end of the command, and give the terminal back whatever happens."""
        try:
            self._take_terminal()
            while self._goes_on():
                self._turn()
                self._sample()
            still_running = self._left_running()
            self._finish()
        finally:
            self._close_view()
            if self._child.terminal is not None:
                self._child.terminal.restore()
        return Outcome(self._status or 0, still_running, self._writer.lost)

    def close(self) -> None:
        """Let signals act on this process again; what waits does so at once."""
        self._signals.close()

    def _left_running(self) -> int:
        """Processes of the command that outlive it; helpers that end with it, such as resource trackers, get a moment to do so."""
        deadline_s = self._clock.monotonic_s() + _QUIET_S
        while (left := len(self._sampler.processes.running())) and self._clock.monotonic_s() < deadline_s:
            self._clock.sleep(_QUIET_S / 10)
        return left

    def _goes_on(self) -> bool:
        if self._status is None:
            return True
        self._close_view()
        now_s = self._clock.monotonic_s()
        if now_s - self._moved_s > _QUIET_S or now_s - self._ended_s > _LINGER_S:
            for relay in self._relays:
                relay.stop_reading()
        return any(relay.open for relay in self._relays) and not self._told_to_leave

    def _turn(self) -> None:
        """Wait until something happens, and deal with it."""
        self._ask_for(self._interest())
        wait_s = self._sampler.wait_s() if self._status is None else _QUIET_S / 4
        ready = dict(self._poller.poll(wait_s * 1000 + 1))
        if self._signals.descriptor in ready:
            for arrived in self._signals.read():
                self._on_signal(arrived)
        for relay in self._relays:
            if relay.handle(ready):
                self._moved_s = self._clock.monotonic_s()
        if self._keys is not None and not self._keys.handle(ready):
            self._keys = None
            self._hang_up()

    def _interest(self) -> dict[int, int]:
        wanted = {self._signals.descriptor: select.POLLIN}
        parts: list[Relay | KeyRelay] = [*self._relays, *([self._keys] if self._keys else [])]
        for part in parts:
            for descriptor, events in part.interest().items():
                wanted[descriptor] = wanted.get(descriptor, 0) | events
        return wanted

    def _ask_for(self, wanted: dict[int, int]) -> None:
        """Change what is polled for, where it changed."""
        if wanted == self._polled:
            return
        for descriptor in self._polled.keys() - wanted.keys():
            self._poller.unregister(descriptor)
        for descriptor, events in wanted.items():
            self._poller.register(descriptor, events)
        self._polled = wanted

    def _on_signal(self, arrived: Signal) -> None:
        number = arrived.number
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGWINCH:
            if self._child.screen is not None:
                self._child.screen.copy_size()
        elif number == signal.SIGCONT:
            self._continue()
        elif self._status is not None:
            self._told_to_leave = True  # nobody is left to pass it to: it asks us not to wait for the output
        elif arrived.from_terminal and not self._child.interactive:
            if number == signal.SIGTSTP:  # the command is in the group that the key stopped, we follow
                self._stop()
        elif arrived.from_terminal and number == signal.SIGHUP:
            self._hang_up()
        elif number == signal.SIGTSTP:
            self._stop_command()
            self._stop()
        else:
            self._child.kill(number)

    def _reap(self) -> None:
        """Learn what became of children: of the command, and of orphans that came to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._view is not None and pid == self._view.pid and not os.WIFSTOPPED(status):
                self._close_view(os.waitstatus_to_exitcode(status))
            if pid != self._child.pid:
                continue
            if os.WIFSTOPPED(status):
                if self._stop_asked:
                    self._stop()
            else:
                self._status = os.waitstatus_to_exitcode(status)
                self._ended_s = self._moved_s = self._clock.monotonic_s()
                if self._child.screen is not None:
                    self._child.screen.close_far()

    def _stop(self) -> None:
        """Follow the command into its stop, with the terminal as it was, until somebody continues us."""
        self._stop_asked = False
        self._close_view()
        if self._child.terminal is not None:
            self._child.terminal.restore()
            self._keys = None
        self._cut_lines()
        self._writer.flush()
        stop_as_asked()
        self._continue()

    def _continue(self) -> None:
        if self._status is None:
            self._take_terminal()
            if self._child.screen is not None:
                self._child.screen.copy_size()
            self._child.kill(signal.SIGCONT, group=True)

    def _take_terminal(self) -> None:
        """Take the keys of our terminal for the command, if it is in a session of its own and we are in the foreground."""
        terminal, screen = self._child.terminal, self._child.screen
        if terminal is None or screen is None or self._status is not None:
            return
        terminal.make_raw()
        if terminal.is_raw and self._keys is None:
            self._keys = KeyRelay(STDIN, screen.near, self._on_keys)

    def _close_view(self, status: int | None = None) -> None:
        """Give the screen back to the command, for good; `status` is how the view ended, if it has."""
        if self._view is not None:
            self._view.close(status)
            for relay in self._relays:
                relay.release()

    def _on_keys(self, data: bytes) -> bytes:
        """What goes on to the command: all, but for a q that closes the live view.

        ^Z stops the command; a shell in it deals with the key by itself, for its programs are in groups of their own.
        """
        screen = self._child.screen
        if screen is not None and (key := screen.stop_key()) is not None and key in data and screen.group_is(self._child.pid):
            self._stop_asked = True
            self._stop_command()
        if self._view is not None and self._view.open and (b"q" in data or b"Q" in data):
            self._close_view()
            return data.replace(b"q", b"", 1) if b"q" in data else data.replace(b"Q", b"", 1)
        return data

    def _stop_command(self) -> None:
        """Stop the command as SIGTSTP would, which the kernel keeps from a session that nobody outside could continue; we can."""
        if self._child.interactive and would_stop(self._child.pid, signal.SIGTSTP):
            self._child.kill(signal.SIGSTOP, group=True)
        else:
            self._child.kill(signal.SIGTSTP)

    def _hang_up(self) -> None:
        """Our terminal has gone: end that of the command, and the kernel tells its programs."""
        for relay in self._relays:
            relay.stop_reading()

    def _sample(self) -> None:
        if self._status is not None or self._sampler.wait_s() > 0:
            return
        for record in self._sampler.records():
            self._writer.add(record)
        self._cut_lines()
        for cutter in self._cutters.values():
            for record in cutter.tick(self._clock.now_ns()):
                self._writer.add(record)
        self._writer.flush()
        self._take_terminal()  # we may have been brought to the foreground, which nobody tells

    def _finish(self) -> None:
        self._cut_lines()
        for cutter in self._cutters.values():
            for record in cutter.end(self._clock.now_ns()):
                self._writer.add(record)
        for record in self._sampler.read():
            self._writer.add(record)
        self._sampler.close()
        self._writer.close()

    def _tap(self, name: str) -> Callable[[bytes], None]:
        def tap(data: bytes) -> None:
            # Cut once a second: waking for each line alone costs ten times what many lines cost together.
            self._chunks.append((self._clock.now_ns(), name, data))
            self._chunks_bytes += len(data)
            if self._chunks_bytes > _MOST_WAITING_BYTES:
                self._cut_lines()

        return tap

    def _cut_lines(self) -> None:
        for time_ns, name, data in self._chunks:
            for record in self._cutters[name].feed(data, time_ns):
                self._writer.add(record)
        self._chunks.clear()
        self._chunks_bytes = 0


def child_environment(environment: Mapping[str, str], *, folder: Path, run_id: str, workload: str, path: Sequence[Path]) -> dict[str, str]:
    """The environment of the command: ours, where its steps go, what its run is called, and folders of ours on Python's path."""
    theirs = environment.get("PYTHONPATH")
    return {**environment, "PINCHPOINT_DIR": str(folder), "PINCHPOINT_RUN_ID": run_id, "PINCHPOINT_WORKLOAD": workload,
            "PYTHONPATH": os.pathsep.join([*map(str, path), *([theirs] if theirs else [])])}
