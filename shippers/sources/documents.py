"""Make items of what sources saw: documents with an identity, and without secrets."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from pinchpoint import fields
from pinchpoint.clock import NS, format_time
from shippers.items import Item
from shippers.sources.reading import Reading

#: Takes secrets out of a text, in UTF-8.
Redact = Callable[[bytes], bytes]

_MOST_DOCUMENT_BYTES = 1 << 16
_MOST_TEXT = 1 << 13
_REDACTED = "[redacted]"
_REDACTED_TEXTS = ("message", "name", "event.reason")
#: Fields that the labels of a reading may name; with any other name they could change what the reading is of.
_SAID_BY_LABELS = frozenset(("host.name", "run.id", "run.workload"))
_MAPS = ("labels", "attributes")


class TimeText:
    """Times as text; neighbours share their second, which is the dear part."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def __call__(self, time_ns: int) -> str:
        """UTC time in ISO 8601 with nanoseconds.

        >>> TimeText()(1767225600500000000)
        '2026-01-01T00:00:00.500000000Z'
        """
        second, rest = divmod(time_ns, NS)
        if second != self._second:
            self._second, self._text = second, format_time(second * NS)[:-1]
        return f"{self._text}.{rest:09d}Z"


def make_item(kind: str, record: Mapping[str, Any], identity: str | None = None, *, salt: bytes = b"") -> Item | None:
    """An item of a record; None for one that stays too large when its texts are cut.

    Args:
        kind: of `fields.SHIPPED`.
        record: flat, without `kind` and `event.id`.
        identity: its `event.id`; else a hash of kind, content and salt is taken.
        salt: tells equal records apart.
    """
    document = orjson.dumps(record)
    if len(document) > _MOST_DOCUMENT_BYTES:
        document = orjson.dumps(_cut(record))
        if len(document) > _MOST_DOCUMENT_BYTES:
            return None
    if identity is None:
        identity = hashlib.blake2b(kind.encode() + salt + document, digest_size=10).hexdigest()
    return Item(kind, identity, b'{"event.id":' + orjson.dumps(identity) + b"," + document[1:])


def _cut(record: Mapping[str, Any]) -> dict[str, Any]:
    cut: dict[str, Any] = {name: _cut(value) if isinstance(value, Mapping) else value[:_MOST_TEXT] if isinstance(value, str) else value
                           for name, value in record.items()}
    if "@timestamp" in cut:
        cut["labels"] = {**cut.get("labels", {}), "cut": "texts were cut to 8192 characters"}
    return cut


def place_fields(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields, with those that a record of this kind does not have as labels.

    >>> place_fields("span", {"service.name": "trainer", "rank": 3, "labels": {"zone": "a"}})
    {'service.name': 'trainer', 'labels': {'zone': 'a', 'rank': '3'}}
    """
    known = fields.KINDS[kind]
    labels = dict(given.get("labels", {}))
    placed: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            labels[name] = str(value)
        elif name != "labels":
            placed[name] = value
    if labels:
        placed["labels"] = labels
    return placed


def reading_items(readings: Iterable[Reading], now_ns: int, host: str, redact: Redact) -> list[Item]:
    """Metric items of readings that were made now; a reading in which nothing was measured is none."""
    records = []
    for reading in readings:
        metrics = {name: value for name, value in reading.metrics.items() if math.isfinite(value)}
        if not metrics:
            continue
        given: dict[str, Any] = {"@timestamp": format_time(reading.time_ns or now_ns), "entity.kind": reading.entity_kind,
                                 "entity.id": reading.entity_id, "host.name": host}
        if reading.pid is not None:
            given["process.pid"] = reading.pid
        given["labels"] = {}
        for name, value in (reading.labels or {}).items():
            if name in _SAID_BY_LABELS:
                given[name] = value
            elif name == "rank" and value.isascii() and value.isdecimal() and len(value) < 10:
                given["rank"] = int(value)
            else:
                given["labels"][name] = value
        record = place_fields("metric", given)
        record["metrics"] = metrics
        records.append(record)
    without_secrets(records, redact)
    items = [make_item("metric", record) for record in records]
    return [item for item in items if item is not None]


def event_items(records: Iterable[Mapping[str, Any]], redact: Redact) -> list[Item]:
    """Items of events that were seen once, and are pushed once."""
    placed = [place_fields("event", record) for record in records]
    without_secrets(placed, redact)
    return [item for item in (make_item("event", record) for record in placed) if item is not None]


def without_secrets(records: Iterable[dict[str, Any]], redact: Redact) -> None:
    """Take the secrets out of records in place.

    Records of one request repeat themselves, so each different text is looked at once, all of them together, and values are
    redacted one by one only where there is a secret at all. A value is looked at with its key, which may name a password.
    """
    records = list(records)
    pairs: set[tuple[str, str]] = set()
    maps: dict[int, dict[str, str]] = {}
    for record in records:
        pairs.update([("", record[name]) for name in _REDACTED_TEXTS if name in record])
        for name in _MAPS:
            if (found := record.get(name)) is not None:
                maps[id(found)] = found
    for found in maps.values():
        pairs.update(found.items())
    whole = "\n".join([f"{key}={value}" for key, value in pairs]).encode()
    if redact(whole) == whole:
        return
    for record in records:
        for name in _REDACTED_TEXTS:
            if name in record:
                record[name] = _redacted(record[name], redact)
        for name in _MAPS:
            if name in record:
                record[name] = {key: _value(key, value, redact) for key, value in record[name].items()}


def _redacted(text: str, redact: Redact) -> str:
    return redact(text.encode()).decode(errors="replace")


def _value(key: str, value: str, redact: Redact) -> str:
    value = _redacted(value, redact)
    # behind its key as JSON, where a value has an end: after password= a secret of several words would lose its first one only
    try:
        return str(orjson.loads(redact(orjson.dumps({key: value})))[key])
    except (orjson.JSONDecodeError, KeyError):  # a pattern of the user's took more than the value
        return _REDACTED
