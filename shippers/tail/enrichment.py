"""Put together the document of a log line: what the line says, what is known of its file, never a key twice."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shippers.tail import containers
from shippers.tail.registry import Log
from shippers.tail.settings import FileSet

_ENCODE = msgspec.json.Encoder().encode


class Enrichment:
    """The constants of one log; a line that brings the same field keeps its own."""

    def __init__(self, log: Log, files: FileSet, constants: Mapping[str, str | int]) -> None:
        """Constants: fields of every document of this agent, such as host.name."""
        self.log_id = log.id
        path = log.path.encode(errors="surrogateescape").decode(errors="replace")
        self.fields: dict[str, str | int] = {"log.file.path": path, **constants}
        if files.run is not None:
            self.fields["run.id"] = files.run
        if files.rank is not None:
            self.fields["rank"] = files.rank
        self.labels = {**containers.labels_of_path(log.path), **files.labels}

    def document(self, start: int, time: str, fields: Mapping[str, Any], labels: Mapping[str, str]) -> bytes:
        """The document of a record that starts at this offset."""
        record: dict[str, Any] = {"@timestamp": time, "event.id": f"{self.log_id}-{start:012x}", "log.offset": start,
                                  **self.fields, **fields}
        if labels or self.labels:
            record["labels"] = {**self.labels, **labels}
        return _ENCODE(record)
