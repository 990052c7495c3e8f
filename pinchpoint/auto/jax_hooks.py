"""Hooks into JAX: steps that are annotated, and what it tells its own listeners of compilations and of its cache."""

from __future__ import annotations

import functools
from importlib import import_module
from threading import get_ident
from time import perf_counter_ns

from pinchpoint.auto.current import begins, stepped
from pinchpoint.auto.noting import BEGINS, PAST, STATE, STEPPED, mark, note
from pinchpoint.auto.trouble import turned_off
from pinchpoint.auto.wrapping import Switch, as_phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COMPILING = "/jax/core/compile/"
_MARKED = {"/jax/compilation_cache/cache_hits": "compile_cache_hit", "/jax/compilation_cache/cache_misses": "compile_cache_miss"}
_MOST_MARKS = 1000


def install(jax: Any) -> None:
    """Lay each hook by itself: one that this version does not have leaves the others."""
    for name, lay in (("jax.monitoring", _listen), ("jax.profiler", _hook_steps), ("jax.device_put", _hook_transfers)):
        try:
            lay(jax)
        except Exception as error:
            turned_off(name, error)


def _listen(jax: Any) -> None:
    monitoring = import_module("jax.monitoring")
    switch = Switch("jax.monitoring")
    marks = 0

    def lasted(event: str, duration_s: float, *_: Any, **__: Any) -> None:
        try:
            if switch.on and event.startswith(_COMPILING):
                note(PAST, "compile", int(duration_s * 1e9))
        except Exception as error:
            switch.off(error)

    def happened(event: str, *_: Any, **__: Any) -> None:
        nonlocal marks
        if event in _MARKED and marks < _MOST_MARKS:
            marks += 1
            mark(_MARKED[event])

    monitoring.register_event_duration_secs_listener(lasted)
    monitoring.register_event_listener(happened)


def _hook_steps(jax: Any) -> None:
    """`jax.profiler.StepTraceAnnotation` stands around each step, as profilers of JAX want it."""
    annotation = jax.profiler.StepTraceAnnotation
    enter, leave = annotation.__enter__, annotation.__exit__

    @functools.wraps(enter)
    def entered(self: Any) -> Any:
        if get_ident() == STATE.owner or begins(claim=True):
            STATE.add((BEGINS, perf_counter_ns()))
        return enter(self)

    @functools.wraps(leave)
    def left(self: Any, *error: Any) -> Any:
        result = leave(self, *error)
        if note(STEPPED) and not STATE.writes:
            stepped()
        return result

    annotation.__enter__, annotation.__exit__ = entered, left


def _hook_transfers(jax: Any) -> None:
    as_phase(jax, "device_put", "h2d")
