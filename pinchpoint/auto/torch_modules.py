"""Time the outermost calls of PyTorch models.

Which classes are called outermost is learned from the first calls with gradients; from then on only those are hooked, so that their
parts run at full speed, and tracebacks are longer by one frame. Instances are never changed: they may be copied, pickled and compiled.
"""

from __future__ import annotations

import functools
import sys
from threading import get_ident
from time import perf_counter_ns
from types import MethodType

from pinchpoint.auto.current import begins
from pinchpoint.auto.noting import FORWARD, FORWARDED, STATE
from pinchpoint.auto.wrapping import Switch, before

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LEARN_CALLS = 20

_switch = Switch("torch.nn.Module")
_add = STATE.add
_module: Any = None
_call: Callable[..., Any]
_compiling: Callable[[], bool]
_grad_enabled: Callable[[], bool]
_roots: set[type] = set()
_learned = 0
_inside = False  # in an outermost model of the thread that trains


def install(torch: Any) -> None:
    """Learn outermost models, and stay away from what is compiled."""
    global _module, _call, _compiling, _grad_enabled
    _module = torch.nn.Module
    _call = _module.__call__
    _compiling = torch.compiler.is_compiling
    _grad_enabled = torch.is_grad_enabled
    _module.__call__ = call_learning
    before(torch, "compile", _compiles)


def install_compiled(eval_frame: Any) -> None:
    """Time what `torch.compile` makes of a module.

    Args:
        eval_frame: the module `torch._dynamo.eval_frame`.
    """
    for function in (call_learning, call_root):
        # the compiler is to compile what these call, not these: all models would share the limit of one function
        eval_frame.skip_code(function.__code__)
    original = eval_frame.OptimizedModule.__call__

    @functools.wraps(original)
    def call_compiled(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _timed(original, self, args, kwargs)

    eval_frame.OptimizedModule.__call__ = call_compiled


def keep_unpatched(utils: Any) -> None:
    """The compiler takes a short way through models whose call is the one that it finds when it is imported."""
    if utils.unpatched_nn_module_call is call_learning:
        utils.unpatched_nn_module_call = _call


def call_learning(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands in for `Module.__call__` during the first calls."""
    if _inside or _compiling():
        return _call(self, *args, **kwargs)
    _learn(self)
    return _timed(_call, self, args, kwargs)


def call_root(self: Any, *args: Any, **kwargs: Any) -> Any:
    """A call of a class of models that are called outermost; others may have put theirs into `Module` meanwhile."""
    global _inside
    if _inside or _compiling() or (get_ident() != STATE.owner and not begins()):
        return _module.__call__(self, *args, **kwargs)
    _inside = True
    _add((FORWARD, perf_counter_ns(), self.training, _grad_enabled()))
    try:
        return _module.__call__(self, *args, **kwargs)
    finally:
        _add((FORWARDED, perf_counter_ns()))
        _inside = False


class _Root:
    """What stands in a class as `__call__`: `call_root`, that is pickled as what stood there; some pickle whole classes of a script."""

    __slots__ = ()

    def __get__(self, model: Any, kind: Any = None) -> Any:
        return self if model is None else MethodType(call_root, model)

    def __call__(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        return call_root(model, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (_module, "__call__")


ROOT = _Root()


def _timed(call: Callable[..., Any], model: Any, args: Any, kwargs: Any) -> Any:
    global _inside
    if _inside or _compiling() or (get_ident() != STATE.owner and not begins()):
        return call(model, *args, **kwargs)
    _inside = True
    _add((FORWARD, perf_counter_ns(), model.training, _grad_enabled()))
    try:
        return call(model, *args, **kwargs)
    finally:
        _add((FORWARDED, perf_counter_ns()))
        _inside = False


def _learn(model: Any) -> None:
    global _learned
    try:
        kind = type(model)
        if get_ident() == STATE.owner and kind.__call__ is call_learning and kind is not _module and any(True for _ in model.parameters()):
            _roots.add(kind)  # what has no parameters is a loss or the like: too small to time
        _learned += _grad_enabled()
        if _learned > _LEARN_CALLS:
            _end_learning()
    except Exception as error:
        _switch.off(error)


def _end_learning() -> None:
    if _module.__call__ is not call_learning:
        return  # somebody replaced it in turn, and may put it back
    _module.__call__ = _call
    for kind in _roots:
        kind.__call__ = ROOT  # type: ignore[method-assign]


def _compiles(model: Any = None, *_: Any, **__: Any) -> None:
    """A model is to be compiled: its classes become what they were; those of all models for a function, which may call any."""
    if isinstance(model, _module):
        _end_learning()
        kinds = {type(part) for part in model.modules()}
    else:
        kinds = set(_roots)
    for kind in kinds:
        if kind.__dict__.get("__call__") is ROOT:
            del kind.__call__
    compiler = sys.modules.get("torch._dynamo.utils")
    if compiler is not None:
        keep_unpatched(compiler)
