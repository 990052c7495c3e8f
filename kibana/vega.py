"""What all Vega specifications share: version 5, plain JSON, no size of their own, data from Elasticsearch only."""

import json
from typing import Any

from kibana.model import View
from kibana.views import types

SCHEMA = "https://vega.github.io/schema/vega/v5.json"
#: Four to one against white and against the dark theme alike.
GREY = "#7B818D"


def FIELD(view: View, name: str) -> str:  # noqa: N802 (stands out in specifications)
    """The name of a field of a view. Raises: KeyError for a name that it does not have."""
    types(view)[name]
    return name


def source(view: View, name: str) -> str:
    """A Vega expression for a field of a document; documents are flat, so dots are part of the names."""
    return f"datum._source['{FIELD(view, name)}']"


def mark(kind: str, data: str | None = None, **channels: Any) -> dict[str, Any]:
    """A mark; a channel that is no object and no list of rules is a value."""
    found: dict[str, Any] = {"type": kind}
    if data is not None:
        found["from"] = {"data": data}
    update = {name: each if isinstance(each, dict | list) else {"value": each} for name, each in channels.items()}
    return {**found, "encode": {"update": update}}


def spec_text(spec: dict[str, Any]) -> str:
    """A specification as Kibana keeps it: people read and change it in its editor."""
    return json.dumps(spec, indent=1, ensure_ascii=False)
