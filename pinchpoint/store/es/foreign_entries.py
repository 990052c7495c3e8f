"""What documents of others mean: which is a record of which kind, and where its values stand."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from pinchpoint import fields
from pinchpoint.store.es.documents import MAPS

#: A document as the search API's `fields` gives it: flat names, every value a list.
Document = Mapping[str, list[Any]]
Query = dict[str, Any]

#: What a record cannot do without; a document that lacks it is set aside. Metric records need a reading and an entity besides.
REQUIRED = {"step": ("duration_s",), "metric": (), "log": ("message",), "span": ("span.id",), "event": ("event.action",)}


@dataclasses.dataclass(frozen=True, slots=True)
class Pick:
    """Where one value stands: in the first of some fields that is there, or in all of them, to be added up."""

    fields: tuple[str, ...]
    scale: float = 1.0
    added: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """How the documents that pass a condition become records of one kind."""

    name: str
    kind: str
    exists: tuple[str, ...]
    """Fields, or objects with any field, that a document must have, all of them."""
    equals: tuple[tuple[str, tuple[str, ...]], ...]
    """Fields that must have one of some values."""
    time: str
    """The field with the time of the record."""
    fields: Mapping[str, tuple[Pick, ...]]
    """Of each column, and each `labels.…` and `attributes.…`, where it is looked for; the first that is there counts."""
    constants: Mapping[str, Any]
    metrics: Mapping[str, Pick]
    metrics_from: tuple[str, ...]
    """Objects of whose fields each number is a reading too, under its name within the object."""
    entity_kind: str | None
    entity_id: tuple[str, ...]
    """Fields whose values, joined by `/`, say which one it is; `object.*` is every field below, as `name=value`."""

    def matches(self, document: Document) -> bool:
        """Whether a document passes the condition."""
        return all(_is_there(document, field) for field in self.exists) and all(
            any(said(value) in wanted for value in document.get(field, ())) for field, wanted in self.equals)

    def narrowed(self, names: Iterable[str]) -> "Entry":
        """The same for documents that have just these fields, without what it would look for in vain."""
        there = set(names)

        def kept(pick: Pick) -> Pick | None:
            found = tuple(field for field in pick.fields if field in there or field.endswith(".*"))
            if pick.added:  # of which none may be missing
                return pick if len(found) == len(pick.fields) else None
            return dataclasses.replace(pick, fields=found) if found else None

        def some(picks: Iterable[Pick]) -> tuple[Pick, ...]:
            return tuple(found for pick in picks if (found := kept(pick)) is not None)

        return dataclasses.replace(
            self, fields={name: found for name, picks in self.fields.items() if (found := some(picks))},
            metrics={name: one for name, pick in self.metrics.items() if (one := kept(pick)) is not None},
            metrics_from=tuple(start for start in self.metrics_from if any(name.startswith(f"{start}.") for name in there)))

    def condition(self) -> list[Query]:
        """The condition as filters of a search; texts that are analysed may pass a little more."""
        return [{"exists": {"field": field}} for field in self.exists] + [
            {"bool": {"should": [{"match": {field: {"query": value, "operator": "and", "lenient": True}}} for value in wanted]}}
            for field, wanted in self.equals]

    def asked(self, columns: Iterable[str]) -> set[str]:
        """What of a document must be fetched to know some columns, as patterns of names."""
        wanted = {*columns, *REQUIRED[self.kind]}
        found = {self.time}
        for name, picks in self.fields.items():
            if name in wanted or name.partition(".")[0] in wanted & MAPS:
                found |= {field for pick in picks for field in pick.fields}
        if self.kind == "metric":
            found |= {field for pick in self.metrics.values() for field in pick.fields}
            found |= {f"{field}.*" for field in self.metrics_from} | set(self.entity_id)
        return found


def _is_there(document: Document, field: str) -> bool:
    return field in document or any(name.startswith(f"{field}.") for name in document)


def said(value: Any) -> str:
    """A value as text.

    >>> said(True), said(3), said("a")
    ('true', '3', 'a')
    """
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Entries:
    """Every entry, in the order in which they are tried."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.all = tuple(entries)
        self._compared = {field for entry in self.all for field, _ in entry.equals}

    def of_kind(self, kind: str) -> list[Entry]:
        """The entries that make records of a kind."""
        return [entry for entry in self.all if entry.kind == kind]

    def times(self, kind: str) -> list[str]:
        """The fields that hold the time of records of a kind."""
        return list(dict.fromkeys(entry.time for entry in self.of_kind(kind)))

    def query(self, kind: str, time: str, limits: Mapping[str, str]) -> Query:
        """A search for documents that may be records of a kind whose time stands in one field and lies within limits."""
        any_of = [{"bool": {"filter": entry.condition()}} for entry in self.of_kind(kind) if entry.time == time]
        return {"bool": {"filter": [{"range": {time: {**limits, "format": "strict_date_optional_time_nanos"}}},
                                    {"bool": {"should": any_of, "minimum_should_match": 1}}]}}

    def asked(self, kind: str, columns: Iterable[str]) -> list[str]:
        """What must be fetched to know the kind of a document, and some columns of records of a kind."""
        wanted = list(columns)
        found = {name for entry in self.all for field in entry.exists for name in (field, f"{field}.*")}
        found |= {field for entry in self.all for field, _ in entry.equals}
        for entry in self.of_kind(kind):
            found |= entry.asked(wanted)
        return sorted(found)

    def of(self, document: Document) -> Entry | None:
        """The first entry whose condition a document passes."""
        return next((entry for entry in self.all if entry.matches(document)), None)

    def shape(self, document: Document) -> Any:
        """What documents of one entry have in common: their fields, and the values that conditions look at."""
        return (*document, *[tuple(map(said, document[field])) for field in self._compared if field in document])


def columns_of(kind: str) -> tuple[str, ...]:
    """The columns of a kind whose values a mapping may name."""
    return tuple(name for name in fields.KINDS[kind] if name not in ("@timestamp", "event.id", "metrics", "entity.kind", "entity.id")
                 and name not in MAPS)
