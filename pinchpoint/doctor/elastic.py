"""All checks of a store in Elasticsearch."""

import functools
from collections.abc import Iterator
from typing import Any

from pinchpoint import fields
from pinchpoint.clock import parse_time
from pinchpoint.doctor import delivery
from pinchpoint.doctor.arrival import JOB, Newest, arrival
from pinchpoint.doctor.blocks import blocks, cluster
from pinchpoint.doctor.check import Check, Subject
from pinchpoint.doctor.examine import Look
from pinchpoint.doctor.failures import failures
from pinchpoint.doctor.layout import layout
from pinchpoint.doctor.privileges import privileges
from pinchpoint.doctor.server import TIMEOUT_S, Reached
from pinchpoint.store.es import names
from pinchpoint.store.es.address import Address
from pinchpoint.store.es.deleting import refresh
from pinchpoint.store.es.documents import TIME_NS
from pinchpoint.store.es.writing import delivery_files


def of_server(reached: Reached, subject: Subject) -> dict[str, Look]:
    """Checks that ask the server."""
    return {
        "privileges": functools.partial(privileges, reached),
        "templates": functools.partial(layout, reached, subject.config.retention.days),
        "blocks": functools.partial(blocks, reached),
        "cluster": functools.partial(cluster, reached),
        "failure store": functools.partial(failures, reached, subject.clock),
        "arrival": functools.partial(_arrival, reached, subject),
    }


def of_host(url: str, subject: Subject) -> dict[str, Look]:
    """Checks of what this host knows of its deliveries, which need no server."""
    address = Address.parse(url)
    counts, dead = delivery_files(address.server, address.namespace)
    return {
        "deliveries": functools.partial(delivery.ledger, counts, subject.clock.now_ns()),
        "dead letters": functools.partial(delivery.dead_letters, dead),
    }


def _arrival(reached: Reached, subject: Subject) -> Iterator[Check]:
    found = {kind: one for kind in fields.SHIPPED if (one := _newest(reached, kind)) is not None}
    answer = reached.door.call("GET", f"/{names.WATERMARKS}-{reached.namespace}/_doc/{JOB}", expect=(404,), timeout_s=TIMEOUT_S)
    watermark = int(answer["_source"]["time_ns"]) if answer.get("found") else None
    return arrival(found, watermark, subject.clock.now_ns())


def _newest(reached: Reached, kind: str) -> Newest | None:
    target = names.stream(kind, reached.namespace) + (f",{names.LATE_METRICS}-{reached.namespace}" if kind == "metric" else "")
    refresh(reached.door, target)  # else an index that nobody searched for half a minute hides what is new
    answer: dict[str, Any] = reached.door.call(
        "POST", f"/{target}/_search", {"size": 1, "_source": ["@timestamp", TIME_NS, "host.name"], "track_total_hits": False,
                                       "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "date_nanos"}}]},
        ignore_unavailable="true", timeout_s=TIMEOUT_S)
    for hit in answer["hits"]["hits"]:
        source = hit["_source"]
        return Newest(int(source.get(TIME_NS) or parse_time(source["@timestamp"])), source.get("host.name"))
    return None
