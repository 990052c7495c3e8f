"""Documents of others into Arrow: each by the entry whose condition it passes first."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from pinchpoint import fields, records
from pinchpoint.store.es.documents import MAPS
from pinchpoint.store.es.export import Hit
from pinchpoint.store.es.foreign_entries import REQUIRED, Document, Entries, Entry, Pick, said

_DECODE = msgspec.json.Decoder(dict[str, list[Any]]).decode
_TIME = records.schema("log").field("@timestamp").type
_MOST_INTEGER = 2**63

#: Words of others for the status of a span; ours are OpenTelemetry's, in lower case.
_STATUS = {"success": "ok", "failure": "error", "unknown": "unset"}

Row = dict[str, Any]
Maker = Callable[[Document], Row]


class Misfit(NamedTuple):
    """A document that should be a record and cannot be one."""

    where: str
    """Its index."""
    reason: str
    id: str


class _MisfitError(ValueError):
    """Why a document is no record."""


def decode(entries: Entries, kind: str, columns: Sequence[str], hits: Sequence[Hit]) -> tuple[pa.Table, list[Misfit]]:
    """A page of documents as records of a kind; documents that are records of another kind, or of none, are left out.

    Args:
        entries: what documents mean.
        kind: of the records wanted.
        columns: which of its columns; of others nothing needs to be fetched.
        hits: with `fields` as `Entries.asked` wants them, and with `id` and `index`.
    Returns: the table, and the documents that should be records and are not.
    """
    schema = records.schema(kind, columns)
    rows: list[Row] = []
    wrong: list[Misfit] = []
    makers: dict[Any, tuple[str, Maker | None]] = {}
    for hit in hits:
        where, name = hit.index or "", "of no entry"
        try:
            document = _DECODE(hit.fields) if hit.fields else {}
            shape = entries.shape(document)
            if shape not in makers:
                makers[shape] = _made_by(entries.of(document), kind, columns, document)
            name, make = makers[shape]
            if make is not None:
                row = make(document)
                row["event.id"] = f"{where}/{hit.id}"
                rows.append(row)
        except (_MisfitError, msgspec.DecodeError, OverflowError) as error:
            wrong.append(Misfit(where, f"no {kind} record ({name}): {error}", hit.id or ""))
    try:
        return _table(rows, schema), wrong
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return _one_by_one(rows, schema, kind, wrong), wrong


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    found = {field.name: pa.array([row.get(field.name) for row in rows], pa.string() if field.name == "@timestamp" else field.type)
             for field in schema}
    if "@timestamp" in found:
        found["@timestamp"] = found["@timestamp"].cast(_TIME)
    return pa.table(found, schema=schema)


def _one_by_one(rows: list[Row], schema: pa.Schema, kind: str, wrong: list[Misfit]) -> pa.Table:
    tables = []
    for row in rows:
        try:
            tables.append(_table([row], schema))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            index, _, identity = row["event.id"].partition("/")
            wrong.append(Misfit(index, f"no {kind} record: {type(error).__name__} in a value or its time", identity))
    return pa.concat_tables([schema.empty_table(), *tables])


def _made_by(entry: Entry | None, kind: str, columns: Sequence[str], document: Document) -> tuple[str, Maker | None]:
    """The entry of documents of one shape by its name, and what makes rows of them; None when they are no records of the kind."""
    if entry is None or entry.kind != kind:
        return "", None
    return entry.name, _maker(entry.narrowed(document), columns)


def _maker(entry: Entry, columns: Sequence[str]) -> Maker:
    """What makes rows with some columns of the documents of one entry."""
    wanted = {*columns, *REQUIRED[entry.kind]}
    plain = [(name, picks, _reader(name)) for name, picks in entry.fields.items() if name in wanted]
    maps = {table: [(name.partition(".")[2], picks) for name, picks in entry.fields.items() if name.partition(".")[0] == table
                    and name not in fields.FIELDS]
            for table in wanted & (MAPS - {"metrics"})}
    constants = {name: value for name, value in entry.constants.items() if name in wanted}
    constant_maps = {table: [(name.partition(".")[2], value) for name, value in entry.constants.items()
                             if name.partition(".")[0] == table and name not in fields.FIELDS] for table in maps}

    def make(document: Document) -> Row:
        row: Row = {"@timestamp": _first(document, entry.time), **constants}
        if row["@timestamp"] is None:
            raise _MisfitError(f"no time in {entry.time}")
        for name, picks, read in plain:
            for pick in picks:
                value = read(document, pick)
                if value is not None:
                    row[name] = value
                    break
        for table, keys in maps.items():
            pairs = [*_pairs(document, keys), *constant_maps[table]]
            if pairs:
                row[table] = list(dict(pairs).items())
        for name in REQUIRED[entry.kind]:
            if row.get(name) is None:
                raise _MisfitError(f"{name} is missing")
        if entry.entity_kind is not None:
            row["entity.kind"], row["entity.id"] = entry.entity_kind, _identity(document, entry)
            row["metrics"] = _metrics(document, entry)
        return row

    return make


def _first(document: Document, field: str) -> Any:
    values = document.get(field)
    return values[0] if values else None


def _reader(column: str) -> Callable[[Document, Pick], Any]:
    wanted = fields.FIELDS[column].type
    if wanted == "number":
        return lambda document, pick: _number(document, pick, column)
    if wanted == "integer":
        return lambda document, pick: _integer(document, pick, column)
    if column == "log.level":
        return lambda document, pick: _lower(_text(document, pick))
    if column == "status":
        return lambda document, pick: _status(_lower(_text(document, pick)))
    return _text


def _text(document: Document, pick: Pick) -> str | None:
    for field in pick.fields:
        value = _first(document, field)
        if value is not None and not isinstance(value, dict | list):
            return said(value)
    return None


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _status(text: str | None) -> str | None:
    return None if text is None else _STATUS.get(text, text)


def _number(document: Document, pick: Pick, name: str) -> float | None:
    if pick.added:
        parts = [_one_number(document.get(field), name) for field in pick.fields]
        known = [part for part in parts if part is not None]
        return sum(known) * pick.scale if len(known) == len(parts) else None
    for field in pick.fields:
        value = _one_number(document.get(field), name)
        if value is not None:
            return value * pick.scale
    return None


def _integer(document: Document, pick: Pick, name: str) -> int | None:
    for field in pick.fields:
        values = document.get(field)
        if values and len(values) == 1 and type(values[0]) is int and pick.scale == 1.0 and not pick.added:
            if abs(values[0]) >= _MOST_INTEGER:
                raise _MisfitError(f"{name}: too large")
            return values[0]
        if values:
            break
    value = _number(document, pick, name)
    if value is None:
        return None
    if not math.isfinite(value) or value != int(value) or abs(value) >= _MOST_INTEGER:
        raise _MisfitError(f"{name}: expected a whole number")
    return int(value)


def _one_number(values: list[Any] | None, name: str) -> float | None:
    if not values:
        return None
    if len(values) > 1:
        raise _MisfitError(f"{name}: expected one number, got several")
    value = values[0]
    if type(value) is float:
        return value
    try:
        # keywords are numbers too where a shipper keeps all labels as text
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise _MisfitError(f"{name}: expected a number")
    return number


def _pairs(document: Document, keys: Sequence[tuple[str, tuple[Pick, ...]]]) -> Iterator[tuple[str, str]]:
    for key, picks in keys:
        for pick in picks:
            if key == "*":
                yield from _below(document, pick.fields[0])
            elif (value := _text(document, pick)) is not None:
                yield key, value
                break


def _below(document: Document, pattern: str) -> Iterator[tuple[str, str]]:
    """Every field of an object, sorted; several values are joined."""
    start = pattern.removesuffix("*")
    for name in sorted(name for name in document if name.startswith(start)):
        values = [said(value) for value in document[name] if not isinstance(value, dict | list)]
        if values:
            yield name.removeprefix(start), ", ".join(values)


def _identity(document: Document, entry: Entry) -> str:
    parts = []
    for field in entry.entity_id:
        if field.endswith(".*"):
            parts += [f"{name}={value}" for name, value in _below(document, field)]
        elif (value := _first(document, field)) is not None and not isinstance(value, dict | list):
            parts.append(said(value))
    if not parts:
        raise _MisfitError(f"nothing in {', '.join(entry.entity_id)} says what was measured")
    return "/".join(parts)


def _metrics(document: Document, entry: Entry) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    for start in entry.metrics_from:
        for name, values in document.items():
            if name.startswith(f"{start}.") and len(values) == 1 and type(values[0]) in (int, float):
                found[name[len(start) + 1:]] = float(values[0])
    for name, pick in entry.metrics.items():
        values = document[pick.fields[0]]
        # nearly always; the rest is for documents that are odd
        plain = len(values) == 1 and type(values[0]) in (int, float) and not pick.added
        value = values[0] * pick.scale if plain else _number(document, pick, name)
        if value is not None:
            found[name] = value
    if not found:
        raise _MisfitError("no reading in it")
    return list(found.items())
