"""The shipping agent: one process that reads a configuration, ships until it is told to end, and tells how it is."""

import gc
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinchpoint.clock import Clock, format_time
from pinchpoint.config import Config
from pinchpoint.errors import PinchpointError
from shippers.lanes import Say
from shippers.self_metrics import page
from shippers.state import replace_file
from shippers.works import Manner, Works

if TYPE_CHECKING:  # an agent that nobody asks needs no server
    from shippers.http_connection import Request, Response
    from shippers.http_server import HttpServer

FINISH_S = 10.0
_STOP_S = 5.0
_LOOK_S = 1.0
_STATUS_EVERY_S = 10.0
#: Objects before the collector of cycles looks at them: lines make none, and the usual 700 cost 7 % of the CPU (measured).
_YOUNGEST = 50_000
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STATUS_FILE = "status.json"

#: Reads the configuration anew. Raises: PinchpointError.
Load = Callable[[], tuple[Config, list[str]]]


class Agent:
    """Ships until a signal ends it. The caller holds the lock of the state folder."""

    def __init__(self, load: Load, state: Path, clock: Clock, say: Say) -> None:
        """Read the configuration and open everything. Raises: PinchpointError with the name of the setting; OSError."""
        self._load, self._state, self._clock, self._say = load, state, clock, say
        self._config, self._urls = load()
        self._began = format_time(clock.now_ns())
        self._status_due_s = 0.0
        # before any thread is made: threads inherit what is blocked, and these are waited for here alone
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._works = self._make(self._config, self._urls)
        self._server: HttpServer | None = None
        self._serve()

    def run(self) -> int:
        """Ship until SIGTERM or SIGINT; returns the exit status."""
        gc.set_threshold(_YOUNGEST)
        self._works.start()
        self._say(f"shipping to {', '.join(self._urls)}")
        while True:
            received = signal.sigtimedwait(_SIGNALS, _LOOK_S)
            if received is None:
                self._look()
            elif received.si_signo == signal.SIGHUP:
                if not self._reload():
                    return 1
            else:
                return self._end()

    def _make(self, config: Config, urls: list[str]) -> Works:
        return Works(config, urls, self._state, self._clock, self._say, Manner())

    def _look(self) -> None:
        self._works.tick()
        if self._clock.monotonic_s() >= self._status_due_s:
            self._status_due_s = self._clock.monotonic_s() + _STATUS_EVERY_S
            self._write_status(running=True)

    def _end(self) -> int:
        """Deliver what there is, for a while. What is not delivered stays where it is."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # a second signal ends it at once
        if self._server is not None:
            self._server.close()
        if not self._works.finish(FINISH_S):
            for lane in self._works.lanes:
                self._say(f"{lane.output.name}: not everything was delivered ({lane.left or 'it takes too long'}); the rest is kept")
        self._write_status(running=False)
        if not any(lane.is_alive for lane in self._works.lanes):
            self._works.close()
        return 0

    def _reload(self) -> bool:
        """Work with the configuration as it is now; with the old one when that is bad. False when neither works any more."""
        try:
            config, urls = self._load()
        except PinchpointError as error:
            self._say(f"the configuration was not read anew, the old one stays: {error}")
            return True
        if not self._works.stop(_STOP_S):
            # its state cannot be opened a second time while a thread hangs in it
            self._say("an output hangs and cannot be ended: start the agent again to use the new configuration; nothing is lost")
            return False
        self._works.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        for each, why in (((config, urls), "the new configuration is in use"), ((self._config, self._urls), "the old configuration stays")):
            try:
                self._works = self._make(*each)
            except (PinchpointError, OSError) as error:
                self._say(f"cannot work with the configuration: {error}")
                continue
            self._config, self._urls = each
            self._serve()
            self._works.start()
            self._say(f"{why}: shipping to {', '.join(self._urls)}")
            return True
        return False

    def _serve(self) -> None:
        listen = self._config.ship.self.listen
        if listen is None:
            return
        from shippers.http_connection import Route
        from shippers.http_server import HttpServer

        routes = {("GET", "/metrics"): Route(self._metrics), ("GET", "/healthz"): Route(self._health)}
        try:
            self._server = HttpServer(listen, routes, clock=self._clock)
        except PinchpointError as error:
            self._works.close()
            raise type(error)(f"ship.self.listen: {error}") from error

    def _metrics(self, request: "Request") -> "Response":
        from shippers.http_connection import Response

        return Response(200, page(self._works.samples()), "text/plain; version=0.0.4; charset=utf-8")

    def _health(self, request: "Request") -> "Response":
        from shippers.http_connection import Response

        problems = self._works.problems()
        return Response(503 if problems else 200, json.dumps(problems).encode() + b"\n", "application/json")

    def _write_status(self, *, running: bool) -> None:
        """What `pinchpoint doctor` reads."""
        about: dict[str, Any] = {
            "running": running, "began": self._began, "at": format_time(self._clock.now_ns()), "outputs": list(self._urls),
            "problems": self._works.problems(), "samples": [list(sample) for sample in self._works.samples()]}
        try:
            replace_file(self._state / STATUS_FILE, json.dumps(about).encode())
        except OSError:
            return  # the disk is full or read-only: doctor sees that the status is old
