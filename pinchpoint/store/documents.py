"""Incidents, their labels and watermarks as JSON files of the lake, one each, so that nobody overwrites what another wrote."""

import json
import urllib.parse
from typing import Any

from pinchpoint.clock import format_time
from pinchpoint.errors import RecordError
from pinchpoint.records import content_id
from pinchpoint.store import incidents
from pinchpoint.store.base import IncidentFilter
from pinchpoint.store.visible import Lake

INCIDENTS = "_incidents"
LABELS = "_labels"
WATERMARKS = "_watermarks"
_JSON = ".json"


class Documents:
    """What a lake keeps besides records; all methods raise OSError when the lake cannot be read or written."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def put_incident(self, incident: dict[str, Any]) -> None:
        """Keep an incident; its labels stay."""
        incidents.check(incident)
        self._write(_path(INCIDENTS, incident["id"]), {key: value for key, value in incident.items() if key != "labels"})

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident by its id or the beginning of it. Raises: IncidentNotFound."""
        found = self._ids()
        while True:
            wanted = incidents.find_id(found, incident_id)
            incident = self._incident(wanted)
            if incident is not None:
                return {**incident, "labels": self._labels(wanted)}
            found.remove(wanted)

    def query(self, filters: IncidentFilter) -> list[dict[str, Any]]:
        """Incidents that pass a filter, with labels."""
        labelled = set(self._lake.files.folders(LABELS))
        chosen = incidents.choose([one for one in map(self._incident, self._ids()) if one is not None], filters)
        return [{**one, "labels": self._labels(one["id"]) if _quote(one["id"]) in labelled else []} for one in chosen]

    def label(self, incident_id: str, label: str, note: str | None, at_ns: int) -> None:
        """Attach a label. Raises: IncidentNotFound."""
        found = self.incident(incident_id)["id"]
        self._write(f"{LABELS}/{_quote(found)}/{content_id(label)}{_JSON}", {"label": label, "note": note, "at": format_time(at_ns)})

    def watermark(self, job: str) -> int | None:
        """Up to where (UTC ns) a job has analysed; None when that is not known."""
        about = self._read(_path(WATERMARKS, job))
        return None if about is None else int(about["time_ns"])

    def set_watermark(self, job: str, time_ns: int) -> None:
        """Remember up to where a job has analysed."""
        self._write(_path(WATERMARKS, job), {"time_ns": time_ns, "time": format_time(time_ns)})

    def _ids(self) -> list[str]:
        names = (entry.name for entry in self._lake.files.files(INCIDENTS))
        return [urllib.parse.unquote(name.removesuffix(_JSON)) for name in names if name.endswith(_JSON)]

    def _incident(self, incident_id: str) -> dict[str, Any] | None:
        return self._read(_path(INCIDENTS, incident_id))

    def _labels(self, incident_id: str) -> list[dict[str, Any]]:
        folder = f"{LABELS}/{_quote(incident_id)}"
        found = [self._read(f"{folder}/{entry.name}") for entry in self._lake.files.files(folder)]
        return sorted((one for one in found if one is not None), key=lambda one: str(one["label"]))

    def _write(self, path: str, about: dict[str, Any]) -> None:
        self._lake.files.put(path, json.dumps(about, indent=1).encode())

    def _read(self, path: str) -> dict[str, Any] | None:
        """What a file holds; None when it is not there, or was no such document and is set aside now."""
        if self._lake.aside.holds(path):
            return None
        try:
            data = self._lake.files.read(path)
        except FileNotFoundError:
            return None
        try:
            about = json.loads(data)
            _CHECKS[path.partition("/")[0]](about)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, RecordError) as error:
            self._lake.aside.put(path, f"not the document that was written: {error}")
            return None
        return dict(about)


def _check_label(about: dict[str, Any]) -> None:
    if not isinstance(about["label"], str) or not isinstance(about["note"], str | None) or not isinstance(about["at"], str):
        raise TypeError("a label needs label, note and at")


def _check_watermark(about: dict[str, Any]) -> None:
    if not isinstance(about["time_ns"], int):
        raise TypeError("a watermark needs time_ns")


_CHECKS = {INCIDENTS: incidents.check, LABELS: _check_label, WATERMARKS: _check_watermark}


def _quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _path(folder: str, name: str) -> str:
    return f"{folder}/{_quote(name)}{_JSON}"
