"""What could not be hooked, kept until there is a run to note it in."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 50
_noted: dict[str, str] = {}
_tell: Callable[[str, str], None] | None = None


def turned_off(hook: str, why: object) -> None:
    """Note that a hook is off, once for each hook; the job must not hear of it."""
    if hook in _noted or len(_noted) >= _MOST:
        return
    _noted[hook] = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else str(why)
    if _tell is not None:
        _tell(hook, _noted[hook])


def tell_by(tell: Callable[[str, str], None]) -> None:
    """Name who writes notes down; what was noted before is told now."""
    global _tell
    _tell = tell
    for hook, why in list(_noted.items()):
        tell(hook, why)
