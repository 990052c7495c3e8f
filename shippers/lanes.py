"""One thread for each output: it takes from its inputs in turn, delivers, and lets progress be made only then."""

import dataclasses
import threading
import traceback
from collections.abc import Callable, Sequence

from pinchpoint.errors import StoreError
from shippers.items import Batch, Input, Item, LogItems
from shippers.outputs.base import Output, StoppedError

_AFTER_FAILURE_S = 10.0

#: Tells a person something.
Say = Callable[[str], None]


class Ending:
    """How threads are told to end: first to finish what is there, then at once."""

    def __init__(self) -> None:
        self.finishing = threading.Event()
        self.at_once = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Wait in the middle of a delivery. Raises: StoppedError when it is to end at once."""
        if self.at_once.wait(seconds):
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Wait for more to come; ends early when there will be no more."""
        self.finishing.wait(seconds)


@dataclasses.dataclass(slots=True, eq=False)
class _Open:
    """A batch of which some lines are not settled yet."""

    input: Input
    token: object
    left: set[str]
    """Their ids."""


class Lane:
    """Carries everything of some inputs to one output, however long the output is away."""

    def __init__(self, output: Output, inputs: Sequence[Input], ending: Ending, say: Say, *, patient: bool = True) -> None:
        """patient: goes on after failures; else it ends with the first, and `left` says why."""
        self.output = output
        self.inputs = inputs
        self.left: str | None = None
        """Why something was left that could not be delivered."""
        self._ending, self._say, self._patient = ending, say, patient
        self._open: list[_Open] = []
        self._left: Sequence[Item] = ()
        self._said: str | None = None
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"lane-{output.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def trouble(self) -> str | None:
        """Why nothing gets through just now; None when all is well."""
        return self.output.trouble() or self._failure

    def say_trouble(self) -> None:
        """Tell of trouble once when it comes, and once when it is over."""
        now = self.trouble()
        if now is None and self._said is not None:
            self._say(f"{self.output.name}: works again")
        elif now is not None and self._said is None:
            self._say(f"{self.output.name}: {now}")
        self._said = now

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except StoppedError:
            self.left = self.trouble() or "the time to finish was over"
        except StoreError as error:
            self.left = str(error)

    def _round(self) -> bool:
        """Take once from every input; False when this was the last time."""
        finishing = self._ending.finishing.is_set()
        before = [dict(one.counters()) for one in self.inputs] if finishing else []
        most_bytes = self.output.most_bytes()
        found = False
        for one in self.inputs:
            batch = self._take(one, most_bytes)
            if batch is not None:
                found = True
                self._carry(one, batch)
        if not found and self._open:
            self._settled_but(self._deliver(self._left, may_leave=False))
            found = finishing
        if finishing:
            # lines that make no document are progress too
            return found or before != [dict(one.counters()) for one in self.inputs]
        if not found:
            # inputs hold back what is little: ten small requests a second cost ten times as much as one
            self._ending.pause(self.output.linger_s)
        return not self._ending.at_once.is_set()

    def _take(self, one: Input, most_bytes: int) -> Batch | None:
        while True:
            try:
                batch = one.take(most_bytes)
            except Exception as error:
                self._fail(f"cannot read what is to be sent: {_reason(error)}")
                continue
            self._failure = None
            return batch

    def _carry(self, one: Input, batch: Batch) -> None:
        """Deliver a batch; the few that the server is too busy for go with the next one, where both are lines of logs."""
        items = batch.items
        if not isinstance(items, LogItems):
            self._deliver(items, may_leave=False)
            self._settle(one, batch.token)
            return
        if self._left:
            items = items.after(self._left)
        left = self._deliver(items, may_leave=True)
        earlier = {item.id for item in self._left}
        self._open.append(_Open(one, batch.token, {item.id for item in left} - earlier))
        self._settled_but(left)

    def _settled_but(self, left: Sequence[Item]) -> None:
        """Make the progress of batches of which nothing is left."""
        self._left = left
        ids = {item.id for item in left}
        for each in self._open:
            each.left &= ids
        for each in [each for each in self._open if not each.left]:
            self._settle(each.input, each.token)
            self._open.remove(each)

    def _deliver(self, items: Sequence[Item], *, may_leave: bool) -> Sequence[Item]:
        while True:
            try:
                left = self.output.deliver(items, may_leave=may_leave)
            except (StoppedError, StoreError):
                raise
            except Exception as error:
                # never on to the next: settling that would settle this
                self._fail(f"cannot send: {_reason(error)}")
                continue
            self._failure = None
            return left

    def _settle(self, one: Input, token: object) -> None:
        while True:
            try:
                one.settled(token)
            except OSError as error:
                self._fail(f"cannot write down how far it is: {error.strerror or error}")
                continue
            self._failure = None
            return

    def _fail(self, reason: str) -> None:
        if not self._patient:
            raise StoreError(reason)
        self._failure = reason
        self._ending.sleep(_AFTER_FAILURE_S)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"
