"""Turn attributes and resources of OpenTelemetry into fields and texts."""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from shippers.sources.documents import place_fields

_DEEPEST = 16
#: Attributes that are fields of ours; the rest are labels or attributes.
_FIELDS = frozenset(("service.name", "host.name", "run.id", "run.workload"))
_NUMBERS = frozenset(("rank", "process.pid"))


def texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Attributes as texts; lists and maps as JSON, bytes as base64."""
    found = {}
    for pair in attributes:
        value = pair.value
        # asking a value for its kind costs as much as all the rest, so the two frequent ones are tried first
        found[pair.key] = value.string_value or (str(number) if (number := value.int_value) else text_of(value))
    found.pop("", None)  # an empty key cannot be a field name of Elasticsearch
    return found


def text_of(value: AnyValue) -> str:
    """A value as text.

    >>> text_of(AnyValue(bool_value=True)), text_of(AnyValue(int_value=3)), text_of(AnyValue())
    ('true', '3', '')
    """
    plain = _plain(value, _DEEPEST)
    match plain:
        case str():
            return plain
        case None:
            return ""
        case float():
            return repr(plain)  # JSON has no NaN
        case _:
            return orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: AnyValue, depth: int) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case "array_value" if depth:
            return [_plain(each, depth - 1) for each in value.array_value.values]
        case "kvlist_value" if depth:
            return {pair.key: _plain(pair.value, depth - 1) for pair in value.kvlist_value.values}
        case "array_value" | "kvlist_value":
            return "…"
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "string_value" | "bool_value" | "int_value" | "double_value":
            return getattr(value, kind)
        case _:  # none, or a kind that a later version adds
            return None


def split(attributes: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of ours among attributes, and the attributes that are left.

    >>> split({"run.id": "r", "rank": "3", "zone": "a"})
    ({'run.id': 'r', 'rank': 3}, {'zone': 'a'})
    """
    found: dict[str, Any] = {}
    left = {}
    for key, value in attributes.items():
        if key in _FIELDS:
            found[key] = value
        elif key in _NUMBERS and value.isascii() and value.isdigit() and len(value) < 19:
            found[key] = int(value)
        else:
            left[key] = value
    return found, left


def resource_fields(kind: str, resource: Resource, host: str) -> dict[str, Any]:
    """What every record of a resource begins with: our fields, `labels` for the rest; the host is ours where none is named."""
    found, left = split(texts(resource.attributes))
    given: dict[str, Any] = {"host.name": host, **found}
    if left:
        given["labels"] = left
    return place_fields(kind, given)


def with_labels(record: dict[str, Any], more: dict[str, str]) -> None:
    """Add labels to a record without changing the ones it shares with its neighbours."""
    if more:
        record["labels"] = {**record.get("labels", {}), **more}
