"""Which data stream of Elasticsearch an item goes to."""

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence

from pinchpoint.store.es import names
from shippers.items import Item


@functools.cache
def stream_of(kind: str, namespace: str) -> str:
    """The data stream of a shipped kind.

    >>> stream_of("log", "default")
    'logs-pinchpoint.log-default'
    """
    return names.stream(kind, namespace)


def late_metrics(namespace: str) -> str:
    """The data stream of metrics that a time-series stream does not take.

    >>> late_metrics("default")
    'metrics-pinchpoint.metric_late-default'
    """
    return f"{names.LATE_METRICS}-{namespace}"


def by_kind(items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
    """The items of each kind, in their order.

    >>> [(kind, len(some)) for kind, some in by_kind([Item("log", "a", b"{}"), Item("span", "b", b"{}"), Item("log", "c", b"{}")])]
    [('log', 2), ('span', 1)]
    """
    for kind, some in itertools.groupby(sorted(items, key=operator.attrgetter("kind")), key=operator.attrgetter("kind")):
        yield kind, list(some)
