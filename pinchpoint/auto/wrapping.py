"""Put something of ours around a function of a framework, without the job ever noticing."""

from __future__ import annotations

import functools
from threading import get_ident
from time import perf_counter_ns

from pinchpoint.auto.noting import ENTER, LEAVE, STATE
from pinchpoint.auto.trouble import turned_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Switch:
    """Whether one hook is on; the first error in it turns it off for good."""

    __slots__ = ("name", "on")

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = True

    def off(self, why: object) -> None:
        self.on = False
        turned_off(self.name, why)


def as_phase(owner: Any, attribute: str, phase: str, told: Callable[..., None] | None = None) -> None:
    """Time a function of a module or class as a phase, in the thread that trains.

    Args:
        owner: the module or class.
        attribute: name of the function in it.
        phase: a key of PHASES.
        told: called with the function's arguments before it.
    Raises: AttributeError where there is no such function, which is another version's then.
    """
    original = getattr(owner, attribute)
    switch = Switch(f"{owner.__name__}.{attribute}")
    add = STATE.add

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if get_ident() != STATE.owner:
            return original(*args, **kwargs)
        if told is not None and switch.on:
            try:
                told(*args, **kwargs)
            except Exception as error:
                switch.off(error)
        add((ENTER, perf_counter_ns(), phase))
        try:
            return original(*args, **kwargs)
        finally:
            add((LEAVE, perf_counter_ns(), phase))

    setattr(owner, attribute, hooked)


def before(owner: Any, attribute: str, tell: Callable[..., None]) -> None:
    """Have something called with the arguments of a function before it.

    Raises: AttributeError where there is no such function.
    """
    original = getattr(owner, attribute)
    switch = Switch(f"{owner.__name__}.{attribute}")

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if switch.on:
            try:
                tell(*args, **kwargs)
            except Exception as error:
                switch.off(error)
        return original(*args, **kwargs)

    setattr(owner, attribute, hooked)


def after(owner: Any, attribute: str, tell: Callable[..., None]) -> None:
    """Have something called with the arguments of a function after it, unless it has raised.

    Raises: AttributeError where there is no such function.
    """
    original = getattr(owner, attribute)
    switch = Switch(f"{owner.__name__}.{attribute}")

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if switch.on:
            try:
                tell(*args, **kwargs)
            except Exception as error:
                switch.off(error)
        return result

    setattr(owner, attribute, hooked)
