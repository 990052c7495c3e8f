"""Mapping files: read, checked, without any code in them."""

import difflib
import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pinchpoint import fields
from pinchpoint.errors import MappingFileError
from pinchpoint.store.es.documents import MAPS
from pinchpoint.store.es.foreign_entries import REQUIRED, Entries, Entry, Pick, columns_of, said

#: Where every entry looks, after what it says itself.
COMMON = "common.toml"

_KEYS = ("name", "kind", "when", "fields", "constants", "metrics", "metrics_from", "entity")
_TYPES: dict[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "number": (int, float)}


@functools.lru_cache(16)
def load(path: str | None = None) -> Entries:
    """The entries that come with pinchpoint, and those of the user's file before them.

    Args:
        path: the user's file, None for none.
    Raises: MappingFileError naming file and key when it breaks the rules.
    """
    own = resources.files("pinchpoint.store.es") / "mappings_of_others"
    common = _parse((own / COMMON).read_text("utf-8"), COMMON)["fields"]
    users = _parse(_content(Path(path)), path) if path is not None else {}
    everywhere = _fields(users.get("fields", {}), _every_column(), f"{path}: fields")
    found = [_entry(entry, number, path or "", everywhere, common, by_user=True) for number, entry in enumerate(users.get("entry", ()), 1)]
    for file in sorted(own.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml") and file.name != COMMON:
            tables = _parse(file.read_text("utf-8"), file.name)["entry"]
            found += [_entry(entry, number, file.name, everywhere, common, by_user=False) for number, entry in enumerate(tables, 1)]
    return Entries(found)


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise MappingFileError(f"cannot read the mapping file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MappingFileError(f"{path}: a mapping file is text in UTF-8") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MappingFileError(f"{where}: not TOML: {error}") from error
    _known(document, ("fields", "entry"), where)
    if not isinstance(document.get("entry", []), list):
        raise MappingFileError(f"{where}: entry: expected tables [[entry]]")
    return document


def _every_column() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for kind in fields.SHIPPED for name in columns_of(kind)))


def _entry(entry: Any, number: int, file: str, everywhere: Mapping[str, Pick], common: Mapping[str, Any], *, by_user: bool) -> Entry:
    where = f"{file}: entry {number}"
    if not isinstance(entry, dict):
        raise MappingFileError(f"{where}: expected a table, got {entry!r}")
    name = _text(entry.get("name"), f"{where}.name")
    where = f"{where} ({name})"
    _known(entry, _KEYS, where)
    kind = _text(entry.get("kind"), f"{where}.kind")
    if kind not in fields.SHIPPED:
        raise MappingFileError(f"{where}.kind: {kind!r}{_nearest(kind, fields.SHIPPED)}")
    columns = columns_of(kind)
    given = _fields(entry.get("fields", {}), ("@timestamp", *columns), f"{where}.fields")
    time = given.pop("@timestamp", Pick(("@timestamp",)))
    if len(time.fields) != 1 or time.scale != 1.0:
        raise MappingFileError(f"{where}.fields.@timestamp: expected the name of one date field")
    constants = _constants(_table(entry.get("constants", {}), f"{where}.constants"), columns, f"{where}.constants")
    for column in constants:
        if column in given:
            raise MappingFileError(f"{where}.constants.{column}: it has a field already; leave one out")
    first, second = ({}, everywhere) if by_user else (everywhere, {})
    found = {}
    for column in dict.fromkeys([*columns, *given]):
        if column not in constants:
            picks = [of[column] for of in (first, given, second) if column in of]
            picks += [Pick((column,))] if column in columns else []
            picks += [_pick(common[column], COMMON)] if column in common else []
            found[column] = tuple(picks)
    for column in REQUIRED[kind]:
        if by_user and column not in given and column not in constants and column not in everywhere:
            # a file that forgets it would set every document aside
            raise MappingFileError(f"{where}.fields: a {kind} record needs {column}: say which field holds it")
    exists, equals = _condition(entry.get("when"), f"{where}.when")
    return Entry(name, kind, exists, equals, time.fields[0], found, constants, **_readings(entry, kind, where))


def _condition(when: Any, where: str) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    table = _table(when, where)
    _known(table, ("exists", "equals"), where)
    if not table.get("exists") and not table.get("equals"):
        raise MappingFileError(f"{where}: say which documents are meant: exists = [fields], or equals = {{field = value}}")
    exists = _names(table.get("exists", []), f"{where}.exists")
    equals = []
    for field, value in _table(table.get("equals", {}), f"{where}.equals").items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str | int | float) for one in values):
            raise MappingFileError(f"{where}.equals.{field}: expected a value or a list of values, got {value!r}")
        equals.append((field, tuple(map(said, values))))
    return exists, tuple(equals)


def _readings(entry: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    """What metric records have besides columns."""
    if kind != "metric":
        for key in ("metrics", "metrics_from", "entity"):
            if key in entry:
                raise MappingFileError(f"{where}.{key}: only entries of kind metric have it")
        return {"metrics": {}, "metrics_from": (), "entity_kind": None, "entity_id": ()}
    metrics = {name: _pick(value, f"{where}.metrics.{name}")
               for name, value in _table(entry.get("metrics", {}), f"{where}.metrics").items()}
    metrics_from = _names(entry.get("metrics_from", []), f"{where}.metrics_from")
    if not metrics and not metrics_from:
        raise MappingFileError(f"{where}.metrics: a metric record needs readings: metrics = {{name = field}}, or metrics_from = object")
    entity = _table(entry.get("entity"), f"{where}.entity")
    _known(entity, ("kind", "id"), f"{where}.entity")
    identity = _names(entity.get("id", []), f"{where}.entity.id")
    if not identity:
        raise MappingFileError(f"{where}.entity.id: expected the field, or the list of fields, that tell one from another")
    return {"metrics": metrics, "metrics_from": metrics_from, "entity_kind": _text(entity.get("kind"), f"{where}.entity.kind"),
            "entity_id": identity}


def _fields(given: Any, columns: Iterable[str], where: str) -> dict[str, Pick]:
    found = {}
    for name, value in _table(given, where).items():
        _column(name, columns, where)
        pick = _pick(value, f"{where}.{name}")
        if any(field.endswith(".*") for field in pick.fields) != name.endswith(".*"):
            raise MappingFileError(f"{where}.{name}: an object is copied whole as in \"labels.*\" = \"theirs.*\", got {value!r}")
        if pick.scale != 1.0 and _type(name) == "text":
            raise MappingFileError(f"{where}.{name}: a text has no scale")
        found[name] = pick
    return found


def _constants(given: Mapping[str, Any], columns: Iterable[str], where: str) -> dict[str, Any]:
    for name, value in given.items():
        _column(name, columns, where)
        wanted = _type(name)
        if isinstance(value, bool) or not isinstance(value, _TYPES[wanted]):
            raise MappingFileError(f"{where}.{name}: expected {wanted}, got {value!r}")
    return dict(given)


def _column(name: str, columns: Iterable[str], where: str) -> None:
    table, dot, key = name.partition(".")
    if name not in columns and not (dot and key and table in MAPS - {"metrics", "features"}):
        raise MappingFileError(f"{where}.{name}: unknown field{_nearest(name, [*columns, 'labels.…'])}")


def _type(name: str) -> str:
    return fields.FIELDS[name].type if name in fields.FIELDS else "text"


def _pick(value: Any, where: str) -> Pick:
    """A field, a list of fields of which the first that is there counts, or a table with `field` or `sum`, and `scale`."""
    if not isinstance(value, dict):
        return Pick(_some_names(value, where))
    _known(value, ("field", "sum", "scale"), where)
    if ("field" in value) == ("sum" in value):
        raise MappingFileError(f"{where}: expected either field or sum")
    scale = value.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise MappingFileError(f"{where}.scale: expected a number above 0, got {scale!r}")
    if "sum" in value:
        return Pick(_some_names(value["sum"], f"{where}.sum"), float(scale), added=True)
    return Pick(_some_names(value["field"], f"{where}.field"), float(scale))


def _some_names(value: Any, where: str) -> tuple[str, ...]:
    found = _names(value, where)
    if not found:
        raise MappingFileError(f"{where}: expected the name of a field, got {value!r}")
    return found


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip(".*") for one in names):
        raise MappingFileError(f"{where}: expected the name of a field or a list of names, got {value!r}")
    return tuple(names)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise MappingFileError(f"{where}: expected a text, got {value!r}")
    return value


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MappingFileError(f"{where}: expected a table, got {value!r}")
    return value


def _known(table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise MappingFileError(f"{where}.{key}: unknown key{_nearest(key, keys)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(names)}"
