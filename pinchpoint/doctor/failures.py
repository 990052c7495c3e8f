"""What the failure stores of our streams hold: documents that were sent and do not fit."""

import contextlib
from collections.abc import Iterator
from typing import Any

from pinchpoint.clock import NS, Clock, parse_time
from pinchpoint.doctor.check import Check, ago
from pinchpoint.doctor.server import TIMEOUT_S, Reached
from pinchpoint.errors import StoreRefused
from pinchpoint.store.es import names, templates

_SHOWN = 3
_RECENT_NS = 86400 * NS
#: What servers answer that know no `::failures`; 404: the stream is not there yet, or has none.
_NONE_THERE = (400, 404)


def failures(reached: Reached, clock: Clock) -> Iterator[Check]:
    """A check for each stream with failed documents: how many, and the newest with their errors."""
    answers = {name: _search(reached, f"{name}-{reached.namespace}") for name in names.ALL_STREAMS}
    if _is_without(reached) or all(answer.get("status") == 400 for answer in answers.values()):
        yield Check("failure store", "ok", "this server has none: what does not fit is kept in the dead-letter file of who sent it.")
        return
    found = {name: answer["hits"] for name, answer in answers.items() if answer.get("hits", {}).get("total", {}).get("value")}
    for name, hits in found.items():
        stream = f"{name}-{reached.namespace}"
        newest_ns = parse_time(hits["hits"][0]["_source"]["@timestamp"])
        recent = clock.now_ns() - newest_ns < _RECENT_NS
        many = hits["total"]["value"]
        yield Check("failure store", "fault" if recent else "warning", f"{many:,} document{'s' if many != 1 else ''} sent to {stream} "
                    f"{'do' if many != 1 else 'does'} not fit its mapping, the newest {ago(newest_ns, clock.now_ns())}.",
                    tuple(_line(hit["_source"]) for hit in hits["hits"]),
                    f"mend what sends them; read all with GET {stream}::failures/_search")
    if not found:
        yield Check("failure store", "ok", "empty.")


def _is_without(reached: Reached) -> bool:
    """Whether the server keeps no failures; not known to those who may not manage templates."""
    with contextlib.suppress(StoreRefused):
        return not templates.abilities(reached.door).failure_store
    return False


def _search(reached: Reached, stream: str) -> dict[str, Any]:
    with contextlib.suppress(StoreRefused):  # who may only read sees them a second later
        reached.door.call("POST", f"/{stream}::failures/_refresh", expect=_NONE_THERE, timeout_s=TIMEOUT_S)
    body = {"size": _SHOWN, "track_total_hits": True, "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "date"}}]}
    return reached.door.call("POST", f"/{stream}::failures/_search", body, expect=_NONE_THERE, timeout_s=TIMEOUT_S)


def _line(source: dict[str, Any]) -> str:
    error, document = source.get("error", {}), source.get("document", {})
    return f"{error.get('type')}: {' '.join(str(error.get('message')).split())[:200]} in {str(document.get('source'))[:200]}"
