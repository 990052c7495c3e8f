"""Count documents by time, however many buckets that makes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pinchpoint.store.es.door import Door
from pinchpoint.store.repeats import Integers

MS = 1_000_000
_MOST_BUCKETS = 10_000


def by_time(door: Door, target: str, query: dict[str, Any], field: str, bucket_ns: int) -> Iterator[tuple[Integers, Integers]]:
    """In which buckets of time the documents of a query lie: the buckets' numbers since 1970, and how many lie in each, part by part.

    Args:
        door: to the server.
        target: a stream or index, or several, comma separated; one that does not exist holds nothing.
        query: which documents.
        field: a date.
        bucket_ns: length of a bucket, whole milliseconds.
    """
    sources = [{"bucket": {"date_histogram": {"field": field, "fixed_interval": f"{bucket_ns // MS}ms"}}}]
    composite: dict[str, Any] = {"size": _MOST_BUCKETS, "sources": sources}
    body = {"size": 0, "track_total_hits": False, "query": query, "aggs": {"times": {"composite": composite}}}
    while True:
        answer = door.call("POST", f"/{target}/_search", body, expect=(404,), allow_partial_search_results="false")
        found = answer.get("aggregations", {}).get("times", {})
        yield (np.array([one["key"]["bucket"] * MS // bucket_ns for one in found.get("buckets", ())], np.int64),
               np.array([one["doc_count"] for one in found.get("buckets", ())], np.int64))
        if "after_key" not in found:
            return
        composite["after"] = found["after_key"]
