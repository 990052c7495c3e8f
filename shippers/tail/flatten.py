"""Turn a JSON object into the fields of a log record and, for all keys that are not fields, labels."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from pinchpoint import fields
from shippers.tail.levels import level_of
from shippers.tail.times import time_of

#: Fields that a line may set; identity and place are ours to say.
_OWN = frozenset(fields.KINDS["log"]) - {"event.id", "labels", "log.file.path", "log.offset"}
_INTEGERS = frozenset(name for name in _OWN if fields.FIELDS[name].type == "integer")
#: What loggers call the three fields that every line has.
ALIASES = {"msg": "message", "time": "@timestamp", "timestamp": "@timestamp", "ts": "@timestamp", "asctime": "@timestamp",
           "level": "log.level", "levelname": "log.level", "severity": "log.level", "lvl": "log.level"}
_DEEPEST = 8
_LARGEST = 1 << 63
_WHOLE = re.compile(r"-?\d{1,18}")


def flatten(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields and labels of an object; nested keys are joined with dots.

    >>> flatten({"log": {"level": "WARN"}, "message": "slow", "loss": 0.5})
    ({'log.level': 'warning', 'message': 'slow'}, {'loss': '0.5'})
    """
    found: dict[str, Any] = {}
    labels: dict[str, str] = {}
    aliased: list[tuple[str, str, Any]] = []
    for name, value in leaves(record):
        if name in _OWN:
            checked = FIELD_VALUES[name](value)
            if checked is not None:
                found[name] = checked
                continue
        elif name in ALIASES:
            aliased.append((ALIASES[name], name, value))
            continue
        if value is not None:
            labels[name.removeprefix("labels.")] = text_of(value)
    for name, alias, value in aliased:  # a field under its own name comes first
        checked = FIELD_VALUES[name](value) if name not in found else None
        if checked is not None:
            found[name] = checked
        elif value is not None:
            labels[alias] = text_of(value)
    return found, labels


def leaves(record: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """The values of an object by their dotted names; lists, and objects that are too deep, are values."""
    for name, value in record.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from leaves(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name, value


def text_of(value: Any) -> str:
    """A value as a label holds it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    try:
        return msgspec.json.encode(value).decode()
    except (OverflowError, RecursionError):
        return str(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST else None


def _level(value: Any) -> str | None:
    return level_of(value) if isinstance(value, str) and value else None


def _checks() -> dict[str, Callable[[Any], Any]]:
    checks: dict[str, Callable[[Any], Any]] = {name: _integer if name in _INTEGERS else _text for name in _OWN}
    return {**checks, "@timestamp": time_of, "log.level": _level}


#: What a field makes of a value; None when the value is none for it.
FIELD_VALUES = _checks()
