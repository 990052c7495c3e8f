"""Call what may hang for ever, and wait for it only so long."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class _Call(Generic[_Result]):
    def __init__(self, function: Callable[[], _Result]) -> None:
        self.done = threading.Event()
        self.results: list[_Result] = []
        self.error: BaseException | None = None
        self._function = function

    def run(self) -> None:
        try:
            self.results.append(self._function())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


class Patience:
    """Runs one call at a time in a thread of its own; while one hangs, no second one is started, so one thread at most is lost."""

    def __init__(self) -> None:
        self._hanging: threading.Event | None = None

    def call(self, function: Callable[[], _Result], timeout_s: float) -> _Result:
        """What the function returns or raises.

        Raises: TimeoutError when it takes longer, or when an earlier call still has not returned.
        """
        if self._hanging is not None and not self._hanging.is_set():
            raise TimeoutError("an earlier call has not returned")
        call = _Call(function)
        threading.Thread(target=call.run, daemon=True).start()
        if not call.done.wait(timeout_s):
            self._hanging = call.done
            raise TimeoutError(f"no answer within {timeout_s:g} s")
        if call.error is not None:
            raise call.error
        return call.results[0]
