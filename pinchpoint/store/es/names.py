"""What pinchpoint's data is called in Elasticsearch."""

import hashlib
import re
from collections.abc import Iterable, Mapping

from pinchpoint import fields
from pinchpoint.errors import UsageError

#: The data stream of each shipped kind, without its namespace. Metrics that a time-series stream does not take go to `LATE_METRICS`.
STREAMS = {
    "step": "traces-pinchpoint.step",
    "metric": "metrics-pinchpoint.metric",
    "log": "logs-pinchpoint.log",
    "span": "traces-pinchpoint.span",
    "event": "logs-pinchpoint.event",
}
LATE_METRICS = "metrics-pinchpoint.metric_late"

#: The plain indices of derived kinds, and of what a store keeps besides records, without their namespace.
INDICES = {kind: f"pinchpoint-{kind}" for kind in fields.DERIVED}
LABELS = "pinchpoint-label"
WATERMARKS = "pinchpoint-watermark"
SEGMENTS = "pinchpoint-segment"

METRIC_NAMES = "pinchpoint.metric_names"
"""Field of metrics: `metric_names` of a reading, so that two readings of one entity at one time are two."""

#: Every data stream and every plain index, without their namespace.
ALL_STREAMS = (*STREAMS.values(), LATE_METRICS)
ALL_INDICES = (*INDICES.values(), LABELS, WATERMARKS, SEGMENTS)

DEFAULT_NAMESPACE = "default"
_NAMESPACE = re.compile(r"[a-z0-9_.+][a-z0-9_.+]{0,99}")
_MOST_ID_BYTES = 512  # of Elasticsearch


def check_namespace(namespace: str) -> str:
    """The namespace, if it may be the end of a data stream's name.

    Raises: UsageError.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise UsageError(f"namespace {namespace!r}: expected up to 100 lower-case letters, digits, _ . or +")
    return namespace


def stream(kind: str, namespace: str) -> str:
    """Where records of a kind are written.

    >>> stream("log", "default"), stream("cause", "team_a")
    ('logs-pinchpoint.log-default', 'pinchpoint-cause-team_a')
    """
    return f"{STREAMS.get(kind) or INDICES[kind]}-{namespace}"


def template(name: str) -> str:
    """The index template of a stream or index that is named without its namespace; its component templates begin with the same.

    >>> template("logs-pinchpoint.log"), template("pinchpoint-label")
    ('pinchpoint.log', 'pinchpoint.label')
    """
    return "pinchpoint." + (name.partition("-pinchpoint.")[2] or name.removeprefix("pinchpoint-"))


def document_id(event_id: str, time_ns: int) -> str:
    """The `_id` of a record: its identity is the event id together with the time.

    The event id comes first: Elasticsearch finds ids fast that begin alike and grow slowly.

    >>> document_id("1f-0000000000a0", 1767225600000000000)
    '1f-0000000000a0@18867251edfa0000'
    """
    whole = f"{event_id}@{time_ns & (1 << 64) - 1:x}"
    encoded = whole.encode("utf-8", "surrogatepass")
    if len(encoded) <= _MOST_ID_BYTES:
        return whole
    return hashlib.blake2b(encoded, digest_size=32).hexdigest()


def metric_names(metrics: Iterable[str], labels: Mapping[str, object]) -> str:
    """What tells two readings of one entity at one time apart: a hash of the names read and of the labels.

    >>> metric_names(["b", "a"], {"gpu": "0"}) == metric_names(["a", "b"], {"gpu": "0"})
    True
    """
    parts = (*sorted(metrics), *sorted(labels.items()))
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=10).hexdigest()
