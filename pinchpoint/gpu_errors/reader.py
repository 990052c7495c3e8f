"""Read a stream of kernel messages into events: each error once a minute, with the GPU's UUID where the driver has told it."""

from collections.abc import Hashable
from typing import Any

from pinchpoint.gpu_errors.events import event_document
from pinchpoint.gpu_errors.kernel_lines import read_identity, read_line
from pinchpoint.gpu_errors.once import Once

_MOST_GPUS = 1024


class KernelReader:
    """Remembers which GPU is at which address, and what was told this minute."""

    def __init__(self) -> None:
        self._uuids: dict[tuple[str | None, str], str] = {}
        self._once: dict[str | None, Once] = {}

    def learn(self, message: str, host: str | None) -> bool:
        """Whether the message tells which GPU is at which address; it is remembered then, also of what was read before."""
        known = read_identity(message)
        if known is None:
            return False
        if len(self._uuids) < _MOST_GPUS:
            self._uuids[host, known[0]] = known[1]
        return True

    def event(self, message: str, time_ns: int, number: Hashable, host: str | None) -> dict[str, Any] | None:
        """The event that a message becomes; None for what is no error, and for one that was told this minute.

        Args:
            message: without time, host and `kernel:`.
            time_ns: when, UTC ns.
            number: of the line; the same line again gives the same answer.
            host: where.
        """
        if self.learn(message, host):
            return None
        finding = read_line(message)
        if finding is None:
            return None
        if host not in self._once and len(self._once) >= _MOST_GPUS:
            self._once.clear()
        if not self._once.setdefault(host, Once()).is_first(finding, time_ns, number):
            return None
        uuid = self._uuids.get((host, finding.device)) if finding.device is not None else None
        return event_document(finding, time_ns, host=host, gpu_uuid=uuid, message=message)
