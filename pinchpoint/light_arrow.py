"""Arrow without pandas, which it loads on the first array that is made: half a second, for nothing that is used here."""

import sys
from importlib.abc import MetaPathFinder


class _Hidden(MetaPathFinder):
    """Hides pandas from whoever imports it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("hidden from Arrow", name=fullname)


def without_pandas() -> None:
    """Let Arrow find no pandas in this process, whoever else may use it; nothing changes where it is loaded already."""
    import pyarrow as pa

    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])  # it looks once, and remembers
    finally:
        sys.meta_path.remove(hidden)
