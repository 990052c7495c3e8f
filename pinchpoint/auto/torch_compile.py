"""Compilations of `torch.compile`: their time, and which of them are done again."""

from __future__ import annotations

from pinchpoint.auto.noting import ENTER, LEAVE, mark, note
from pinchpoint.auto.wrapping import Switch

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
    marks = 0

    def starts(args: Any = None) -> None:
        nonlocal marks
        note(ENTER, "compile")
        try:
            if switch.on and marks < _MOST_MARKS and is_again(str(getattr(args, "compile_id", ""))):
                marks += 1
                mark("recompile", compile_id=args.compile_id)
        except Exception as error:
            switch.off(error)

    def ends(args: Any = None) -> None:
        note(LEAVE, "compile")

    callback.callback_handler.register_start_callback(starts)
    callback.callback_handler.register_end_callback(ends)


def is_again(compile_id: str) -> bool:
    """Whether a frame is compiled again: `frame/times`, both from 0.

    >>> is_again("3/0"), is_again("3/1"), is_again("0/3/1_0"), is_again("")
    (False, True, True, False)
    """
    times = compile_id.rpartition("/")[2].partition("_")[0]
    return times.isdigit() and times != "0"
