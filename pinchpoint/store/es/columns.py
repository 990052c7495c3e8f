"""Documents of Elasticsearch into Arrow, a page at a time and without a Python object for each field."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pinchpoint import fields, records
from pinchpoint.errors import RecordError
from pinchpoint.store.es.documents import MAPS, NONFINITE, TIME_NS
from pinchpoint.store.es.export import Page

#: Above so many different keys in a sample, a map is read key by key: Arrow would make a column of each.
_MOST_KEYS = 256
_SAMPLE_EVERY = 16
_FIRST, _SOURCE, _SORT = b',"hits":[{', b'"_source":', b',"sort":['
_BETWEEN = re.compile(rb',"sort":\[\d+\]\},\{"_index":"[^"\\]*","_id":"(?:[^"\\]|\\.)*","_score":null,"_source":')

_OBJECT = msgspec.json.Decoder(dict[str, Any])


def decode(kind: str, columns: Sequence[str], page: Page) -> tuple[pa.Table, list[str]]:
    """The documents of a page as a table of some columns.

    Args:
        kind: of the records.
        columns: which of its columns, `@timestamp` among them.
        page: with whole documents. To have the server leave out fields costs it more than their bytes (measured, 9.2.0).
    Returns: the table, and for each document that is no such record the reason.
    """
    try:
        if _few_keys(columns, page):
            return _at_once(kind, columns, page), []
    except (pa.ArrowException, ValueError, TypeError, LookupError):
        pass  # somebody else wrote into our stream: find out which document it is
    return _one_by_one(kind, columns, [hit.source for hit in page.hits])


def _few_keys(columns: Sequence[str], page: Page) -> bool:
    """Whether the maps of a page have few enough different keys to be read as columns."""
    maps = [name for name in columns if name in MAPS]
    if not any(_has_map(page, name) for name in maps):
        return True
    keys: dict[str, set[str]] = {name: set() for name in maps}
    for hit in itertools.islice(page.hits, 0, None, _SAMPLE_EVERY):
        document = _OBJECT.decode(hit.source)
        for name in maps:
            keys[name].update(document.get(name) or ())
    return all(len(found) <= _MOST_KEYS for found in keys.values())


def _has_map(page: Page, name: str) -> bool:
    return f'"{name}"'.encode() in page.data


def _lines(page: Page) -> tuple[bytes, int]:
    """The documents of a page a line each, and how many they are.

    What is cut out stands between documents. Inside one it could only stand in a list of objects, where cutting leaves halves that are
    no JSON: the page is then read one by one. Inside a text it cannot stand: there quotes are escaped.
    """
    data = page.data
    start, end = data.index(_SOURCE, data.index(_FIRST)) + len(_SOURCE), data.rindex(_SORT)
    lines, cuts = _BETWEEN.subn(b"\n", data[start:end])
    return lines, cuts + 1


def _at_once(kind: str, columns: Sequence[str], page: Page) -> pa.Table:
    """A page through Arrow's own parser. Raises: ValueError and its like when a document does not fit."""
    schema = records.schema(kind, columns)
    lines, count = _lines(page)
    said = [pa.field(field.name, pa.string() if field.name == "@timestamp" else field.type) for field in schema if field.name not in MAPS]
    said += [pa.field(TIME_NS, pa.int64()), pa.field(NONFINITE, pa.list_(pa.string()))]
    # what is not said is passed over, or inferred where it must be: the keys of maps
    unsaid = "infer" if any(_has_map(page, field.name) for field in schema if field.name in MAPS) else "ignore"
    table = _parse(lines, said, unsaid)
    maps = [field for field in schema if field.name in MAPS and field.name in table.column_names]
    if any(_misread(table.schema.field(field.name).type, field.type) for field in maps):
        # Arrow takes a text that looks like a time for one, and would spell it anew
        keys = {field.name: table.schema.field(field.name).type for field in maps}
        said += [pa.field(field.name, pa.struct([(key.name, field.type.item_type) for key in keys[field.name]])) for field in maps]
        table = _parse(lines, said, unsaid)
    if table.num_rows != count:
        raise ValueError(f"{count} documents became {table.num_rows} rows")
    found = {}
    for field in schema:
        if field.name == "@timestamp":
            found[field.name] = _times(table)
        elif field.name in MAPS:
            found[field.name] = _maps(table, field)
        else:
            found[field.name] = table.column(field.name)
    whole = pa.table(found, schema=schema)
    special = table.column(NONFINITE)
    return whole if special.null_count == len(special) else _with_special(whole, special.combine_chunks())


def _parse(lines: bytes, said: list[pa.Field], unsaid: str) -> pa.Table:
    # one block: pages are read side by side already, and joining blocks costs more than it saves (measured)
    return pj.read_json(pa.BufferReader(lines), read_options=pj.ReadOptions(block_size=len(lines) + 1, use_threads=False),
                        parse_options=pj.ParseOptions(explicit_schema=pa.schema(said), unexpected_field_behavior=unsaid))


def _misread(found: pa.DataType, wanted: pa.DataType) -> bool:
    return pa.types.is_struct(found) and pa.types.is_string(wanted.item_type) and any(
        not (pa.types.is_string(child.type) or pa.types.is_null(child.type)) for child in found)


def _times(table: pa.Table) -> pa.Array:
    times = pc.cast(_one_chunk(table.column("@timestamp")), pa.timestamp("ns", tz="UTC"))
    if times.null_count:
        raise ValueError("a document has no time")
    early = _one_chunk(table.column(TIME_NS))
    return times if early.null_count == len(early) else pc.coalesce(early.cast(times.type), times)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _maps(table: pa.Table, field: pa.Field) -> pa.Array:
    """A column of objects as maps, keys in their order: a key that is missing or null in a row is not in its map."""
    rows = table.num_rows
    if field.name not in table.column_names:
        return pa.nulls(rows, field.type)
    column = _one_chunk(table.column(field.name))
    if pa.types.is_null(column.type):
        return pa.nulls(rows, field.type)
    if not pa.types.is_struct(column.type):
        raise ValueError(f"{field.name}: expected an object, got {column.type}")
    names = sorted(child.name for child in column.type)
    mask = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    of_rows = dict(zip((child.name for child in column.type), column.flatten(), strict=True))
    children = [_checked(of_rows[name], field.type.item_type) for name in names]
    present = np.zeros((rows, len(children)), np.bool_)
    for place, child in enumerate(children):
        present[:, place] = child.is_valid().to_numpy(zero_copy_only=False)
    where, which = np.nonzero(present)
    items = pa.concat_arrays([*children, pa.nulls(0, field.type.item_type)]).take(pa.array(which * rows + where))
    keys = pa.array(names, pa.string()).take(pa.array(which))
    offsets = np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=field.type, mask=pa.array(mask) if mask.any() else None)


def _checked(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    if values.type.equals(wanted) or pa.types.is_null(values.type):
        return values.cast(wanted)
    if pa.types.is_floating(wanted) and pa.types.is_integer(values.type):
        return values.cast(wanted, safe=False)  # 2 ** 60 is a reading too
    raise ValueError(f"expected {wanted}, got {values.type}")


def _with_special(table: pa.Table, special: pa.Array) -> pa.Table:
    """Put back what JSON could not say; few rows have any."""
    rows = table.to_pylist()
    for row, said in zip(rows, special.to_pylist(), strict=True):
        for text in said or ():
            _put_back(row, text)
    return pa.Table.from_pylist(rows, schema=table.schema)


def _put_back(row: dict[str, Any], text: str) -> None:
    path, _, said = text.rpartition("=")
    value = None if said == "null" else float(said)
    if path in row:
        row[path] = value
        return
    name, _, key = path.partition(".")
    if name in MAPS and name in row:
        row[name] = sorted([*(row[name] or ()), (key, value)], key=lambda pair: pair[0])
    elif name == "slow_steps" and name in row:
        row[name][int(key)]["duration_s"] = value


def _one_by_one(kind: str, columns: Sequence[str], sources: Sequence[bytes]) -> tuple[pa.Table, list[str]]:
    """A page document by document: one that is no record is passed over, and said."""
    schema = records.schema(kind, columns)
    found, wrong = [], []
    for source in sources:
        try:
            document = _OBJECT.decode(source)
            row = {name: _value(name, document.get(name)) for name in columns if name != "@timestamp"}
            row["@timestamp"] = _time_ns(document)
            for text in document.get(NONFINITE) or ():
                _put_back(row, text)
            pa.Table.from_pylist([row], schema=schema)
            found.append(row)
        except (msgspec.DecodeError, pa.ArrowException, RecordError, ValueError, TypeError, LookupError, AttributeError,
                RecursionError) as error:
            wrong.append(f"no {kind} record: {' '.join(str(error).split())[:200]}")
    return pa.Table.from_pylist(found, schema=schema), wrong


def _time_ns(document: dict[str, Any]) -> int:
    if document.get(TIME_NS) is not None:
        return int(document[TIME_NS])
    if not isinstance(document["@timestamp"], str):
        raise ValueError("@timestamp is no text")
    return int(pa.array([document["@timestamp"]]).cast(pa.timestamp("ns", tz="UTC"))[0].value)


def _value(name: str, value: Any) -> Any:
    wanted = fields.FIELDS[name].type
    if value is None:
        return None
    if name in MAPS:
        convert = float if wanted == "numbers" else str
        return [(key, None if below is None else convert(below)) for key, below in sorted(value.items())]
    if wanted in ("text", "document") and not isinstance(value, str):
        raise ValueError(f"{name}: expected text")
    if wanted == "number":
        return float(value)
    if wanted == "integer" and (not isinstance(value, int | float) or value != int(value)):
        raise ValueError(f"{name}: expected a whole number")
    return int(value) if wanted == "integer" else value
