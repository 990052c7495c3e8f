"""Compilations of `torch.compile`: their time, and which of them are done again."""

from __future__ import annotations

from pinchpoint.auto import current
from pinchpoint.auto.wrapping import Switch, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_MARKS = 1000


def install(callback: Any) -> None:
    """Time what the compiler's own callbacks tell of.

    Args:
        callback: the module `torch._dynamo.callback`.
    """
    switch = Switch("torch.compile")
    open_phases: list[Any] = []
    marks = 0

    def starts(args: Any = None) -> None:
        nonlocal marks
        try:
            loop = current.existing()
            if loop is None or not switch.on:
                return
            phase = loop.compile_begins()
            if phase is not None:
                open_phases.append(phase)
            again = _is_again(str(getattr(args, "compile_id", "")))
            if again and marks < _MOST_MARKS:
                marks += 1
                loop.mark("recompile", compile_id=str(args.compile_id))
        except Exception as error:
            switch.off(error)

    def ends(args: Any = None) -> None:
        try:
            if open_phases:
                leave(open_phases.pop())
        except Exception as error:
            switch.off(error)

    callback.callback_handler.register_start_callback(starts)
    callback.callback_handler.register_end_callback(ends)


def _is_again(compile_id: str) -> bool:
    """Whether a frame is compiled again: `frame/times`, both from 0.

    >>> _is_again("3/0"), _is_again("3/1"), _is_again("0/3/1_0"), _is_again("")
    (False, True, True, False)
    """
    times = compile_id.rpartition("/")[2].partition("_")[0]
    return times.isdigit() and times != "0"
