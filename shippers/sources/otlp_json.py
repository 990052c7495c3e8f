"""Read a request of OpenTelemetry from JSON, whose ids are hexadecimal where protobuf's JSON has base64."""

import base64
from typing import Any, TypeVar

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

_Request = TypeVar("_Request", bound=Message)
_IDS = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))
_DEEPEST = 40


def decode_json(body: bytes, request: _Request) -> _Request:
    """The request filled from JSON; fields it does not know are left out, as the protocol says.

    Raises: ValueError for what is no such request.
    """
    try:
        given = _with_base64(orjson.loads(body), _DEEPEST)
        if not isinstance(given, dict):
            raise ValueError("not an object")
        return json_format.ParseDict(given, request, ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _with_base64(value: Any, depth: int) -> Any:
    if not depth:
        raise ValueError(f"nested deeper than {_DEEPEST}")
    if isinstance(value, dict):
        return {key: _base64_id(below) if key in _IDS and isinstance(below, str) else _with_base64(below, depth - 1)
                for key, below in value.items()}
    return [_with_base64(below, depth - 1) for below in value] if isinstance(value, list) else value


def _base64_id(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()
