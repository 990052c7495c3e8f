"""Count documents by time, however many buckets that makes."""

from typing import Any

import numpy as np

from pinchpoint.store.es.door import Door
from pinchpoint.store.repeats import Integers

MS = 1_000_000
_MOST_BUCKETS = 10_000


def by_time(door: Door, target: str, query: dict[str, Any], field: str, bucket_ns: int) -> tuple[Integers, Integers]:
    """In which buckets of time the documents of a query lie: the buckets' numbers since 1970, and how many lie in each.

    Args:
        door: to the server.
        target: streams or indices, comma separated; those that do not exist hold nothing.
        query: which documents.
        field: a date.
        bucket_ns: length of a bucket, whole milliseconds.
    """
    sources = [{"bucket": {"date_histogram": {"field": field, "fixed_interval": f"{bucket_ns // MS}ms"}}}]
    composite: dict[str, Any] = {"size": _MOST_BUCKETS, "sources": sources}
    body = {"size": 0, "track_total_hits": False, "query": query, "aggs": {"times": {"composite": composite}}}
    buckets: list[int] = []
    counts: list[int] = []
    while True:
        answer = door.call("POST", f"/{target}/_search", body, ignore_unavailable="true", allow_partial_search_results="false")
        found = answer.get("aggregations", {}).get("times", {})
        buckets += [one["key"]["bucket"] * MS // bucket_ns for one in found.get("buckets", ())]
        counts += [one["doc_count"] for one in found.get("buckets", ())]
        if "after_key" not in found:
            return np.array(buckets, np.int64), np.array(counts, np.int64)
        composite["after"] = found["after_key"]
