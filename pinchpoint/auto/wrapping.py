"""Put something of ours around a function of a framework, without the job ever noticing."""

from __future__ import annotations

import functools

from pinchpoint.auto.notes import turned_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: Given the arguments; what it returns is given to the end, None says that there is nothing to end.
    Begins = Callable[..., Any]
    Ends = Callable[[Any], None]


class Switch:
    """Whether one hook is on; the first error in it turns it off for good."""

    __slots__ = ("name", "on")

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = True

    def off(self, why: object) -> None:
        self.on = False
        turned_off(self.name, why)


def leave(phase: Any) -> None:
    """End a phase."""
    phase.__exit__(None, None, None)


def around(owner: Any, attribute: str, begins: Begins, ends: Ends = leave, compiling: Callable[[], bool] | None = None) -> Switch:
    """Replace a function of a module or class by one that calls us before and after.

    Args:
        owner: the module or class.
        attribute: name of the function in it.
        begins: called with the arguments.
        ends: called with what `begins` returned, unless that was None; also when the function raises.
        compiling: whether a compiler traces the code, which then must see nothing of us.
    Returns: the switch of the hook.
    Raises: AttributeError where there is no such function, which is another version's then.
    """
    original = getattr(owner, attribute)
    switch = Switch(f"{owner.__name__}.{attribute}")

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if compiling is not None and compiling():
            return original(*args, **kwargs)
        begun = None
        if switch.on:
            try:
                begun = begins(*args, **kwargs)
            except Exception as error:
                switch.off(error)
        if begun is None:
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            try:
                ends(begun)
            except Exception as error:
                switch.off(error)

    setattr(owner, attribute, hooked)
    return switch
