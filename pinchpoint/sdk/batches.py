"""A loader whose waits are timed and that acts as the loader in all else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pinchpoint.sdk.timing import CollectedRun
    from pinchpoint.sdk.writing import Iteration

Item = TypeVar("Item")


class _Wrapped(Generic[Item]):
    """Whatever is asked of it is asked of the loader: `dataset`, `sampler.set_epoch`, a generator's `close`."""

    def __init__(self, run: CollectedRun, loader: Iterable[Item]) -> None:
        self._run = run
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name in ("_run", "_loader"):  # being copied: not there yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __bool__(self) -> bool:
        return bool(self._loader)


class _Loader(_Wrapped[Item]):
    def __iter__(self) -> Iterator[Item]:
        # a loader may start its workers here
        with self._run.phase("data_wait"):
            items = iter(self._loader)
        return _Items(self._run, items)


class _Items(_Wrapped[Item]):
    def __init__(self, run: CollectedRun, items: Iterator[Item]) -> None:
        super().__init__(run, items)
        self._next = items.__next__
        self._wait = run.phase("data_wait")
        self._served: Iteration | None = None

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        self._run.begun_by(self._served)
        wait = self._wait
        wait.__enter__()
        try:
            item = self._next()
        except StopIteration:
            self._run.cancel_wait()
            raise
        except BaseException:
            wait.__exit__(None, None, None)
            raise
        wait.__exit__(None, None, None)
        self._served = self._run.into
        return item


class _SizedLoader(_Loader[Item]):
    def __len__(self) -> int:
        return len(cast(Any, self._loader))


class _SizedItems(_Items[Item]):
    def __len__(self) -> int:
        return len(cast(Any, self._loader))


def wrap(run: CollectedRun, loader: Iterable[Item]) -> Iterable[Item]:
    """The loader with its waits timed: iterable, iterator and sized exactly if it is; as it is if it cannot be iterated over."""
    sized = hasattr(type(loader), "__len__")
    if hasattr(type(loader), "__next__"):
        return (_SizedItems if sized else _Items)(run, cast("Iterator[Item]", loader))
    if hasattr(type(loader), "__iter__") or hasattr(type(loader), "__getitem__"):
        return (_SizedLoader if sized else _Loader)(run, loader)
    return loader
