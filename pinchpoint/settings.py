"""How values of the settings file become values of settings, checked one by one."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

#: Turns a value of the file into the value of a setting or raises BadValueError; the path is the folder of the file.
Reader = Callable[[Any, Path], Any]

_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+):\d{1,5}")


class BadValueError(ValueError):
    """A value that cannot be meant, `below` its setting where the setting is a table."""

    def __init__(self, message: str, below: str = "") -> None:
        super().__init__(message)
        self.below = below


def setting(default: Any, meaning: str, read: Reader) -> Any:
    """A field of a table of settings."""
    return dataclasses.field(default_factory=lambda: default, metadata={"meaning": meaning, "read": read})


def needed(meaning: str, read: Reader) -> Any:
    """A field without a default."""
    return dataclasses.field(metadata={"meaning": meaning, "read": read})


def number(above: float) -> Reader:
    """A number greater than a limit."""
    def read(value: Any, _: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < math.inf:
            raise BadValueError(f"expected a number above {above:g}, got {value!r}")
        return float(value)

    return read


def whole(least: int) -> Reader:
    """A whole number from a limit on."""
    def read(value: Any, _: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadValueError(f"expected a whole number from {least} on, got {value!r}")
        return value

    return read


def text(value: Any, _: Path) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise BadValueError(f"expected a text, got {value!r}")
    return value


def texts(value: Any, folder: Path) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise BadValueError(f"expected a list of texts, got {value!r}")
    return tuple(value)


def text_map(value: Any, _: Path) -> Mapping[str, str]:
    """A table of names and texts; numbers and truth values become texts."""
    if not isinstance(value, dict) or not all(isinstance(one, str | int | float) for one in value.values()):
        raise BadValueError(f"expected a table of names and texts, got {value!r}")
    return MappingProxyType({name: str(one).lower() if isinstance(one, bool) else str(one) for name, one in value.items()})


def choice(*known: str) -> Reader:
    """One of some words."""
    def read(value: Any, _: Path) -> str:
        if value not in known:
            raise BadValueError(f"expected {', '.join(known[:-1])} or {known[-1]}, got {value!r}")
        return str(value)

    return read


def path(value: Any, folder: Path) -> Path:
    """A path; a relative one starts at the folder of the file."""
    if not isinstance(value, str) or not value:
        raise BadValueError(f"expected a path, got {value!r}")
    return folder / Path(value).expanduser()


def paths(value: Any, folder: Path) -> tuple[Path, ...]:
    """A list of paths."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise BadValueError(f"expected a list of paths, got {value!r}")
    return tuple(folder / Path(one).expanduser() for one in value)


def store_url(value: Any, folder: Path) -> str:
    """A path or the URL of a store."""
    if not isinstance(value, str) or not value:
        raise BadValueError(f"expected a path or a URL, got {value!r}")
    if "://" in value or value == "memory:":
        return value
    return str(folder / Path(value).expanduser())


def store_urls(value: Any, folder: Path) -> tuple[str, ...]:
    """A list of paths and URLs of stores."""
    if not isinstance(value, list) or not value:
        raise BadValueError(f"expected a list of paths and URLs, got {value!r}")
    return tuple(store_url(one, folder) for one in value)


def listen(value: Any, _: Path) -> str:
    """An address to listen on."""
    if not isinstance(value, str) or not _LISTEN.fullmatch(value):
        raise BadValueError(f"expected an address and a port such as 127.0.0.1:4318, got {value!r}")
    return value


def table(kind: type) -> Reader:
    """A table of settings that is not there unless the file has it, or has `true` in its place; `false` takes it away."""
    def read(value: Any, folder: Path) -> Any:
        if isinstance(value, bool):
            return kind() if value else None
        if not isinstance(value, dict):
            raise BadValueError(f"expected a table, got {value!r}")
        return values(kind, value, folder)

    return read


def tables(kind: type) -> Reader:
    """A list of tables of settings."""
    def read(value: Any, folder: Path) -> Any:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise BadValueError(f"expected tables, each under [[…]], got {value!r}")
        found = []
        for place, one in enumerate(value):
            try:
                found.append(values(kind, one, folder))
            except BadValueError as error:
                raise BadValueError(str(error), f"[{place}]{error.below}") from error
        return tuple(found)

    return read


def values(kind: type, given: Mapping[str, Any], folder: Path) -> Any:
    """A table of settings from what the file says.

    Raises: BadValueError for an unknown or missing setting or a bad value, with the place below the table.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if "read" in field.metadata}
    found = {}
    for name, value in given.items():
        if name not in fields:
            raise BadValueError(f"unknown setting, {nearest(name, fields)}", f".{name}")
        try:
            found[name] = fields[name].metadata["read"](value, folder)
        except BadValueError as error:
            raise BadValueError(str(error), f".{name}{error.below}") from error
    for name, field in fields.items():
        if name not in found and field.default_factory is dataclasses.MISSING:
            raise BadValueError(f"is missing: {field.metadata['meaning']}", f".{name}")
    return kind(**found)


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """What may have been meant by an unknown name."""
    known = list(known)
    near: Sequence[str] = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {prefix}{near[0]}?"
    return "there are " + ", ".join(prefix + each for each in known) if known else "there are none"
