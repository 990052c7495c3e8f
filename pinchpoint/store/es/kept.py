"""Incidents, their labels and watermarks: what a store keeps besides records, one document each."""

import hashlib
import json
import math
import urllib.parse
from typing import Any

from pinchpoint.clock import format_time, parse_time
from pinchpoint.records import content_id
from pinchpoint.store import incidents
from pinchpoint.store.base import IncidentFilter
from pinchpoint.store.es import links, names
from pinchpoint.store.es.documents import SEGMENT, time_texts
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.writing import Writer

#: What queries need beside the fields of the kind: of all causes, while those fields speak of the leading one.
CAUSES, CATEGORIES, HOSTS, END = "pinchpoint.causes", "pinchpoint.categories", "pinchpoint.hosts", "incident.end"
#: What dashboards show as lists: what was ruled out and why, and what has to be shipped to tell more.
REJECTED, MISSING = "pinchpoint.rejected", "pinchpoint.missing"

_PAGE = 1000
_MOST_ID_BYTES = 512


class Kept:
    """Documents by id, read as they were written the moment before."""

    def __init__(self, door: Door, writer: Writer, namespace: str) -> None:
        self._door, self._writer, self._namespace = door, writer, namespace

    def put_incident(self, incident: dict[str, Any]) -> None:
        """Keep an incident; its labels stay, they are documents of their own."""
        incidents.check(incident)
        self._put(names.INDICES["incident"], _id(incident["id"]), _document(incident))

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident by its id or the beginning of it. Raises: IncidentNotFound."""
        whole = self._get(names.INDICES["incident"], _id(incident_id))
        if whole is None:
            query = _put_only({"prefix": {"incident.id": incident_id}})
            found = self._search(names.INDICES["incident"], query, [{"incident.id": "asc"}], _PAGE)
            wanted = incidents.find_id([str(one["incident.id"]) for one in found], incident_id)
            whole = next(one for one in found if one["incident.id"] == wanted)
        return self._labelled([json.loads(whole["document"])])[0]

    def query(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        """Incidents that pass a filter, latest start first, then by id, with labels."""
        found = self._search(names.INDICES["incident"], _query(filters), [{"@timestamp": "desc"}, {"incident.id": "asc"}], filters.limit)
        return self._labelled(incidents.choose([json.loads(one["document"]) for one in found], filters))

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        """Attach a label. Raises: IncidentNotFound."""
        found = self.incident(incident_id)["id"]
        about = {"@timestamp": format_time(at_ns), "incident.id": found, "label": label, "note": note}
        self._put(names.LABELS, f"{content_id(found)}-{content_id(label)}", about)

    def watermark(self, job: str) -> int | None:
        """Up to where (UTC ns) a job has analysed; None when that is not known."""
        about = self._get(names.WATERMARKS, _id(job))
        return None if about is None else int(about["time_ns"])

    def set_watermark(self, job: str, time_ns: int) -> None:
        """Remember up to where a job has analysed."""
        self._put(names.WATERMARKS, _id(job), {"@timestamp": format_time(max(time_ns, 0)), "job": job, "time_ns": time_ns})

    def _labelled(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        labels: dict[str, list[dict[str, Any]]] = {one["id"]: [] for one in found}
        for start in range(0, len(found), _PAGE):
            ids = [one["id"] for one in found[start:start + _PAGE]]
            for one in self._search(names.LABELS, {"terms": {"incident.id": ids}}, [{"label": "asc"}, {"@timestamp": "asc"}], None):
                labels[one["incident.id"]].append({"label": one["label"], "note": one["note"], "at": one["@timestamp"]})
        return [{**one, "labels": sorted(labels[one["id"]], key=lambda label: str(label["label"]))} for one in found]

    def _put(self, index: str, name: str, document: dict[str, Any]) -> None:
        # seen by the next search: a person who labels an incident and lists them finds the label
        self._door.call("PUT", f"/{self._writer.index(index)}/_doc/{name}", document, refresh="true")

    def _get(self, index: str, name: str) -> dict[str, Any] | None:
        answer = self._door.call("GET", f"/{index}-{self._namespace}/_doc/{name}", expect=(404,))
        return answer["_source"] if answer.get("found") else None

    def _search(self, index: str, query: dict[str, Any], sort: list[dict[str, str]], limit: int | None) -> list[dict[str, Any]]:
        """Sources of the documents found, up to a limit, in as many pages as that takes."""
        found: list[dict[str, Any]] = []
        body: dict[str, Any] = {"query": query, "sort": sort, "track_total_hits": False}
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            answer = self._door.call("POST", f"/{index}-{self._namespace}/_search", {**body, "size": size}, expect=(404,),
                                     allow_partial_search_results="false")
            hits = answer.get("hits", {}).get("hits", [])
            found += [hit["_source"] for hit in hits]
            if len(hits) < size:
                break
            body["search_after"] = hits[-1]["sort"]
        return found


def _id(name: str) -> str:
    """An id as it stands in a path, whatever the name holds."""
    if not 0 < len(name.encode()) <= _MOST_ID_BYTES:
        return hashlib.blake2b(name.encode(), digest_size=32).hexdigest()
    return urllib.parse.quote(name, safe="")


def _document(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident with what is asked for beside it; the incident itself stays the text it is."""
    causes = [cause for cause in incident.get("causes") or () if isinstance(cause, dict)]
    leading = causes[0] if causes else {}
    symptom = incident.get("symptom") or {}
    hosts = list(incident.get("hosts") or ())
    about = {
        "@timestamp": _stamp(incident["start"]), END: _stamp(incident["end"]) if incident.get("end") else None,
        "event.id": incident["id"], "incident.id": incident["id"], "run.id": incident.get("run"), "run.workload": incident.get("workload"),
        "host.name": hosts[0] if hosts else None, "symptom.name": symptom.get("name"), "symptom.observed": symptom.get("observed"),
        "symptom.baseline": symptom.get("baseline"), "lost_seconds": symptom.get("lost_seconds"), "lost_ratio": symptom.get("lost_share"),
        "compared_with": symptom.get("compared_with"), "entity.id": symptom.get("entity"),
        "cause.id": leading.get("id"), "cause.name": leading.get("cause"), "cause.category": leading.get("category"),
        "cause.confidence": leading.get("confidence"), "incident.summary": leading.get("summary") or "no known cause explains it",
        "incident.fix": "\n".join(map(str, leading.get("fix") or ())) or None,
        "incident.links.logs": links.logs(incident), "incident.links.events": links.events(incident),
        REJECTED: [f"{one['cause']}: {one['because']}" for one in incident.get("rejected") or () if isinstance(one, dict)],
        MISSING: [str(one) for one in incident.get("missing") or ()],
        CAUSES: sorted({str(cause[key]) for cause in causes for key in ("cause", "id") if cause.get(key)}),
        CATEGORIES: sorted({str(cause["category"]) for cause in causes if cause.get("category")}), HOSTS: hosts,
        "document": json.dumps({key: value for key, value in incident.items() if key != "labels"}),
    }
    return {name: value for name, value in about.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))}


def _stamp(text: str) -> str:
    return time_texts([parse_time(text)])[0]


def _query(filters: IncidentFilter) -> dict[str, Any]:
    wanted: list[dict[str, Any]] = [{"term": {name: value}} for name, value in (
        (CATEGORIES, filters.category), (CAUSES, filters.cause), (HOSTS, filters.host), ("run.id", filters.run)) if value is not None]
    if filters.until is not None:
        wanted.append({"range": {"@timestamp": {"lt": time_texts([filters.until])[0]}}})
    if filters.since is not None:
        lasted = {"range": {END: {"gte": time_texts([filters.since])[0]}}}
        # without an end it goes on
        wanted.append({"bool": {"should": [lasted, {"bool": {"must_not": {"exists": {"field": END}}}}], "minimum_should_match": 1}})
    return _put_only(*wanted)


def _put_only(*wanted: dict[str, Any]) -> dict[str, Any]:
    """Incidents that were put, without records of the kind `incident` that were appended."""
    return {"bool": {"filter": list(wanted), "must_not": {"exists": {"field": SEGMENT}}}}
