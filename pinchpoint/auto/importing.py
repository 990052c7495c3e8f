"""Lay hooks into a framework right after the job has imported it, and import none ourselves."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # each Python process that is watched pays for what is imported here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: Modules of frameworks, and what of ours lays hooks into each.
HOOKS = {
    "torch": "torch_hooks:install",
    "torch._dynamo.callback": "torch_compile:install",
    "torch._dynamo.eval_frame": "torch_modules:install_compiled",
    "torch._dynamo.utils": "torch_modules:keep_unpatched",
    "transformers.trainer": "trainers:install_transformers",
    **{f"{package}.{module}": f"trainers:install_lightning_{part}"
       for package in ("lightning.pytorch", "pytorch_lightning")
       for module, part in (("loops.evaluation_loop", "evaluation"), ("trainer.trainer", "trainer"), ("strategies.strategy", "strategy"))},
    "keras.src.callbacks.callback_list": "trainers:install_keras_callbacks",
    "keras.src.trainers.epoch_iterator": "trainers:install_keras_data",
    "keras.src.models.model": "trainers:install_keras_saving",
    **{f"keras.src.backend.{backend}.trainer": "trainers:install_keras_trainer" for backend in ("torch", "jax", "tensorflow")},
    "jax": "jax_hooks:install",
}


class Finder:
    """Finds nothing itself: asks the others, and has what they found call us when it has run."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in HOOKS or name in self._asked:
            return None
        self._asked.add(name)  # a finder of somebody's may ask all finders again
        try:
            for finder in sys.meta_path:
                find = getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = None if finder is self or find is None else find(name, path, target)
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                    return spec
            return None
        finally:
            self._asked.discard(name)


class _Loader:
    """Stands in for the loader of one module until it has run; from then on nobody sees it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # being copied: not there yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        lay(sys.modules.get(module.__name__, module))


def watch_imports() -> None:
    """Have hooks laid into what was imported already, and into what will be; once for each process."""
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, Finder())
    for name in HOOKS:
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            lay(module)


def lay(module: ModuleType) -> None:
    """Lay the hooks of one module; whatever goes wrong is noted, and the job goes on without them."""
    try:
        from importlib import import_module

        from pinchpoint.auto.trouble import turned_off

        try:
            home, _, install = HOOKS[module.__name__].partition(":")
            getattr(import_module(f"pinchpoint.auto.{home}"), install)(module)
        except Exception as error:
            turned_off(module.__name__, error)
    except Exception:  # nothing here may ever stop a job
        return
