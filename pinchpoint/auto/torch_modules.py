"""Time the outermost calls of PyTorch models.

Which classes are called outermost is learned in the first steps; from then on only those are hooked, so that their parts run at full
speed, and tracebacks are longer by one frame. Instances are never changed: they may be copied, pickled and compiled.
"""

from __future__ import annotations

import sys

from pinchpoint.auto import current
from pinchpoint.auto.wrapping import Switch, around, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LEARN_STEPS = 3

_switch = Switch("torch.nn.Module")
_module: Any = None
_call: Callable[..., Any]
_compiling: Callable[[], bool]
_grad_enabled: Callable[[], bool]
_roots: set[type] = set()


def install(torch: Any) -> None:
    """Learn outermost models, and stay away from what is compiled."""
    global _module, _call, _compiling, _grad_enabled
    _module = torch.nn.Module
    _call = _module.__call__
    _compiling = torch.compiler.is_compiling
    _grad_enabled = torch.is_grad_enabled
    _module.__call__ = call_learning
    around(torch, "compile", _compiles)


def install_compiled(eval_frame: Any) -> None:
    """Time what `torch.compile` makes of a module.

    Args:
        eval_frame: the module `torch._dynamo.eval_frame`.
    """
    for function in (call_learning, call_root):
        # the compiler is to compile what these call, not these: all models would share the limit of one function
        eval_frame.skip_code(function.__code__)
    around(eval_frame.OptimizedModule, "__call__", lambda model, *_, **__: _begins(model), compiling=_compiling)


def keep_unpatched(utils: Any) -> None:
    """The compiler takes a short way through models whose call is the one that it finds when it is imported."""
    if utils.unpatched_nn_module_call is call_learning:
        utils.unpatched_nn_module_call = _call


def call_learning(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands in for `Module.__call__` during the first steps."""
    if _compiling():
        return _call(self, *args, **kwargs)
    phase = _learn(self)
    if phase is None:
        return _call(self, *args, **kwargs)
    try:
        return _call(self, *args, **kwargs)
    finally:
        _ends(phase)


def call_root(self: Any, *args: Any, **kwargs: Any) -> Any:
    """`__call__` of a class of models that are called outermost; others may have put theirs into `Module` meanwhile."""
    if _compiling():
        return _module.__call__(self, *args, **kwargs)
    phase = _begins(self)
    if phase is None:
        return _module.__call__(self, *args, **kwargs)
    try:
        return _module.__call__(self, *args, **kwargs)
    finally:
        _ends(phase)


def _begins(model: Any) -> Any:
    if not _switch.on:
        return None
    try:
        loop = current.loop()
        return None if loop is None else loop.forward_begins(model.training, _grad_enabled())
    except Exception as error:
        _switch.off(error)
        return None


def _ends(phase: Any) -> None:
    try:
        leave(phase)
    except Exception as error:
        _switch.off(error)


def _learn(model: Any) -> Any:
    phase = _begins(model)
    try:
        if phase is not None:
            kind = type(model)
            if kind.__call__ is call_learning and kind is not _module:
                _roots.add(kind)
        loop = current.existing()
        if not _switch.on or (loop is not None and loop.steps >= _LEARN_STEPS):
            _end_learning()
    except Exception as error:
        _switch.off(error)
    return phase


def _end_learning() -> None:
    if _module.__call__ is not call_learning:
        return  # somebody replaced it in turn, and may put it back
    _module.__call__ = _call
    for kind in _roots:
        kind.__call__ = call_root  # type: ignore[method-assign]


def _compiles(model: Any = None, *_: Any, **__: Any) -> None:
    """A model is to be compiled: its classes become what they were."""
    if not isinstance(model, _module):
        return
    if _module.__call__ is call_learning:
        _end_learning()
    for kind in {type(part) for part in model.modules()}:
        if kind.__dict__.get("__call__") is call_root:
            del kind.__call__
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        keep_unpatched(dynamo)
